"""Pictures of what a training mixes: what they show, how many there are, and that they change nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st
from PIL import Image

from datum.adaptation.adapt import adapt
from datum.adaptation.mix_panels import is_pictured, mix_panels
from datum.adaptation.sampling import Batch
from datum.adaptation.self_training import Mixed
from datum.config import AdaptationSettings
from datum.errors import InputError
from datum.formats.mix_pictures import PANELS, SIDE, MixPictures, find_pictures, read_panels
from datum.labels import IGNORE, TRAIN_ID_TO_COLOR
from datum.outputs import sha256
from datum.segmentation.preprocess import normalize
from tests.adaptation.small_training import small_training


def _colored(*colors: tuple[int, int, int], side: int) -> torch.Tensor:
    """Normalized images of one color each."""
    images = torch.tensor(colors, dtype=torch.float32)[:, :, None, None].expand(-1, -1, side, side)
    return normalize(images)


def _step(side: int) -> tuple[Batch, Mixed, torch.Tensor]:
    """A step whose left half is pasted from the source, void in its upper quarter. The teacher is sure of
    the lower half of the target, whose last row is margin."""
    half = torch.arange(side).expand(2, side, side) < side // 2
    labels = torch.full((2, side, side), 13)
    labels[:, : side // 4] = IGNORE
    pseudo_labels = torch.zeros(2, side, side, dtype=torch.int64)
    probability = torch.full((2, side, side), 0.5)
    probability[:, side // 2 :] = 0.99
    weights = torch.full((2, side, side), 0.5)
    weights[:, -1] = 0
    source, target = (_colored(color, (9, 9, 9), side=side) for color in ((200, 10, 30), (10, 20, 250)))
    batch = Batch(source=source, labels=labels, classes=[13, IGNORE], target=target)
    mixed = Mixed(
        images=torch.where(half[:, None], source, target),
        labels=torch.where(half, labels, pseudo_labels),
        weights=weights,
        confident_share=weights.max(),
        pseudo_labels=pseudo_labels,
        pseudo_weights=weights,
        probability=probability,
    )
    return batch, mixed, torch.zeros_like(source)


@pytest.mark.parametrize("side", [32, 4 * SIDE])
def test_the_squares_show_images_labels_and_where_the_teacher_is_confident(side: int, tmp_path: Path) -> None:
    batch, mixed, hidden = _step(side)
    panels = mix_panels(batch, mixed, hidden, threshold=0.968)
    shown = dict(zip(PANELS, (np.asarray(panel) for panel in panels)))
    assert len(panels) == len(PANELS)
    small = min(side, SIDE)
    assert all(panel.shape == (small, small, 3) for panel in shown.values())
    car, road = TRAIN_ID_TO_COLOR[13], TRAIN_ID_TO_COLOR[0]
    assert (shown["source"] == (200, 10, 30)).all() and (shown["target"] == (10, 20, 250)).all()
    assert (shown["source_label"][: small // 4] == 0).all() and (shown["source_label"][-1] == car).all()
    assert (shown["pseudo_label"] == road).all()
    assert (shown["mixed"][:, 0] == (200, 10, 30)).all() and (shown["mixed"][:, -1] == (10, 20, 250)).all()
    assert (shown["mixed_label"][-1, 0] == car).all() and (shown["mixed_label"][-1, -1] == road).all()
    assert (shown["confidence"][0] == 112).all() and (shown["confidence"][small // 2] == 255).all()
    assert (shown["confidence"][-1] < 255).all()
    assert (shown["masked"] == (124, 116, 104)).all()
    pictures = MixPictures(tmp_path)
    pictures.add(7, panels)
    read = read_panels(find_pictures(tmp_path)[7])
    for name, panel in shown.items():
        # As a JPEG keeps them; a border of two classes is blurred by a pixel or two.
        assert np.median(np.abs(read[name].astype(int) - panel)) <= 3, name
    assert list(read) == list(PANELS)


@given(st.integers(1, 500), st.integers(0, 100))
@tried(deadline=None, derandomize=True)
def test_pictures_are_spread_evenly_and_the_last_iteration_has_one(iterations: int, pictures: int) -> None:
    found = [i for i in range(1, iterations + 1) if is_pictured(i, iterations, pictures)]
    assert len(found) == min(iterations, pictures)
    assert not found or found[-1] == iterations
    gaps = np.diff([0, *found])
    assert not found or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("method", ["daformer", "hrda"])
def test_pictures_change_nothing_in_what_is_trained(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path, method: str
) -> None:
    both = method == "hrda"
    settings = dataclasses.replace(settings, multi_resolution=both, masked_consistency=both)
    for pictures in (0, 3):
        output = tmp_path / str(pictures)
        adapt(**small_training(scenes, output, dataclasses.replace(settings, pictures=pictures)))
    assert sha256(tmp_path / "0" / "last.safetensors") == sha256(tmp_path / "3" / "last.safetensors")
    assert not (tmp_path / "0" / "pictures").exists()
    found = find_pictures(tmp_path / "3")
    assert list(found) == [2, 4, 6]
    assert list(read_panels(found[2])) == list(PANELS)[: 8 if both else 7]


def test_a_training_on_the_source_alone_has_no_pictures(
    scenes: Path, settings: AdaptationSettings, tmp_path: Path
) -> None:
    output = tmp_path / "adapted"
    adapt(**small_training(scenes, output, settings) | {"method": "source-only", "target": None})
    assert find_pictures(output) == {} and not (output / "pictures").exists()


@pytest.mark.parametrize("size", [(64, 64), (64 * 7 + 1, 64), (64 * 9, 64), (64 * 6, 64), (3, 64)])
def test_an_image_that_is_no_picture_of_a_training_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "000001.jpg"
    Image.new("RGB", size).save(file)
    with pytest.raises(InputError, match=r"000001\.jpg: found \d+x64 pixels, expected 7 or 8 squares"):
        read_panels(file)
