"""PhotoMetricDistortion against mmseg's own, which gets the same draws."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mmseg.datasets import transforms

from datum.adaptation.photometric import photometric_distortion
from tests.segmentation.reference import uniform

SEEDS = range(200)


@pytest.mark.parametrize("colors", ["noise", "gray", "pure"])
def test_it_is_mmsegs(monkeypatch: pytest.MonkeyPatch, colors: str) -> None:
    image = {
        "noise": (uniform("distorted", (24, 32, 3)) * 256).astype(np.uint8),
        "gray": np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3),
        "pure": (np.eye(3, dtype=np.uint8) * 255)[None],
    }[colors]
    module = sys.modules[transforms.PhotoMetricDistortion.__module__]
    found, expected = [], []
    for seed in SEEDS:
        found.append(photometric_distortion(image, np.random.default_rng(seed)))
        rng = np.random.default_rng(seed)
        drawn = SimpleNamespace(randint=rng.integers, uniform=rng.uniform)
        monkeypatch.setattr(module, "random", drawn)
        result = transforms.PhotoMetricDistortion().transform({"img": image[..., ::-1].copy()})
        expected.append(result["img"][..., ::-1])
    np.testing.assert_array_equal(found, expected)


def test_it_leaves_the_image_that_it_is_given_as_it_is() -> None:
    image = (uniform("distorted", (8, 8, 3)) * 256).astype(np.uint8)
    before = image.copy()
    changed = [photometric_distortion(image, np.random.default_rng(seed)) for seed in SEEDS]
    np.testing.assert_array_equal(image, before)
    assert sum(np.array_equal(one, image) for one in changed) < 30
