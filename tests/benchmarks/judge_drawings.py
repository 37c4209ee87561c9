"""What the demo's drawings show, in the eyes of a network that knows the town.

    python tests/benchmarks/judge_drawings.py FOLDER RUN...

Trains a judge once, in FOLDER, on 2,400 scenes with their labels, half of the town and half of the source,
every second with a class large and near (the demo's network for 2,500 iterations of four crops from the one
that is shipped, six minutes on a core). Then, for each seed of each RUN, an output of `datum run --profile
demo`: of the unlabeled drawings the percentage in which the class that their prompt asks for covers at least
half a percent of the image, and the same of scenes that were drawn to show it, which says how far the judge
is to be trusted; the contrast of the three finest octaves over that of the run's target images; of the
labeled drawings the judge's mIoU with their label maps, over the classes in these.
"""

import functools
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from datum.config import DEMO
from datum.formats.generated import read_manifest
from datum.formats.labeled import LABELED, LabeledPair, read_labeled
from datum.label_files import read_label
from datum.labels import CLASS_NAMES
from datum.layouts import CITYSCAPES
from datum.photographs import read_image
from datum.prompts import PLURALS
from datum.segmentation.inference import predict_with
from datum.segmentation.iou import CLASS_COUNT, confusion_matrix, miou
from datum.segmentation.segmentor import Segmentor, load_segmentor
from datum.streetscenes.benchmark.measure import LEAST_SHARE
from datum.streetscenes.drawing import SOURCE_DOMAIN, Domain, draw_scene, town_domain, write_gta

SCENES = range(2_200_000, 2_202_400)
SHOWN = range(760_000, 760_030)
"""Seeds that neither the demo nor its models draw by."""
SETTINGS = ("batch_size=4", "learning_rate=2e-3", "iterations=2500", "validate_every=100000")
OCTAVES = 3


def either_domain(seed: int) -> Domain:
    """The town and the source in turn, each with scenes that emphasize a class and scenes that do not."""
    return town_domain(seed) if seed % 4 < 2 else SOURCE_DOMAIN


def trained_judge(folder: Path) -> Segmentor:
    source, trained = folder / "scenes", folder / "judge"
    if not (folder / "drawn").exists():
        size = {"height": DEMO.datasets.height, "width": DEMO.datasets.width}
        write_gta(source, seeds=SCENES, domain_of=either_domain, emphasized=True, **size)
        (folder / "drawn").touch()
    datum("convert", "gta", source)
    words = [word for setting in SETTINGS for word in ("--set", f"adaptation.{setting}")]
    words += ["--profile", "demo", "--method", "source-only", "--source", str(source)]
    datum("adapt", *words, "--output", trained)
    return load_segmentor(trained / "last.safetensors").eval()


def datum(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "datum", *map(str, words)], check=True)


def seen(judge: Segmentor, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Train ids."""
    return predict_with(DEMO.evaluation, judge, [image], image.shape[:2])[0]


def shows(judge: Segmentor, image: npt.NDArray[np.uint8], name: str) -> bool:
    return bool(np.mean(seen(judge, image) == CLASS_NAMES.index(name)) >= LEAST_SHARE)


def percentage(found: Iterable[bool]) -> float:
    return 100 * statistics.mean(map(float, found))


@functools.cache
def shown_by_scenes(judge: Segmentor, name: str) -> float:
    """Percentage of the town's scenes with the class near in which the judge sees it."""
    scenes = (draw_scene(seed, town_domain(seed), emphasis=name) for seed in SHOWN)
    return percentage(shows(judge, scene.image, name) for scene in scenes)


def octaves(files: Sequence[Path]) -> npt.NDArray[np.float64]:
    """Mean deviation of gray in each octave, the finest first."""
    rows = []
    for file in files:
        gray = read_image(file).mean(axis=2, dtype=np.float32)
        row = []
        for _ in range(OCTAVES):
            coarse = cv2.pyrDown(gray)
            row.append((gray - cv2.pyrUp(coarse, dstsize=gray.shape[::-1])).std())
            gray = coarse
        rows.append(row)
    return np.mean(rows, axis=0)


def agreement(judge: Segmentor, pairs: Sequence[LabeledPair]) -> float | None:
    """mIoU of the judge's eyes with the label maps, in percent, over the classes that these hold."""
    total = np.zeros((CLASS_COUNT, CLASS_COUNT), dtype=np.int64)
    for pair in pairs:
        total += confusion_matrix(read_label(pair.label), seen(judge, read_image(pair.image)))
    return miou(total, [name for name, pixels in zip(CLASS_NAMES, total.sum(axis=1)) if pixels])


def tell(judge: Segmentor, target: npt.NDArray[np.float64], drawn: Path) -> None:
    """Prints the lines of one seed, whose target images have the octaves `target`."""
    images = read_manifest(drawn)
    print(f"{drawn}: class, seen in drawings, in scenes of the town that show it")
    asked = list(PLURALS)
    for number, name in enumerate(asked):
        files = [drawn / image.file for image in images if image.index % len(asked) == number]
        found = percentage(shows(judge, read_image(file), name) for file in files)
        print(f"  {name}: {found:.0f} % of {len(files)}, {shown_by_scenes(judge, name):.0f} %")
    kinds = {"unlabeled": [drawn / image.file for image in images]}
    if (drawn / LABELED).exists():
        pairs = read_labeled(drawn)
        kinds["labeled"] = [pair.image for pair in pairs]
        print(f"  agreement of labeled drawings: {agreement(judge, pairs):.1f} mIoU")
    for kind, files in kinds.items():
        shares = ", ".join(f"{share:.2f}" for share in octaves(files) / target)
        print(f"  contrast of {kind} drawings by octave: {shares} of the target's")


def main(folder: Path, *runs: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    judge = trained_judge(folder)
    for run in runs:
        target = octaves(sorted((run / "datasets").rglob(f"train/**/*{CITYSCAPES.image_suffix}")))
        for drawn in sorted(run.glob("seed-*/generated")):
            tell(judge, target, drawn)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
