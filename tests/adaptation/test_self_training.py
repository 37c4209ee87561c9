"""The mean teacher, its pseudo-labels, and the loss."""

import functools

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.functional import hflip

from datum.adaptation.sampling import Batch
from datum.adaptation.self_training import Teacher, mix, pixel_loss, pseudo_label_weights
from datum.config import AdaptationSettings
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor


@pytest.fixture
def student() -> Segmentor:
    torch.manual_seed(0)
    return build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8)).train()


@pytest.mark.parametrize("iteration, decay", [(0, 0.0), (1, 0.5), (3, 0.75), (50, 0.9)])
def test_the_teacher_moves_as_fast_as_the_iteration_allows(
    student: Segmentor, iteration: int, decay: float
) -> None:
    teacher = Teacher(student)
    before = [p.clone() for p in teacher.segmentor.parameters()]
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter))
    teacher.update(student, iteration, alpha=0.9)
    for old, new, found in zip(before, student.parameters(), teacher.segmentor.parameters()):
        assert torch.allclose(found, decay * old + (1 - decay) * new, atol=1e-6)


def test_the_teacher_predicts_without_dropout_and_learns_nothing(student: Segmentor) -> None:
    teacher = Teacher(student)
    images = torch.randn(2, 3, 64, 64)
    first, second = teacher.predict(images), teacher.predict(images)
    assert all(torch.equal(first[name], second[name]) for name in ("probability", "labels"))
    assert first["probability"].shape == first["labels"].shape == (2, 64, 64)
    assert not any(p.requires_grad for p in teacher.segmentor.parameters())
    assert all(m.training for m in teacher.segmentor.modules() if isinstance(m, nn.BatchNorm2d))


def test_mirrored_pseudo_labels_are_those_of_vfm_uda(student: Segmentor) -> None:
    teacher, images = Teacher(student), torch.randn(2, 3, 64, 96)
    batch = Batch(source=images, labels=torch.zeros(2, 64, 96, dtype=torch.long), classes=[0], target=images)
    label = functools.partial(teacher.predict, mirrored=True)
    mixed = mix(batch, batch.target, label, AdaptationSettings(), np.random.default_rng(0))

    def logits_of(seen: Tensor) -> Tensor:
        with torch.no_grad():
            return functional.interpolate(teacher.segmentor(seen), (64, 96), mode="bilinear")

    # `get_pseudo_label_and_weight` of its `training/uda_vit/uda_vit_generic.py`.
    first, second = logits_of(images), hflip(logits_of(hflip(images)))
    expected = (torch.softmax(first, dim=1) + torch.softmax(second, dim=1)) / 2
    assert torch.equal(mixed.pseudo_labels, expected.argmax(dim=1))
    assert torch.allclose(mixed.probability, expected.amax(dim=1), atol=1e-6)
    assert not torch.equal(mixed.pseudo_labels, first.argmax(dim=1))


def test_pseudo_labels_weigh_the_share_of_confident_pixels_except_in_ignored_rows() -> None:
    probability = torch.zeros(2, 8, 4)
    probability[0, :4] = 0.968
    probability[1, 0] = 0.967
    weights = pseudo_label_weights(probability, threshold=0.968, ignore_top=1, ignore_bottom=2)
    assert not weights[:, 0].any() and not weights[:, 6:].any()
    assert torch.allclose(weights[:, 1:6], torch.tensor(0.25))


def test_without_ignored_rows_every_row_counts() -> None:
    weights = pseudo_label_weights(torch.ones(1, 4, 4), threshold=0.5, ignore_top=0, ignore_bottom=0)
    assert torch.equal(weights, torch.ones(1, 4, 4))


def test_the_loss_averages_over_all_pixels_void_included() -> None:
    logits = torch.randn(2, 19, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 19, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    labels[0, :2] = 255
    weights = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(2))
    plain, weighted = 0.0, 0.0
    for b, row, column in np.ndindex(2, 4, 4):
        if labels[b, row, column] != 255:
            loss = -float(torch.log_softmax(logits[b, :, row, column], 0)[labels[b, row, column]])
            plain += loss / 32
            weighted += loss * float(weights[b, row, column]) / 32
    assert float(pixel_loss(logits, labels)) == pytest.approx(plain, rel=1e-5)
    assert float(pixel_loss(logits, labels, weights)) == pytest.approx(weighted, rel=1e-5)


def test_the_loss_over_labeled_pixels_is_that_of_vfm_uda() -> None:
    logits = torch.randn(2, 19, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 19, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    labels[0, :2] = 255
    expected = functional.cross_entropy(logits, labels, ignore_index=255)
    assert float(pixel_loss(logits, labels, over_labeled=True)) == pytest.approx(float(expected), rel=1e-6)
    nothing = pixel_loss(logits, torch.full_like(labels, 255), over_labeled=True)
    assert float(nothing) == 0.0  # VFM-UDA's is not a number


def test_mixed_images_take_image_label_and_weight_from_the_same_side(student: Segmentor) -> None:
    settings = AdaptationSettings(
        crop=64,
        pseudo_threshold=0.0,
        pseudo_ignore_top=0,
        pseudo_ignore_bottom=256,
        color_jitter_probability=0.0,
        blur_probability=0.0,
    )
    labels = torch.full((1, 64, 64), 2)
    labels[:, :, 32:] = 5
    target = torch.randn(1, 3, 64, 64) - 5
    batch = Batch(source=torch.ones(1, 3, 64, 64), labels=labels, classes=[2, 5], target=target)
    teacher = Teacher(student)
    mixed = mix(batch, batch.target, teacher.predict, settings, np.random.default_rng(0))
    from_source = (mixed.images == 1).all(dim=1)
    assert from_source.float().mean() == 0.5
    assert torch.equal(mixed.labels[from_source], labels[from_source])
    assert (mixed.weights[from_source] == 1).all()
    pseudo_labels = teacher.predict(target)["labels"]
    assert torch.equal(mixed.labels[~from_source], pseudo_labels[~from_source])
    target_weights = mixed.weights.masked_fill(from_source, 0)
    assert not target_weights[:, 32:].any()  # 256 rows of 512 are 32 of 64
    assert (target_weights[:, :32][~from_source[:, :32]] == 1).all()
