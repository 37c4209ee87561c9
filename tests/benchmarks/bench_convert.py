"""Conversion by lookup beside conversion by one mask a class, on labels of GTA's size.

    python tests/benchmarks/bench_convert.py [LABELS]

Draws LABELS (default 48) GTA labels of 1914x1052 pixels, converts them with `datum.datasets.convert` and with
a plain variant that maps and counts class by class, as DAFormer's converter does, and prints milliseconds a
label and their ratio; both in one process, alternating, the fastest of three rounds. It fails where the
lookup is not faster or a byte differs.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from datum.datasets.convert import convert
from datum.labels import CLASSES

WIDTH, HEIGHT = 1914, 1052
"""Size of GTA's frames, in pixels."""
ROUNDS = 3


def draw(root: Path, count: int) -> None:
    """Labels of overlapping rectangles in every id of GTA, as large and as compressible as real ones."""
    for folder in ("images", "labels", "masks"):
        (root / folder).mkdir(parents=True)
    image = Image.new("RGB", (WIDTH, HEIGHT))
    for index in range(count):
        rng = np.random.default_rng(index)
        label = np.full((HEIGHT, WIDTH), 7, np.uint8)
        for _ in range(400):
            y, x = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
            tall, wide = rng.integers(4, 160, 2)
            label[y : y + tall, x : x + wide] = rng.integers(0, 35)
        Image.fromarray(label).save(root / f"labels/{index:05d}.png")
        image.save(root / f"images/{index:05d}.png")


def convert_by_masks(root: Path) -> None:
    """One mask a class, for the map and for the count."""
    for file in sorted((root / "labels").glob("*[0-9].png")):
        label = np.asarray(Image.open(file))
        train_ids = np.full(label.shape, 255, np.uint8)
        counts = {}
        for c in CLASSES:
            mask = label == c.label_id
            train_ids[mask] = c.train_id
            counts[c.train_id] = int(np.sum(mask))
        Image.fromarray(train_ids).save(root / "masks" / f"{file.stem}_labelTrainIds.png")


def seconds(function: Callable[[], None]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw(root, count)
        lookup, masks = [], []
        for _ in range(ROUNDS):
            masks.append(seconds(lambda: convert_by_masks(root)))
            lookup.append(seconds(lambda: convert("gta", root, workers=1)))
        for file in (root / "masks").iterdir():
            assert file.read_bytes() == (root / "labels" / file.name).read_bytes(), file.name
    a, b = min(masks) / count * 1e3, min(lookup) / count * 1e3
    print(
        f"{count} labels of {WIDTH}x{HEIGHT}, one process: masks {a:.1f} ms, lookup {b:.1f} ms, {a / b:.2f}x"
    )
    assert b < a, "the lookup is not faster than one mask a class"


if __name__ == "__main__":
    main()
