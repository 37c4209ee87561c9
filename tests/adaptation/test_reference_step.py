"""One training step against DAFormer's own code.

`golden/step.npz`: DAFormer's `DACS.forward_train` (`mmseg/models/uda/dacs.py`; `mit_b0`, a head of width
32) ran in float64 on two source and two target images of 64x64 pixels, without jitter, blur, dropout and
drop path; weights and images are those of `tests.segmentation.reference`, and the classes that ClassMix
pastes were handed to it. It holds the three losses, the gradients after each of the three backward
passes (checksums of all, a few whole), what the mixed images were made of for three settings of
pseudo-labels, and a few weights of the teacher after `DACS._update_ema`.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import datum.adaptation.learner
from datum.adaptation.feature_distance import FeatureDistance
from datum.adaptation.sampling import Batch
from datum.adaptation.self_training import Teacher, mix, pixel_loss
from datum.config import AdaptationSettings
from datum.segmentation.segmentor import Segmentor
from tests.adaptation.scripted import ScriptedGenerator
from tests.adaptation.small_training import bare_training
from tests.segmentation.reference import golden, normal, reference_segmentor, shapes_of, to_reference

STEP = golden(__file__, "step")
SHAPES = shapes_of(STEP)
PARAMETERS: list[str] = json.loads(str(STEP["gradient_names"]))

SOURCE_PASS, DISTANCE_PASS, MIXED_PASS = range(3)
"""Backward passes of the reference, whose gradients add up."""

LOSS_TOLERANCE = 2e-7
"""Relative. All is float64 but the cross-entropy, which casts logits to float32; measured 6e-8."""

GRADIENT_TOLERANCE = 1e-7
"""In norms of the gradient. The loss rounds the gradient of each logit to float32, and those errors (6e-8)
average out; measured 5e-9, and 4e-15 with a loss in float64."""

SETTINGS = AdaptationSettings(
    iterations=1,
    batch_size=2,
    crop=64,
    pseudo_threshold=0.6,
    # 15 and 120 rows of a 512 crop, the defaults, are 2 and 15 of 64.
    color_jitter_probability=0.0,
    blur_probability=0.0,
    drop_path_rate=0.0,
    dropout=0.0,
    head_channels=32,
    pretrained_encoder="as the test loads it",
    log_every=1,
    save_every=1,
    workers=0,
)


@pytest.fixture
def batch() -> Batch:
    return Batch(
        source=torch.from_numpy(normal("source", (2, 3, 64, 64))),
        labels=torch.from_numpy(STEP["labels"].astype(np.int64)),
        classes=np.unique(STEP["labels"]).tolist(),
        target=torch.from_numpy(normal("target", (2, 3, 64, 64))),
    )


@pytest.fixture
def student() -> Segmentor:
    return reference_segmentor(SHAPES, "student", head_channels=32).train()


def test_source_loss_and_its_gradients_are_daformers(student: Segmentor, batch: Batch) -> None:
    loss = pixel_loss(student(batch.source), batch.labels)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(STEP["losses"][SOURCE_PASS], rel=LOSS_TOLERANCE)
    _assert_gradients(student, SOURCE_PASS)


def test_feature_distance_and_its_gradients_are_daformers(student: Segmentor, batch: Batch) -> None:
    """Of the eight cells three count: the labels hold one thing class at 0.75 exactly and one just below."""
    imagenet = reference_segmentor(SHAPES, "imagenet", head_channels=32)
    distance = FeatureDistance(imagenet, min_ratio=SETTINGS.feature_distance_min_ratio)
    features = student.encode(batch.source)
    loss = SETTINGS.feature_distance_weight * distance(batch.source, batch.labels, features[-1])
    assert float(loss.detach()) == pytest.approx(STEP["losses"][DISTANCE_PASS], rel=1e-12)  # float64 alone
    (loss + pixel_loss(student.decode(features), batch.labels)).backward()
    _assert_gradients(student, DISTANCE_PASS)


def test_mixed_loss_is_daformers(student: Segmentor, batch: Batch) -> None:
    mixed = mix(batch, batch.target, Teacher(student).predict, SETTINGS, _draws())
    loss = pixel_loss(student(mixed.images), mixed.labels, mixed.weights)
    assert float(loss.detach()) == pytest.approx(STEP["losses"][MIXED_PASS], rel=LOSS_TOLERANCE)


@pytest.mark.parametrize("case", range(3))
def test_mixed_images_are_made_of_daformers_pixels_pseudo_labels_and_weights(
    student: Segmentor, batch: Batch, case: int
) -> None:
    """Exact: shares of 8192 pixels are whole in float32, and no probability is within 1e-4 of the
    threshold nor two within 1e-5 of each other."""
    threshold, top, bottom = STEP["pseudo_settings"][case]
    settings = dataclasses.replace(
        SETTINGS,
        pseudo_threshold=float(threshold),
        pseudo_ignore_top=8 * int(top),
        pseudo_ignore_bottom=8 * int(bottom),
    )
    mixed = mix(batch, batch.target, Teacher(student).predict, settings, _draws())
    assert batch.target is not None
    pasted = torch.from_numpy(STEP["masks"])[:, None]
    assert torch.equal(mixed.images, torch.where(pasted, batch.source, batch.target))
    np.testing.assert_array_equal(mixed.labels.numpy(), STEP["mixed_labels"])
    np.testing.assert_array_equal(mixed.weights.numpy(), STEP[f"mixed_weights_{case}"])
    assert float(mixed.confident_share) == STEP[f"mixed_weights_{case}"][~STEP["masks"]].max()


def test_a_training_step_has_daformers_losses_and_gradients(
    student: Segmentor, batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ImageNet encoder is the student as it was when the training was set up."""
    network = reference_segmentor(SHAPES, "imagenet", head_channels=32)
    training = bare_training(network, SETTINGS, tmp_path)
    network.load_state_dict(student.state_dict())
    monkeypatch.setattr(np.random, "default_rng", lambda *_: _draws())
    monkeypatch.setattr(datum.adaptation.learner, "batches", lambda *_, **__: [batch])
    training.run(None)  # type: ignore[arg-type]
    _assert_gradients(network, MIXED_PASS)
    record = json.loads((tmp_path / "training.jsonl").read_text())
    # The log rounds to six decimals.
    found = [record["source"], record["feature_distance"], record["mixed"]]
    np.testing.assert_allclose(found, STEP["losses"], rtol=0, atol=1e-6)
    state = to_reference(network.state_dict(), SHAPES)
    for name in _stored("buffer"):
        np.testing.assert_allclose(state[name], STEP[f"buffer/{name}"], rtol=1e-12)  # float64 alone


