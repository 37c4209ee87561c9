"""A step of HRDA, and steps with MIC's third pass, against their own code.

`golden/passes.npz`: HRDA's `DACS.forward_train` on crops of 128x128 with a detail of 64, and MIC's on the
same and, at one resolution, on crops of 64x64, ran in float64 as DAFormer's did for `test_reference_step`,
whose labels (twice as large for HRDA) and draws of ClassMix they share. The boxes of the three passes, the
margins and the blocks that stay visible were handed to them; HRDA's logits of the detail added up in float64.
It holds every loss, and sum, projection on a fixed direction and norm of every gradient of the whole step.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import datum.adaptation.learner
from datum.adaptation.sampling import Batch
from datum.config import AdaptationSettings
from tests.adaptation.scripted import ScriptedGenerator
from tests.adaptation.small_training import bare_training
from tests.segmentation.reference import golden, normal, reference_segmentor, to_reference, uniform

STEP, PASSES = golden(__file__, "step"), golden(__file__, "passes")
BOXES = ((1, 5), (6, 2), (3, 7))
"""Row and column of each pass's box, in eights of pixels."""

NAMES = {
    "decode.loss_seg": "source",
    "decode.hr.loss_seg": "source_detail",
    "src.loss_imnet_feat_dist": "feature_distance",
    "mix.decode.loss_seg": "mixed",
    "mix.decode.hr.loss_seg": "mixed_detail",
    "masked.decode.loss_seg": "masked",
    "masked.decode.hr.loss_seg": "masked_detail",
}
"""HRDA's and MIC's names of the losses -> ours."""


@pytest.mark.parametrize("case", ["hrda", "mic_hrda", "mic_daformer"])
def test_a_training_step_has_the_references_losses_and_gradients(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = case != "mic_daformer"
    crop = 128 if two else 64
    settings = AdaptationSettings(
        iterations=1,
        crop=crop,
        pseudo_threshold=0.6,
        pseudo_margins_of="image" if two else "crop",
        color_jitter_probability=0.0,
        blur_probability=0.0,
        drop_path_rate=0.0,
        dropout=0.0,
        head_channels=32,
        pretrained_encoder="as the test loads it",
        log_every=1,
        multi_resolution=two,
        masked_consistency=case.startswith("mic"),
    )
    shapes, parameters = (
        _names("hrda" if two else case, "shapes"),
        _names("hrda" if two else case, "parameters"),
    )
    networks = [
        reference_segmentor(shapes, variant, head_channels=32, detail_crop=crop // 2 if two else None)
        for variant in ("imagenet", "student")
    ]
    network, student = networks
    training = bare_training(network, settings, tmp_path)
    network.load_state_dict(student.state_dict())
    monkeypatch.setattr(np.random, "default_rng", lambda seed: _draws(seed[2]))
    monkeypatch.setattr(datum.adaptation.learner, "batches", lambda *_, **__: [_batch(crop, two)])
    steps: list[dict[str, torch.Tensor]] = []
    step = training._step
    monkeypatch.setattr(training, "_step", lambda batch: steps.append(step(batch)) or steps[0])
    training.run(None)  # type: ignore[arg-type]
    names = [NAMES[name] for name in _names(case, "names")]
    assert steps[0].keys() - {"confident_share"} == set(names)
    found = [float(steps[0][name].detach()) for name in names]
    np.testing.assert_allclose(found, PASSES[f"{case}/losses"], rtol=1e-12)
    ours = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    gradients = {name: g.numpy() for name, g in to_reference(ours, shapes).items()}
    assert gradients.keys() == set(parameters)
    for name, (total, projection, norm) in zip(parameters, PASSES[f"{case}/gradient_sums"]):
        # The norm of a bias before batch norm is 0 up to rounding.
        gradient, tolerance = gradients[name], 1e-10 * norm + 1e-14
        root = gradient.size**0.5
        assert np.linalg.norm(gradient) == pytest.approx(norm, abs=tolerance), name
        assert gradient.sum() == pytest.approx(total, abs=tolerance * root), name
        direction = normal(f"projection/{name}", gradient.shape)
        assert (gradient * direction).sum() == pytest.approx(projection, abs=tolerance * root), name


def _names(case: str, what: str) -> Any:
    return json.loads(str(PASSES[f"{case}/{what}"]))


def _batch(crop: int, two: bool) -> Batch:
    labels = STEP["labels"].repeat(crop // 64, 1).repeat(crop // 64, 2).astype(np.int64)
    ignored = torch.zeros(2, crop, crop, dtype=torch.bool)
    if two:
        ignored[0, :9], ignored[0, :, 120:], ignored[1, -30:] = True, True, True
    return Batch(
        source=torch.from_numpy(normal("source", (2, 3, crop, crop))),
        labels=torch.from_numpy(labels),
        classes=np.unique(labels).tolist(),
        target=torch.from_numpy(normal("target", (2, 3, crop, crop))),
        ignored=ignored if two else None,
    )


def _draws(stream: int) -> ScriptedGenerator:
    """What each stream of a step draws: neither jitter nor blur happens."""
    boxes = [place for box in BOXES for place in box]
    drawn = {
        1: ScriptedGenerator(choice=STEP["chosen"], random=(0.5, 0.5)),
        3: ScriptedGenerator(integers=boxes),
        4: ScriptedGenerator(random=(0.5, 0.5, uniform("blocks", (2, 1, 16, 16)))),
    }
    return drawn[stream]
