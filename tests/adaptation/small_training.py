"""A training that ends in seconds."""

from pathlib import Path
from typing import Any

from datum.config import AdaptationSettings, EvaluationSettings


def small_training(scenes: Path, output: Path, settings: AdaptationSettings) -> dict[str, Any]:
    """The arguments of `adapt` on the data sets in `scenes`."""
    return {
        "benchmark": "gta-to-cityscapes",
        "method": "daformer",
        "encoder": "mit-b0",
        "source": scenes / "gta",
        "target": scenes / "cityscapes",
        "output": output,
        "settings": settings,
        "evaluation": EvaluationSettings(scale=(96, 64), batch_size=4),
        "seed": 1,
        "validation": scenes / "cityscapes",
        "device": "cpu",
    }
