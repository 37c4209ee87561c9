from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.config import PersonalizationSettings
from datum.personalization.personalize import personalize
from tests.base_models import untrained_pipeline


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion pipeline of the demo's size with random weights."""
    folder = tmp_path_factory.mktemp("base_model")
    untrained_pipeline(seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smooth 96 x 64 RGB image."""
    file = tmp_path_factory.mktemp("image") / "one_shot.png"
    rows, columns = np.mgrid[0:64, 0:96]
    pixels = np.stack([rows * 3, columns * 2, 255 - rows - columns], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(file)
    return file


@pytest.fixture(scope="session")
def settings(base_model: Path) -> PersonalizationSettings:
    """Four steps on 32 x 32 crops, a checkpoint every second one."""
    return PersonalizationSettings(
        base_model=str(base_model), short_side=48, crop=32, steps=4, checkpoint_every=2, learning_rate=1e-3
    )


@pytest.fixture(scope="session")
def finished(
    photograph: Path, settings: PersonalizationSettings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The output of an uninterrupted run with seed 1, which no test changes."""
    output = tmp_path_factory.mktemp("finished") / "output"
    personalize(image=photograph, output=output, settings=settings, seed=1)
    return output
