"""DAFormer's own `tools/test.py` on a network of ours, beside `datum evaluate`.

    python tests/benchmarks/reference_evaluation.py CHECKPOINT DATASET

Exports CHECKPOINT, a MiT with the DAFormer head, and has the reference test the file on the val split of
DATASET, which `datum convert cityscapes` has converted: their program and their configuration of GTA to
Cityscapes as they are, in which options of the program's own set the encoder, the head's width and the data
set. It prints the mIoU of both, and fails where the IoU of a class or more than one pixel in 10,000 differs.

DAFORMER and DAFORMER_PACKAGES are those of `bench_adaptation.py`: mmcv 1.3.7 without its compiled operations,
of which DAFormer uses none, on Python 3.11 and PyTorch 2.14: no part of what runs is a stand-in. With a
MiT-B0 that had a head of 64 channels and 250 iterations on CamVid by day, on five of its photographs at dusk,
both printed a mIoU of 13.22, and no pixel of 864,000 differed (2026-11-26).
"""

import math
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from datum.config import EvaluationSettings
from datum.evaluation.evaluate import evaluate
from datum.formats.metrics import read_metrics
from datum.labels import TRAIN_ID_TO_LABEL_ID
from datum.layouts import CITYSCAPES, EVALUATED
from datum.segmentation.checkpoints import open_checkpoint
from datum.segmentation.encoders import family
from datum.segmentation.mmcv_export import export_to_mmcv

CONFIG = "configs/daformer/gta2cs_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0.py"
MOST_POINTS = 0.02
"""Of a class's IoU, which the program prints to two decimals."""
MOST_PIXELS = 1e-4
"""Share of pixels that may differ: where two classes are equally likely, rounding decides."""


def predict_by_reference(checkpoint: Path, dataset: Path, folder: Path) -> tuple[list[np.ndarray], str]:
    """Train ids of each image, uint8[height, width], in the program's order, and what it printed."""
    config = open_checkpoint(checkpoint).segmentor.config
    export_to_mmcv(checkpoint=checkpoint, output=folder / "network.pth")
    channels = list(family(config.encoder).channels(config.encoder))
    options = [
        f"model.backbone.type={config.encoder.replace('-', '_')}",
        f"model.decode_head.in_channels={channels}".replace(" ", ""),
        f"model.decode_head.channels={config.head_channels}",
        f"model.decode_head.decoder_params.embed_dims={config.head_channels}",
        f"data.test.data_root={dataset.resolve()}",
        "data.workers_per_gpu=1",
    ]
    checkout, result = os.environ["DAFORMER"], folder / "result.pkl"
    packages = os.pathsep.join([os.environ["DAFORMER_PACKAGES"], checkout])
    command = [sys.executable, "-W", "ignore", "tools/test.py", CONFIG, str(folder / "network.pth")]
    done = subprocess.run(
        [*command, "--eval", "mIoU", "--out", str(result), "--options", *options],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": packages},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [prediction.astype(np.uint8) for prediction in pickle.loads(result.read_bytes())], done.stdout


def main() -> None:
    checkpoint, dataset = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        theirs, printed = predict_by_reference(checkpoint, dataset, folder)
        evaluate(
            checkpoint=checkpoint, dataset=dataset, output=folder / "ours", settings=EvaluationSettings()
        )
        scores = read_metrics(folder / "ours")
        differing = 0.0
        # They go through the files as the disk lists them.
        listed = [name for _, _, names in os.walk(dataset / CITYSCAPES.images / EVALUATED) for name in names]
        for name, prediction in zip(listed, theirs, strict=True):
            file = f"{name.removesuffix(CITYSCAPES.image_suffix)}.png"
            ours = Image.open(folder / "ours" / "predictions" / "label_ids" / file)
            differing += np.mean(np.asarray(ours) != TRAIN_ID_TO_LABEL_ID[prediction])
        differing /= len(theirs)
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in printed.splitlines() if "|" in line]
    ious = {row[0]: float(row[1]) for row in rows if row[0] in scores["iou"]}
    miou = float(rows[-1][1])
    print(f"mIoU: theirs {miou}, ours {scores['miou']['19']:.2f}; pixels that differ: {differing:.2e}")
    for name, iou in scores["iou"].items():
        same = math.isnan(ious[name]) if iou is None else abs(ious[name] - iou) <= MOST_POINTS
        assert same, f"{name}: theirs {ious[name]}, ours {iou}"
    assert differing <= MOST_PIXELS, "more pixels differ than rounding turns"


if __name__ == "__main__":
    main()
