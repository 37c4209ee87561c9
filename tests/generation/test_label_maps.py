"""Label maps by rare class sampling."""

import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datum.errors import InputError
from datum.generation.label_maps import LabelMaps
from datum.generation_settings import GenerationSettings
from datum.rare_classes import class_probabilities


def test_classes_are_drawn_as_often_as_their_rarity_says(
    source: Path, labeled_settings: GenerationSettings
) -> None:
    warm = dataclasses.replace(labeled_settings, labeled_temperature=0.5)
    maps = LabelMaps(source, warm, with_images=False)
    drawn = Counter(maps.cut(1, index).train_id for index in range(400))
    totals = {0: 0, 10: 4 * 13 * 56, 11: 64, 13: 3 * 64}
    totals[0] = 4 * (40 - 13 - 5) * 56 - 4 * 64
    expected = class_probabilities(totals, 0.5)
    for train_id, probability in expected.items():
        # Four standard deviations.
        assert abs(drawn[train_id] / 400 - probability) < 4 * np.sqrt(probability / 400), train_id


def test_a_label_map_follows_seed_and_index_alone(source: Path, labeled_settings: GenerationSettings) -> None:
    one, two = (LabelMaps(source, labeled_settings, with_images=True) for _ in range(2))
    for index in (5, 0, 3):
        first, second = one.cut(7, index), two.cut(7, index)
        assert first.condition == second.condition
        assert np.array_equal(first.ids, second.ids)
        assert first.image is not None and first.image.shape == (32, 32, 3)
    assert one.digest == two.digest
    assert len({one.cut(seed, 0).condition for seed in range(10)}) > 1


def test_the_digest_is_that_of_what_decides(
    source: Path, labeled_settings: GenerationSettings, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    labels = LabelMaps(source, labeled_settings, with_images=False).digest
    with_images = LabelMaps(source, labeled_settings, with_images=True).digest
    image = copy / "images/00002.png"
    image.write_bytes((copy / "images/00003.png").read_bytes())
    assert LabelMaps(copy, labeled_settings, with_images=False).digest == labels
    assert LabelMaps(copy, labeled_settings, with_images=True).digest != with_images


def test_a_label_map_changed_since_its_conversion_is_named(
    source: Path, labeled_settings: GenerationSettings, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    shutil.copyfile(copy / "labels/00000_labelTrainIds.png", copy / "labels/00001_labelTrainIds.png")
    with pytest.raises(InputError, match=r"00001_labelTrainIds\.png: holds other classes than the statist"):
        LabelMaps(copy, labeled_settings, with_images=False)
