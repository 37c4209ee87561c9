import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datum.config import AdaptationSettings
from datum.datasets.convert import convert
from datum.streetscenes.drawing import write_cityscapes, write_gta

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a converted source data set in `gta` and a target data set in `cityscapes`."""
    root = tmp_path_factory.mktemp("scenes")
    write_gta(root / "gta", seeds=range(8), height=64, width=96)
    convert("gta", root / "gta", workers=1)
    write_cityscapes(
        root / "cityscapes", train_seeds=range(100, 104), val_seeds=range(200, 204), height=64, width=96
    )
    return root


@pytest.fixture
def settings() -> AdaptationSettings:
    """A training of seconds."""
    return AdaptationSettings(
        iterations=6,
        batch_size=2,
        crop=64,
        source_scale=(96, 64),
        target_scale=(96, 64),
        learning_rate=1e-3,
        head_learning_rate_factor=1.0,
        warmup_iterations=1,
        pretrained_encoder="random",
        head_channels=16,
        rare_class_min_pixels=300,
        validate_every=3,
        log_every=1,
        save_every=3,
        workers=0,
    )


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[[list[np.ndarray]], Path]:
    """Writes a converted data set in GTA's layout with given train ids and random images."""

    def write(labels: list[np.ndarray]) -> Path:
        root = tmp_path / "source"
        statistics = []
        for folder in ("images", "labels"):
            (root / folder).mkdir(parents=True)
        for number, label in enumerate(labels):
            image = np.random.default_rng(number).integers(0, 256, (*label.shape, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / "images" / f"{number}.png")
            Image.fromarray(label).save(root / "labels" / f"{number}_labelTrainIds.png")
            counts = {str(c): int(n) for c, n in zip(*np.unique(label, return_counts=True)) if c != 255}
            statistics.append({**counts, "file": f"elsewhere/labels/{number}_labelTrainIds.png"})
        (root / "sample_class_stats.json").write_text(json.dumps(statistics))
        return root

    return write
