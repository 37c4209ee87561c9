"""Changes of settings: what a user overrides (`stage.key=value`), what a method changes, and what must
hold of the outcome."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import yaml

from datum.errors import InputError, shortened
from datum.methods import Times
from datum.values import in_words, parse, require_known, require_range


def overridden(settings: Any, override: str) -> Any:
    """`settings`, a dataclass with one field a stage, with one `stage.key=value` of a user. Raises
    `InputError` for one that names no setting, and for a value that it cannot have."""
    name, separator, text = override.partition("=")
    stage, dot, key = name.partition(".")
    if not separator or not dot:
        raise InputError(f"--set {override}: expected stage.key=value, such as generation.count=100")
    stages = [field.name for field in dataclasses.fields(settings)]
    require_known(stage, stages, f"--set {override}", "stage")
    section = getattr(settings, stage)
    kinds = typing.get_type_hints(type(section), include_extras=True)
    require_known(key, kinds, f"--set {override}", f"setting of {stage}")
    try:
        value = parse(text, kinds[key])
    except (LookupError, ValueError, TypeError, RecursionError, yaml.YAMLError):
        raise InputError(
            f"--set {name}: found {shortened(text)!r}, expected {in_words(kinds[key])}"
        ) from None
    require_range(f"--set {name}={shortened(text)}", value, kinds[key])
    return _replaced(settings, stage, key, value)


def changed(settings: Any, changes: Mapping[str, Any]) -> Any:
    """`settings` with the `changes` of a method (`datum.methods.Method`)."""
    for name, change in changes.items():
        stage, _, key = name.partition(".")
        before = getattr(getattr(settings, stage), key)
        settings = _replaced(settings, stage, key, change.of(before) if isinstance(change, Times) else change)
    return settings


def require_consistent(settings: Any) -> None:
    """Raises `InputError` for settings that do not go together."""
    require_windows(settings.evaluation)
    require_even_shares(settings.adaptation)


def require_windows(settings: Any) -> None:
    """Raises `InputError` for settings of evaluation whose windows leave gaps and ratios out of range."""
    crop, stride = settings.slide_crop, settings.slide_stride
    if stride is not None and (crop is None or stride > crop):
        raise InputError(
            f"evaluation.slide_stride={stride}: expected at most evaluation.slide_crop, which is {crop}: "
            "windows would leave gaps"
        )
    if not settings.ratios or not all(0.1 <= ratio <= 10 for ratio in settings.ratios):
        found = ", ".join(map(str, settings.ratios))
        raise InputError(f"evaluation.ratios=[{found}]: expected one or more numbers from 0.1 to 10")


def require_even_shares(settings: Any) -> None:
    """Raises `InputError` for settings of adaptation whose processes cannot share a batch evenly."""
    processes, batch_size = settings.processes, settings.batch_size
    if batch_size % processes:
        raise InputError(
            f"adaptation.processes={processes} (a cluster's gpu_count): cannot share adaptation.batch_size="
            f"{batch_size} evenly; set a batch size that is a multiple of {processes}, or fewer processes"
        )


def _replaced(settings: Any, stage: str, key: str, value: Any) -> Any:
    section = dataclasses.replace(getattr(settings, stage), **{key: value})
    return dataclasses.replace(settings, **{stage: section})
