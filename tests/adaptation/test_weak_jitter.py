"""VFM-UDA's weak color jitter, against torchvision's own, which VFM-UDA calls."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import ColorJitter

import datum.adaptation.learner
from datum.adaptation.sampling import Batch
from datum.adaptation.weak_jitter import weak_jitter
from datum.config import AdaptationSettings
from datum.segmentation.preprocess import denormalize, normalize
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor
from tests.adaptation.scripted import ScriptedGenerator
from tests.adaptation.small_training import bare_training

VFM_UDAS = ColorJitter(brightness=32 / 255, contrast=0.5, saturation=0.5, hue=18 / 360)


def images(count: int, seed: int = 0) -> Tensor:
    colors = torch.rand(count, 3, 24, 32, generator=torch.Generator().manual_seed(seed)).double()
    return normalize(colors * 255)


def test_an_image_is_jittered_as_torchvision_does_with_the_same_draws() -> None:
    given, rng = images(60), np.random.default_rng(1)
    found = weak_jitter(given, np.random.default_rng(1))
    unchanged = 0
    for image, jittered in zip(given, found):
        happens = rng.random() < 0.9
        ranges = (VFM_UDAS.brightness, VFM_UDAS.contrast, VFM_UDAS.saturation, VFM_UDAS.hue)
        factors = [rng.uniform(*ends) for ends in ranges]
        order = rng.permutation(4).tolist()
        if not happens:
            unchanged += 1
            assert torch.equal(jittered, image)
            continue
        with patch.object(ColorJitter, "get_params", return_value=(torch.tensor(order), *factors)):
            expected = normalize(VFM_UDAS(denormalize(image[None]) / 255) * 255)[0]
        assert torch.allclose(jittered, expected, atol=1e-12)
    assert 0 < unchanged < 20


def test_source_images_are_jittered_for_the_source_loss_and_target_images_for_the_mix_alone(
    tmp_path: Path,
) -> None:
    """So that the mix has the source as it is, and the teacher and the third pass the target as it is."""
    settings = AdaptationSettings(
        iterations=1,
        crop=32,
        weak_color_jitter=True,
        color_jitter_probability=0.0,
        blur_probability=0.0,
        feature_distance_weight=0.0,
        pseudo_ignore_top=0,
        pseudo_ignore_bottom=0,
        log_every=1,
        pictures=0,
    )
    network = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=16))
    training = bare_training(network, settings, tmp_path)
    source, target = (torch.rand(2, 3, 32, 32) for _ in range(2))
    labels = torch.zeros(2, 32, 32, dtype=torch.int64)
    labels[:, :, 16:] = 1
    batch = Batch(source=source, labels=labels, classes=[0, 1], target=target)
    seen: dict[str, Tensor] = {}

    def kept(name: str, pass_: object) -> object:
        def called(images: Tensor, *rest: Tensor) -> object:
            seen[name] = images
            return pass_(images, *rest)  # type: ignore[operator]

        return called

    for name in ("_learn_source", "_label", "_learn_mixed"):
        setattr(training, name, kept(name, getattr(training, name)))
    draws = {
        1: ScriptedGenerator(choice=[np.array([0]), np.array([0])], random=(0.5, 0.5)),
        5: ScriptedGenerator(random=(0.5, 0.5), uniform=[1.1, 1, 1, 0] * 2, permutation=[np.arange(4)] * 2),
        6: ScriptedGenerator(random=(0.5, 0.5), uniform=[0.9, 1, 1, 0] * 2, permutation=[np.arange(4)] * 2),
    }
    drawing = patch.object(np.random, "default_rng", lambda seed: draws.get(seed[2], ScriptedGenerator()))
    with drawing, patch.object(datum.adaptation.learner, "batches", lambda *_, **__: [batch]):
        training.run(None)  # type: ignore[arg-type]
    assert torch.equal(seen["_label"], target)
    assert not torch.equal(seen["_learn_source"], source)
    left, right = seen["_learn_mixed"].split(16, dim=3)
    assert torch.equal(left, source[..., :16])
    brighter = normalize(denormalize(source).mul(1.1).clamp(0, 255))
    darker = normalize(denormalize(target).mul(0.9))
    assert torch.allclose(seen["_learn_source"], brighter, atol=1e-5)
    assert torch.allclose(right, darker[..., 16:], atol=1e-5)
