from pathlib import Path

import pytest

from tests.datasets.small_datasets import random_ids, write_gta_label


@pytest.fixture
def gta(tmp_path: Path) -> Path:
    root = tmp_path / "gta"
    for index in range(3):
        write_gta_label(root, f"{index:05d}.png", random_ids(index, 34))
    return root
