"""Data sets of a few small images, as their publishers lay them out."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def write_image(file: Path, height: int, width: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), (90, 100, 110)).save(file)


def write_gta_label(root: Path, name: str, label_ids: np.ndarray) -> None:
    write_image(root / "images" / name, *label_ids.shape)
    (root / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(label_ids).save(root / "labels" / name)


def write_synthia_label(root: Path, name: str, label_ids: np.ndarray, instances: np.ndarray) -> None:
    write_image(root / "RGB" / name, *label_ids.shape)
    (root / "GT/LABELS").mkdir(parents=True, exist_ok=True)
    blue_green_red = np.stack([np.zeros_like(instances), instances, label_ids.astype(np.uint16)], axis=2)
    assert cv2.imwrite(str(root / "GT/LABELS" / name), blue_green_red)


def random_ids(seed: int, largest: int, height: int = 9, width: int = 14) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, largest + 1, (height, width), dtype=np.uint8)


def files_below(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}


def write_large_labels(root: Path) -> None:
    """Enough pixels for a second process to start."""
    for index in range(4):
        name = f"{index:05d}.png"
        write_gta_label(root, name, random_ids(index, 34, 10, 11).repeat(300, 0).repeat(275, 1))
