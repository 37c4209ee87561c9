"""ImageNet feature distance."""

import numpy as np
import pytest
import torch

from datum.adaptation.feature_distance import THING_TRAIN_IDS, FeatureDistance, thing_cells
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor


def test_the_thing_classes_are_daformers() -> None:
    assert THING_TRAIN_IDS == (6, 7, 11, 12, 13, 14, 15, 16, 17, 18)


def test_a_cell_counts_where_one_thing_fills_enough_of_it() -> None:
    labels = torch.zeros(1, 8, 16, dtype=torch.int64)
    labels[0, :4, :4] = 13  # car everywhere
    labels[0, :3, 4:8] = 11  # person in three quarters
    labels[0, :2, 8:12] = 11  # person in half
    labels[0, :4, 12:16] = 255  # void
    labels[0, 4:8, 4:8] = 1  # sidewalk everywhere, not a thing
    labels[0, 4:6, 8:12], labels[0, 6:8, 8:12] = 13, 11  # two things
    assert thing_cells(labels, 4, 0.75).tolist() == [[[True, True, False, False], [False] * 4]]


def test_the_distance_is_the_mean_norm_over_those_cells() -> None:
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8)).eval()
    distance = FeatureDistance(segmentor, min_ratio=0.75)
    images = torch.randn(2, 3, 64, 64)
    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    labels[0, :32, :32] = 13
    labels[1, 32:, 32:] = 18
    with torch.no_grad():
        frozen = segmentor.encode(images)[-1]
    features = frozen + torch.randn_like(frozen)
    difference = (features - frozen).numpy()
    expected = np.mean([np.linalg.norm(difference[0, :, 0, 0]), np.linalg.norm(difference[1, :, 1, 1])])
    assert float(distance(images, labels, features)) == pytest.approx(float(expected), rel=1e-4)


def test_a_cell_of_resnet_101_is_8_pixels_a_side() -> None:
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder="resnet-101")).eval()
    distance = FeatureDistance(segmentor, min_ratio=0.75)
    images, labels = torch.randn(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.int64)
    labels[0, 8:16, 24:32] = 13
    with torch.no_grad():
        features = segmentor.encode(images)[-1].clone()
    features[0, 0, 1, 3] += 7
    features[0, 0, 1, 2] += 100
    assert float(distance(images, labels, features)) == pytest.approx(7.0, rel=1e-5)


def test_the_distance_is_to_the_encoder_as_it_was() -> None:
    torch.manual_seed(0)
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8)).eval()
    distance = FeatureDistance(segmentor, min_ratio=0.75)
    images, labels = torch.randn(1, 3, 32, 32), torch.full((1, 32, 32), 13)
    with torch.no_grad():
        before = distance(images, labels, segmentor.encode(images)[-1])
        for parameter in segmentor.encoder.parameters():
            parameter.mul_(1.1)
        after = distance(images, labels, segmentor.encode(images)[-1])
    assert float(before) == pytest.approx(0.0, abs=1e-4) and float(after) > 0.1


def test_a_batch_without_things_has_no_distance_and_no_gradient() -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8))
    features = torch.randn(1, 256, 1, 1, requires_grad=True)
    distance = FeatureDistance(segmentor, 0.75)(
        torch.randn(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.int64), features
    )
    distance.backward()
    assert float(distance.detach()) == 0 and features.grad is not None and not features.grad.any()
