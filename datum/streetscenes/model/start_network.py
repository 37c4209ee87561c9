"""Makes the network that the demo's trainings start from:

    python -m datum.streetscenes.model.start_network --output DIR --work DIR

Draws source scenes, trains the demo's network on them alone with `datum adapt --method source-only`, and
writes it in half precision with a card. Everything resumable lies in `--work`: stopped at any moment and
started again, the command goes on where it was. Half an hour on a processor core.
"""

import argparse
import datetime
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from datum.config import DEMO
from datum.labels import CLASS_NAMES
from datum.layouts import CITYSCAPES
from datum.outputs import sha256
from datum.segmentation.inference import predict_with
from datum.segmentation.iou import CLASS_COUNT, confusion_matrix, iou, miou
from datum.segmentation.segmentor import Segmentor, load_segmentor, read_header, save_segmentor
from datum.streetscenes.drawing import (
    SOURCE_DOMAIN,
    TARGET_DOMAIN,
    Domain,
    draw_scene,
    town_domain,
    write_gta,
)

SCENES = range(2_000_000, 2_006_000)
HELD_OUT = range(2_100_000, 2_100_100)
"""Seeds of scenes; neither the demo nor its base model draws by them."""
SETTINGS = (
    "batch_size=4",
    "learning_rate=2e-3",
    "iterations=12000",
    "validate_every=100000",
    "save_every=250",
    "initial_segmentor=",
)
"""What the training has in place of the demo's settings of adaptation."""
NAME = "last.safetensors"
LARGEST_BYTES = 8_000_000
"""Most bytes that the shipped network may take."""

_CARD = """# The network that the demo starts from

{encoder}, a ResNet-18 of half the width, with DAFormer's head of {channels} channels, in half precision
({size:.1f} MB, SHA-256 `{digest}`).

It was trained from random weights, without any weights of others and without any photograph, on {scenes:,}
scenes that `datum.streetscenes.drawing` drew in the source domain (seeds {first:,} to {last:,}; every
second shows a class large and near), with color jitter and rare class sampling. It has seen no scene of the
demo and nothing of the target.

Made by `python -m datum.streetscenes.model.start_network --output DIR --work DIR` on {machine}
({date}), which runs `datum adapt --profile demo --method source-only --seed 1` with
{settings}.

IoU in percent on {held_out} other scenes, seeds {first_held_out:,} and up, drawn in the source domain, in the
target's, and as the town; none of them holds a train.

| class | source | target | town |
|---|---|---|---|
{rows}
"""


def make_start_network(output: Path, work: Path) -> None:
    """Writes the network and its card to `output`."""
    source, trained = work / "source", work / "trained"
    if not (work / "drawn").exists():
        height, width = DEMO.datasets.height, DEMO.datasets.width
        write_gta(source, seeds=SCENES, height=height, width=width, emphasized=True)
        (work / "drawn").touch()
    _datum("convert", "gta", source)
    words: list[object] = [word for setting in SETTINGS for word in ("--set", f"adaptation.{setting}")]
    words += ["--source", source, "--output", trained]
    _datum("adapt", "--profile", "demo", "--method", "source-only", *words)
    output.mkdir(parents=True, exist_ok=True)
    file = trained / NAME
    metadata = read_header(file)["metadata"]
    save_segmentor(output / NAME, load_segmentor(file), metadata, half=True)
    if (size := (output / NAME).stat().st_size) > LARGEST_BYTES:
        raise RuntimeError(f"the network takes {size:,} bytes, more than {LARGEST_BYTES:,}")
    write_card(output)


def write_card(folder: Path) -> None:
    """Measures the network in `folder` and writes its card beside it."""
    file = folder / NAME
    segmentor = load_segmentor(file)
    domains = (lambda seed: SOURCE_DOMAIN, lambda seed: TARGET_DOMAIN, town_domain)
    found = [measured(segmentor, domain_of) for domain_of in domains]
    scores = [(name, [iou(confusion)[name] for confusion in found]) for name in CLASS_NAMES]
    scores.append(("**mean**", [miou(confusion) for confusion in found]))
    text = _CARD.format(
        encoder=segmentor.config.encoder,
        channels=segmentor.config.head_channels,
        size=file.stat().st_size / 1e6,
        digest=sha256(file),
        scenes=len(SCENES),
        first=SCENES[0],
        last=SCENES[-1],
        machine=f"{os.cpu_count()} processor cores",
        date=datetime.date.today(),
        settings=", ".join(SETTINGS),
        held_out=len(HELD_OUT),
        first_held_out=HELD_OUT[0],
        rows="\n".join(
            f"| {name} | {' | '.join(f'{value:.1f}' for value in values if value is not None)} |"
            for name, values in scores
            if None not in values
        ),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def measured(segmentor: Segmentor, domain_of: Callable[[int], Domain]) -> npt.NDArray[np.int64]:
    """The confusion matrix of `segmentor` on the held-out scenes, each drawn in the domain of its seed."""
    total = np.zeros((CLASS_COUNT, CLASS_COUNT), dtype=np.int64)
    height, width = DEMO.datasets.height, DEMO.datasets.width
    for seed in HELD_OUT:
        scene = draw_scene(seed, domain_of(seed), height=height, width=width)
        predicted = predict_with(DEMO.evaluation, segmentor, [scene.image], (height, width))[0]
        total += confusion_matrix(CITYSCAPES.to_train_id[scene.label_ids], predicted)
    return total


def _datum(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "datum", *map(str, words)], check=True)


def main() -> None:
    """Reads the command line and makes the network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the network and its card")
    parser.add_argument("--work", type=Path, required=True, help="folder of scenes and resumable state")
    options = parser.parse_args()
    make_start_network(options.output, options.work)


if __name__ == "__main__":
    main()
