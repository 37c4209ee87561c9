"""A step neither waits for the GPU nor keeps it waiting; counted without one."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from datum.adaptation.requirements import network_of
from datum.adaptation.sampling import Batch
from datum.config import AdaptationSettings
from datum.device import on_device
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor
from tests.adaptation.launches import Launches, count_between_logs, count_step
from tests.adaptation.small_training import bare_training

MOST = {"mit-b0": 1400, "resnet-18-half": 850, "dinov2-s": 2100}


@pytest.mark.parametrize("encoder", MOST)
def test_a_step_waits_for_nothing_and_launches_little(
    settings: AdaptationSettings, tmp_path: Path, encoder: str
) -> None:
    """With all that a step may do: feature distance, jitter, blur; of DINOv2 with masked tokens."""
    settings = dataclasses.replace(
        settings,
        pretrained_encoder="as it is",
        color_jitter_probability=1.0,
        blur_probability=1.0,
        masked_consistency=encoder == "dinov2-s",
        masking="token",
        pictures=0,
    )
    training = bare_training(build_segmentor(network_of(encoder, settings)), settings, tmp_path)
    images = torch.rand(2, 3, 64, 64)
    batch = Batch(
        source=images, labels=torch.randint(0, 19, (2, 64, 64)), classes=range(19), target=1 - images
    )
    found = count_step(training, batch)
    assert found.syncs == []
    assert 0 < sum(found.launches.values()) < MOST[encoder], found.launches


def test_an_iteration_that_is_not_logged_waits_for_nothing(
    settings: AdaptationSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its losses, the share of pseudo-labels and the pace are collected without being looked at."""
    settings = dataclasses.replace(settings, iterations=100, log_every=100, save_every=100, pictures=1)
    student = build_segmentor(SegmentorConfig(encoder="resnet-18-half", head_channels=16))
    images = torch.rand(2, 3, 64, 64)
    batch = Batch(
        source=images, labels=torch.randint(0, 19, (2, 64, 64)), classes=range(19), target=1 - images
    )
    found = count_between_logs(bare_training(student, settings, tmp_path), batch, monkeypatch)
    assert found.launches and found.syncs == []


def test_what_would_wait_is_seen() -> None:
    values, mask = torch.rand(4), torch.rand(4) > 0.5
    for wait in (
        lambda: float(values.sum()),
        lambda: values[mask],
        lambda: torch.unique(values),
        lambda: values.new_tensor([1.0]),
        lambda: torch.tensor(1.0),
        lambda: values[[0, 1]],
        lambda: bool(mask.any()),
    ):
        with Launches() as launches:
            wait()
        assert launches.syncs
    with Launches() as launches:
        on_device(np.ones(3), torch.float32, torch.device("cpu"))
        values.masked_fill(mask, 1.0).view(2, 2)
    assert not launches.syncs and launches.operations == {"masked_fill": 1}
