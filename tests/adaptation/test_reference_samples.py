"""Rare class sampling, crops and thing cells against DAFormer's own code.

`golden/samples.npz`: made-up class counts went through `get_rcs_class_probs`, and the rest of
`UDADataset` (`mmseg/datasets/uda_dataset.py`) drew crops with a rare class from a label whose crops were
handed to it. `RandomCrop` (`mmseg/datasets/pipelines/transforms.py`, `cat_max_ratio` 0.75) drew crops of
a label of 14 tiles from given numbers. `downscale_label_ratio` (`mmseg/utils/utils.py`) and the lookup of
classes in `DACS.calc_feat_dist` chose the cells of the feature distance on drawn labels, and
`get_class_masks` (`mmseg/models/utils/dacs_transforms.py`) pasted from labels of one to seven classes.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datum.adaptation.feature_distance import thing_cells
from datum.adaptation.inputs import find_source
from datum.adaptation.mixing import class_mix_masks
from datum.adaptation.sampling import CropRules, TrainingSamples, draw_crop
from datum.rare_classes import class_probabilities, class_totals
from tests.adaptation.scripted import ScriptedGenerator
from tests.segmentation.reference import golden

SAMPLES = golden(__file__, "samples")
SIZE = 16
DRAWS = 11
"""Crops of one sample at most: the first and ten more."""


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.5])
def test_class_probabilities_are_daformers(temperature: float) -> None:
    pixels = [{int(c): n for c, n in counts.items()} for counts in json.loads(str(SAMPLES["statistics"]))]
    found = class_probabilities(class_totals(pixels), temperature)
    expected = dict(zip(SAMPLES["classes"].tolist(), SAMPLES[f"probabilities/{temperature}"].tolist()))
    assert found.keys() == expected.keys()
    # DAFormer counts in float32: exponents of up to 1 / temperature, rounded to 6e-8 of themselves.
    assert found == pytest.approx(expected, rel=2e-7 / temperature + 1e-6, abs=0)


def test_crops_that_daformer_accepts_are_accepted() -> None:
    """Among the 14 tiles: a class at 0.75 exactly, just below and just above, with and without void; void
    alone; one class beside void; one labeled pixel of each of two classes."""
    found = [
        _draw(SAMPLES["tiles"], [tile * SIZE, *[0] * (DRAWS - 1)], class_max_ratio=0.75)[0] == 1
        for tile in range(len(SAMPLES["accepted"]))
    ]
    assert found == SAMPLES["accepted"].tolist()


@pytest.mark.parametrize("ratio, expected", [(0.75, "crops"), (1.0, "crops_any")])
def test_crops_are_drawn_as_often_as_daformer_draws_them(ratio: float, expected: str) -> None:
    """The last two sequences hold ten crops that do not do; the eleventh is taken as it is."""
    found = [
        _draw(SAMPLES["tiles"], draws, class_max_ratio=ratio) for draws in SAMPLES["crop_draws"].tolist()
    ]
    assert found == [tuple(crop) for crop in SAMPLES[expected].tolist()]


def test_crops_with_a_rare_class_are_those_that_daformer_takes(
    make_source: Callable[[list[np.ndarray]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops hold 0, 7, 8, 9 and more pixels of the class; more than 16 x 0.5 are asked for."""
    label = SAMPLES["rare_label"]
    samples = TrainingSamples(
        source=find_source("gta-to-cityscapes", make_source([label])),
        target=[],
        rules=CropRules(
            size=SIZE,
            class_max_ratio=1.0,
            rare_min_pixels=16,
            rare_min_crop_pixels=16 * 0.5,
            source_scale=(label.shape[1], label.shape[0]),
            target_scale=None,
        ),
        temperature=0.01,
        seed=0,
    )
    rare = samples.classes.index(18)
    for draws, (count, left) in zip(SAMPLES["rare_draws"].tolist(), SAMPLES["rare_crops"].tolist()):
        # The image among one candidate, then top and left of each crop.
        integers = iter([0, *(number for draw in draws for number in (0, draw))])
        rng = ScriptedGenerator(choice=[rare], integers=integers, random=[0.9])
        monkeypatch.setattr(np.random, "default_rng", lambda *_, rng=rng: rng)
        np.testing.assert_array_equal(samples[0][1], label[:, left : left + SIZE])
        assert len(list(integers)) == 2 * (DRAWS - count)


@pytest.mark.parametrize("min_ratio", [0.75, 0.5])
def test_thing_cells_are_daformers(min_ratio: float) -> None:
    """Some cells hold a class at the ratio exactly, just below or just above it."""
    found = thing_cells(torch.from_numpy(SAMPLES["cell_labels"].astype(np.int64)), 8, min_ratio)
    np.testing.assert_array_equal(found.numpy(), SAMPLES[f"cells/{min_ratio}"])


@pytest.mark.parametrize("count", range(1, 8))
def test_as_many_classes_are_pasted_as_daformer_pastes(count: int) -> None:
    """Each of two images holds all `count` classes, void among them, in a row of its own."""
    classes = torch.tensor([0, 2, 5, 7, 13, 18, 255][-count:])
    labels = classes[None, :, None].expand(2, count, 3)
    masks = class_mix_masks(labels, classes.tolist(), np.random.default_rng(0))
    found = [len(label[mask].unique()) for label, mask in zip(labels, masks)]
    assert found == SAMPLES["pasted_classes"][count - 1].tolist()


def _draw(label: np.ndarray, lefts: list[int], class_max_ratio: float) -> tuple[int, int]:
    """(number of crops drawn, left of the last) where the draws of the left side are `lefts`."""
    integers = iter([number for left in lefts for number in (0, left)])
    rows, columns = draw_crop(label, SIZE, class_max_ratio, ScriptedGenerator(integers=integers))
    assert (rows.start, rows.stop, columns.stop - columns.start) == (0, SIZE, SIZE)
    return len(lefts) - len(list(integers)) // 2, columns.start
