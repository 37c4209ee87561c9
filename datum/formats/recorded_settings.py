"""The settings of all stages, and the versions, that the records behind an evaluation tell of.

A record holds those of the outputs that it was made from (`datum.provenance`), so that of a report or of an
evaluation tells the settings of every stage before it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_STAGES: Mapping[str, str] = {
    "personalize": "personalization",
    "generate": "generation",
    "adapt": "adaptation",
    "evaluate": "evaluation",
}
"""What a record is of -> the stage that its settings are named by."""


def recorded_settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """`stage.key` -> value of every setting in `record` and in the records behind it; the first that is found
    of each stage."""
    found: dict[str, Any] = {}
    told = set()
    for one in _records(record):
        stage = _STAGES.get(str(one.get("stage")))
        settings = one.get("settings")
        if stage and stage not in told and isinstance(settings, dict):
            told.add(stage)
            own = settings.get(stage)
            # A training records the settings of its validation beside its own.
            table = own if isinstance(own, dict) else settings
            found |= {f"{stage}.{key}": value for key, value in table.items()}
    return found


def recorded_versions(record: Mapping[str, Any]) -> dict[str, str]:
    """What the training in `record`, or behind it, was made with: name -> version."""
    training = _training(record)
    versions = training.get("versions")
    packages = versions if isinstance(versions, dict) else {}
    names = {"datum": "datum_version", "commit": "git_commit", "device": "device"}
    own = {name: training.get(key) for name, key in names.items()}
    return {name: str(value) for name, value in {**own, **packages}.items() if value}


def recorded_start(record: Mapping[str, Any]) -> str:
    """When the training in `record`, or behind it, began: tells it from another with the same result."""
    return str(_training(record).get("started", ""))


def _training(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((one for one in _records(record) if one.get("stage") == "adapt"), {})


def _records(record: Any) -> Iterator[Mapping[str, Any]]:
    """`record`, then those that it was made from, at any depth; what is no record is passed over."""
    waiting = [record]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            yield one
            made_from = one.get("made_from")
            waiting += made_from.values() if isinstance(made_from, dict) else ()
