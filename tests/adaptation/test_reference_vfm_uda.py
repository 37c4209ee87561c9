"""A training step of DINOv2 with masked tokens against VFM-UDA's own code.

`golden/vfm_uda.npz`: `UDAVITGeneric.training_step` (github.com/tue-mps/vfm-uda) with a `token_mask_ratio` of
0.7 and its `VITLightweightHead` around DINOv2's own ViT-S/14 (github.com/facebookresearch/dinov2) ran in
float64, position embeddings included, on two source and two target images of 96x96 pixels, without flips,
color augmentation and normalization; weights and images are those of `tests.segmentation.reference`. The
classes of ClassMix, the tokens' random numbers and the pixels that weigh 0 were handed to it. It holds the
three losses, the share of confident pixels, names and shapes of the state, and sum, projection on a fixed
direction and norm of every gradient of the whole step. No pixel is void: VFM-UDA averages its source loss
over labeled ones, this project as DAFormer does over all.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import datum.adaptation.learner
from datum.adaptation.requirements import network_of
from datum.adaptation.sampling import Batch
from datum.config import AdaptationSettings
from datum.segmentation.segmentor import build_segmentor
from tests.adaptation.scripted import ScriptedGenerator
from tests.adaptation.small_training import bare_training
from tests.segmentation.reference import golden, normal, reference_state, shapes_of, uniform

STEP = golden(__file__, "vfm_uda")

CLASSES = 19
"""Classes that occur in the labels."""

SETTINGS = AdaptationSettings(
    iterations=1,
    crop=96,
    learning_rate=7.07e-6,
    pseudo_threshold=0.12,
    pseudo_ignore_top=0,
    pseudo_ignore_bottom=0,
    mirrored_pseudo_labels=True,
    color_jitter_probability=0.0,
    blur_probability=0.0,
    feature_distance_weight=0.0,
    masked_consistency=True,
    masking="token",
    log_every=1,
    pictures=0,
)


def test_a_training_step_has_vfm_udas_losses_and_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build_segmentor(network_of("dinov2-s", SETTINGS)).double()
    network.load_state_dict(_in_our_names(reference_state(shapes_of(STEP), "student")))
    training = bare_training(network, SETTINGS, tmp_path)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: _draws(seed[2]))
    monkeypatch.setattr(datum.adaptation.learner, "batches", lambda *_, **__: [_batch()])
    steps: list[dict[str, Tensor]] = []
    step = training._step
    monkeypatch.setattr(training, "_step", lambda batch: steps.append(step(batch)) or steps[0])
    training.run(None)  # type: ignore[arg-type]
    losses = {name: float(loss.detach()) for name, loss in steps[0].items()}
    assert losses.pop("confident_share") == float(STEP["confident_share"])
    assert losses == pytest.approx(dict(zip(("source", "mixed", "masked"), STEP["losses"])), rel=1e-12)
    found = {name: p.grad.numpy() for name, p in network.named_parameters() if p.grad is not None}
    names = dict(zip(_in_our_names(dict.fromkeys(_parameters(), torch.empty(0))), _parameters()))
    assert found.keys() == names.keys() and "encoder.mask_token" in found
    sums = dict(zip(_parameters(), STEP["gradient_sums"]))
    for ours, theirs in names.items():
        (total, projection, norm), gradient = sums[theirs], found[ours]
        tolerance, root = 1e-10 * norm, gradient.size**0.5
        assert np.linalg.norm(gradient) == pytest.approx(norm, abs=tolerance), ours
        assert gradient.sum() == pytest.approx(total, abs=tolerance * root), ours
        direction = normal(f"projection/{theirs}", gradient.shape)
        assert (gradient * direction).sum() == pytest.approx(projection, abs=tolerance * root), ours


def _parameters() -> list[str]:
    return json.loads(str(STEP["parameters"]))


def _in_our_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {re.sub(r"^(upscale|out)\.", r"head.\1.", name): tensor for name, tensor in state.items()}


def _batch() -> Batch:
    labels = (uniform("labels", (2, 6, 6)) * 19).astype(np.int64).repeat(16, 1).repeat(16, 2)
    ignored = torch.zeros(2, 96, 96, dtype=torch.bool)
    ignored[0, :9], ignored[1, -30:] = True, True
    return Batch(
        source=torch.from_numpy(normal("source", (2, 3, 96, 96))),
        labels=torch.from_numpy(labels),
        classes=np.unique(labels).tolist(),
        target=torch.from_numpy(normal("target", (2, 3, 96, 96))),
        ignored=ignored,
    )


def _draws(stream: int) -> ScriptedGenerator:
    """What each stream of a step draws: neither jitter nor blur happens."""
    chosen = [np.argsort(uniform(f"chosen/{image}", (CLASSES,)))[: (CLASSES + 1) // 2] for image in range(2)]
    drawn = {
        1: ScriptedGenerator(choice=chosen, random=(0.5, 0.5)),
        3: ScriptedGenerator(),
        4: ScriptedGenerator(random=(0.5, 0.5, uniform("tokens", (2, 1, 7, 7)))),
    }
    return drawn[stream]
