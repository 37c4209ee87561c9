"""What made an output: stage, settings, inputs, seed, versions, and the digests of what came out.

It lies in every output as `provenance.json`. What decides the result tells one output from another; versions
and settings of how the work is done (`datum.values.WayOfWorking`) are recorded beside it and not compared, so
that another number of workers neither discards an unfinished output nor its saved state.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from datum import __version__
from datum.config import WAYS_OF_WORKING

PROVENANCE = "provenance.json"
"""Name of the file."""

PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "onedl-mmsegmentation", "numpy", "pillow")
"""Packages whose versions are recorded: results are made with them."""

_NOT_COMPARED = ("datum_version", "versions", "outputs")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """What decides a result."""

    stage: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """As `datum.config.to_dict` gives them."""
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Name -> SHA-256, or a path where there is no digest."""
    seed: int | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else the command was given: method, encoder, shard, …"""

    def record(self, outputs: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The content of `provenance.json`; `outputs` are the SHA-256 of files, by their names in the
        output."""
        record = {**self._decisive(), "datum_version": __version__, "versions": _versions()}
        return record | ({"outputs": dict(outputs)} if outputs else {})

    def made(self, folder: Path) -> bool:
        """Whether what lies in `folder`, finished or not, was made by the same stage, settings and inputs."""
        found = read_provenance(folder)
        return found is not None and _compared(found) == _compared(self._decisive())

    def digest(self) -> str:
        """Sixteen hexadecimal digits that stand for what decides the result."""
        return _digest(_compared(self._decisive()))

    def digest_of_0_1(self) -> str:
        """The same as datum 0.1 took it, over all settings and its version: unfinished trainings of that
        release keep their state under it."""
        return _digest(_plain({**self._decisive(), "datum_version": "0.1.0"}))

    def _decisive(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            **self.arguments,
            "seed": self.seed,
            "inputs": self.inputs,
            "settings": self.settings,
        }


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """The record in `folder`; None where there is none that can be read."""
    try:
        record = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _compared(record: Mapping[str, Any]) -> Any:
    """`record` as JSON gives it back, less what is empty or not compared."""
    kept = {
        key: _without_ways_of_working(value) if key == "settings" else value
        for key, value in record.items()
        if key not in _NOT_COMPARED and value not in (None, {})
    }
    return _plain(kept)


def _without_ways_of_working(settings: Any) -> Any:
    if not isinstance(settings, Mapping):
        return settings
    return {
        key: _without_ways_of_working(value) for key, value in settings.items() if key not in WAYS_OF_WORKING
    }


def _plain(content: Any) -> Any:
    return json.loads(json.dumps(content))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