@pytest.mark.parametrize("iteration", STEP["ema_iterations"].tolist())
def test_the_teacher_moves_as_daformers_does(student: Segmentor, iteration: int) -> None:
    teacher = Teacher(reference_segmentor(SHAPES, "imagenet", head_channels=32))
    teacher.update(student, iteration, SETTINGS.ema_alpha)
    state = to_reference(teacher.segmentor.state_dict(), SHAPES)
    for name in _stored(f"ema/{iteration}"):
        # float64, where x + w (y - x) and (1 - w) x + w y differ in the last digits.
        np.testing.assert_allclose(state[name], STEP[f"ema/{iteration}/{name}"], rtol=1e-12, atol=1e-14)


def _draws() -> ScriptedGenerator:
    """The classes that ClassMix pastes, and that neither jitter nor blur happens."""
    return ScriptedGenerator(choice=STEP["chosen"], random=(0.5, 0.5))


def _stored(kind: str) -> list[str]:
    names = [key.removeprefix(f"{kind}/") for key in STEP if key.startswith(f"{kind}/")]
    assert names
    return names


def _assert_gradients(segmentor: Segmentor, backward_pass: int) -> None:
    """Compares sum, projection on a fixed direction and norm of every gradient, and some gradients whole."""
    ours = {name: p.grad for name, p in segmentor.named_parameters() if p.grad is not None}
    gradients = {name: g.numpy() for name, g in to_reference(ours, SHAPES).items()}
    assert list(gradients) == [name for name in SHAPES if name in PARAMETERS]
    for name, (total, projection, norm) in zip(PARAMETERS, STEP["gradient_sums"][backward_pass]):
        gradient = gradients[name]
        tolerance = GRADIENT_TOLERANCE * norm
        # A sum of n numbers that are off by a norm of e is off by at most e times the root of n.
        root = gradient.size**0.5
        assert np.linalg.norm(gradient) == pytest.approx(norm, abs=tolerance), name
        assert gradient.sum() == pytest.approx(total, abs=tolerance * root), name
        direction = normal(f"projection/{name}", gradient.shape)
        assert (gradient * direction).sum() == pytest.approx(projection, abs=tolerance * root), name
        if backward_pass == MIXED_PASS and f"gradient/{name}" in STEP:
            np.testing.assert_allclose(gradient, STEP[f"gradient/{name}"], rtol=0, atol=tolerance)
