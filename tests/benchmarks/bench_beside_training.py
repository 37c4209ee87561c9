"""What validation and saving take of a training, at the paper profile's rhythm.

    python tests/benchmarks/bench_beside_training.py [STEPS [CROP [ENCODER]]]

The same code at a smaller size: STEPS (3) steps at CROP (128) pixels with ENCODER (mit-b0), validation images
of twice the crop's area in labels of eight times, as 1024x512 and 2048x1024 are to 512; a validation has 500
of them, as Cityscapes' has. Time of the training's own thread, on one core: files are read, and states
stored, in others, and other processes disturb it little. On a GPU shares differ, since a step is faster there
and small passes wait for the program. The goal is 3 % in all; 2.7 % were measured on a busy Intel Xeon
(2026-11-26), nearly all of it validation.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from datum.config import PAPER, EvaluationSettings
from datum.labels import TRAIN_ID_TO_LABEL_ID
from datum.segmentation.validation import ValidationImage, validate
from tests.benchmarks.bench_adaptation import made_batch, made_training

CITYSCAPES_VAL = 500
"""Images."""
IMAGES = 2
"""Validation images that are predicted here."""


def thread_seconds(function: Callable[[], object]) -> float:
    """Processor time of this thread in `function`."""
    start = time.thread_time()
    function()
    return time.thread_time() - start


def made_images(crop: int, folder: Path) -> list[ValidationImage]:
    random = np.random.default_rng(0)
    size = (4 * crop, 2 * crop)
    found = []
    for number in range(IMAGES):
        image, label = folder / f"{number}.png", folder / f"{number}_label.png"
        Image.fromarray(random.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(image)
        blocks = np.kron(random.integers(0, 19, (2, 4)), np.ones((crop, crop))).astype(np.uint8)
        Image.fromarray(TRAIN_ID_TO_LABEL_ID[blocks]).save(label)
        found.append(ValidationImage(name=str(number), image=image, label=label, size=size))
    return found


def measure(steps: int, crop: int, encoder: str) -> None:
    settings, shares = PAPER.adaptation, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batch, training = made_batch(2, crop), made_training(encoder, crop, folder)
        images, scale = made_images(crop, folder), EvaluationSettings(scale=(2 * crop, crop))
        # The first allocates memory.
        training._step(batch)
        step = thread_seconds(lambda: [training._step(batch) for _ in range(steps)]) / steps
        image = thread_seconds(lambda: validate(training._student, images, scale)) / IMAGES
        save = thread_seconds(training._save)
        training._state.wait()
    shares["validation"] = CITYSCAPES_VAL * image / (settings.validate_every * step)
    shares["saving"] = save / (settings.save_every * step)
    total = sum(shares.values())
    print(f"{encoder}, {crop}: a step {step:.2f} s, a validation image {image:.3f} s, a save {save:.3f} s")
    for what, share in {**shares, "both": total}.items():
        print(f"  {what:10} {100 * share / (1 + total):5.2f} % of the training")


def main() -> None:
    torch.set_num_threads(1)
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    crop = int(sys.argv[2]) if len(sys.argv) > 2 else 128
    encoder = sys.argv[3] if len(sys.argv) > 3 else "mit-b0"
    measure(steps, crop, encoder)


if __name__ == "__main__":
    main()
