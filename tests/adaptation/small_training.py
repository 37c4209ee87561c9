"""Trainings that end in seconds."""

from pathlib import Path
from typing import Any

from datum.adaptation.sampling import CropRules
from datum.adaptation.training import Training
from datum.config import AdaptationSettings, EvaluationSettings
from datum.formats.mix_pictures import MixPictures
from datum.formats.training_log import TrainingLog
from datum.segmentation.segmentor import Segmentor
from datum.store import FolderStore
from datum.training_state import TrainingState

RULES = CropRules(
    size=32,
    class_max_ratio=1.0,
    rare_min_pixels=10,
    rare_min_crop_pixels=5,
    source_scale=(64, 64),
    target_scale=None,
)
"""Crops of small images, of which any will do."""


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


def bare_training(student: Segmentor, settings: AdaptationSettings, folder: Path) -> Training:
    """A training without validation, whose log is in `folder` and whose state below it."""
    return Training(
        student=student,
        settings=settings,
        evaluation=EvaluationSettings(),
        validation=[],
        seed=0,
        state=TrainingState(FolderStore(folder / "state")),
        training_log=TrainingLog(folder),
        pictures=MixPictures(folder),
    )
