"""Learning rates and parameter groups against those of DAFormer's training.

`golden/schedule.npz`: `build_optimizer` of mmcv 1.3.7 ran on DAFormer's `DACS` (`mit_b0`) with the
optimizer settings of `gta2cs_uda_warm_fdthings_rcs_croppl_a999_daformer_mitb5_s0.py`; it holds learning
rate and weight decay of every parameter. mmcv's `PolyLrUpdaterHook` ran with the settings of
`poly10warm.py` over 40,000 iterations, and with a warm-up of 10 from 0.1 and a power of 0.9 over 100.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch

from datum.adaptation.optimizer import build_optimizer, learning_rate_factor, set_learning_rate
from datum.config import AdaptationSettings
from tests.segmentation.reference import golden, reference_segmentor, shapes_of, to_ours

SCHEDULE = golden(__file__, "schedule")
SETTINGS = AdaptationSettings()
SHORT = dataclasses.replace(SETTINGS, iterations=100, warmup_iterations=10, warmup_ratio=0.1, poly_power=0.9)


@pytest.mark.parametrize("settings, kind", [(SETTINGS, ""), (SHORT, "short_")])
def test_learning_rates_are_those_of_daformers_schedule(settings: AdaptationSettings, kind: str) -> None:
    encoder, head = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    peaks = (
        {"lr": settings.learning_rate},
        {"lr": settings.learning_rate * settings.head_learning_rate_factor},
    )
    optimizer = torch.optim.AdamW(
        [{"params": [p], "peak_lr": peak["lr"], **peak} for p, peak in zip((encoder, head), peaks)]
    )
    found = []
    for iteration in SCHEDULE[f"{kind}iterations"].tolist():
        set_learning_rate(optimizer, learning_rate_factor(iteration, settings))
        found.append([group["lr"] for group in optimizer.param_groups])
    # The same few float64 operations in another order.
    np.testing.assert_allclose(found, SCHEDULE[f"{kind}learning_rates"], rtol=1e-12)


def test_every_parameter_has_daformers_learning_rate_and_weight_decay() -> None:
    """DAFormer has 116, 60 and 34 tensors; ours keep query, key and value together, which makes 100."""
    shapes = shapes_of(SCHEDULE)
    segmentor = reference_segmentor(shapes, "student", head_channels=32)
    optimizer = build_optimizer(segmentor, SETTINGS)
    found = {
        parameter: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    expected = [
        to_ours(
            {name: torch.full(shapes[name], value, dtype=torch.float64) for name, value in column.items()}
        )
        for column in (
            dict(zip(json.loads(str(SCHEDULE["parameters"])), values)) for values in SCHEDULE["rates"].T
        )
    ]
    assert len(found) == len(expected[0]) == len(list(segmentor.parameters()))
    for name, parameter in segmentor.named_parameters():
        rates, decays = (column[name].unique().tolist() for column in expected)
        # 6e-5 x 10 is rounded in one place more.
        assert found[parameter] == pytest.approx((*rates, *decays), rel=1e-12), name
    counts = sorted(len(group["params"]) for group in optimizer.param_groups)
    assert counts == [34, 60, 100]
