"""Figures of known pictures."""

import pytest
import torch

from datum.streetscenes.benchmark.judge import intersection_over_union
from datum.streetscenes.benchmark.measure import reconstruction_quality


def test_quality_of_a_known_error() -> None:
    originals = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    originals[:, 0] = 100
    half_color = torch.full_like(originals, 25)
    half_color[:, 0] = 75
    quality = reconstruction_quality(originals, half_color)
    assert quality["psnr"] == pytest.approx(20.17, abs=0.01)
    assert quality["chroma_ratio"] == pytest.approx(0.5)


def test_half_of_the_texture_is_half_of_what_is_fine() -> None:
    checkered = (torch.arange(8).view(1, 1, 8, 1) + torch.arange(8)) % 2 * 200
    originals = checkered.expand(2, 3, 8, 8).byte()
    quality = reconstruction_quality(originals, originals // 2)
    assert quality["fine_ratio"] == pytest.approx(0.5)


def test_intersection_over_union_by_hand() -> None:
    labels = torch.tensor([[0, 0, 1, 255]], dtype=torch.uint8)
    predictions = torch.tensor([[0, 1, 1, 2]], dtype=torch.uint8)
    scores = intersection_over_union(predictions, labels)
    assert scores[:3] == [50.0, 50.0, None]
