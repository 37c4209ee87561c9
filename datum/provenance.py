"""What made an output: stage, settings, inputs, seed, versions, and the digests of what came out.

It lies in every output as `provenance.json`. What decides the result tells one output from another. The rest
is recorded beside it and not compared, so that neither another number of workers nor another place of the
same file discards finished work, unfinished work or its saved state: versions, commit, device, times;
settings of how the work is done (`datum.values.WayOfWorking`) or that name an input (`NamesInput`), whose
content counts; and what `inputs` hold under `NAMED`.
"""

import dataclasses
import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from datum import __version__
from datum.config import to_dict
from datum.values import NamesInput, Switchable, WayOfWorking, marked

PROVENANCE = "provenance.json"
"""Name of the file."""

NAMED = "named"
"""Key of `inputs` for the paths and names by which the inputs were given: recorded, not compared."""

MANIFEST_DIGEST = "manifest_sha256"
"""Name, under `NAMED`, of the digest of the manifest that the target's images came with: it ties a training
to the drawing of its images, which decide the result themselves."""

LABELED_DIGEST = "labeled_manifest_sha256"
"""The same of the manifest of its labeled drawings."""

PACKAGES = ("torch", "torchvision", "diffusers", "transformers", "onedl-mmsegmentation", "numpy", "pillow")
"""Packages whose versions are recorded: results are made with them."""

COMMIT = "DATUM_GIT_COMMIT"
"""Environment variable with the git commit that this code is of, which images set."""
IMAGE = "DATUM_IMAGE"
"""Environment variable with the container image, by digest, that this process runs in."""

WORK = ("device", "gpu", "started", "finished", "peak_memory")
"""Keys of the record of finished work that tell what it took: the device, whether that is a GPU, the times in
seconds since 1970, bytes."""

_RECORDED = frozenset(
    (
        "datum_version",
        "versions",
        "git_commit",
        "image",
        *WORK,
        "parts",
        "outputs",
        "made_from",
    )
)
"""Keys of the record that are not compared."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """What decides a result."""

    stage: str
    settings: Any = dataclasses.field(default_factory=dict)
    """The stage's settings, a dataclass or several by name; or those of an earlier record, as JSON gives
    them."""
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Name -> SHA-256 of the content, or whatever else decides; and `NAMED`."""
    seed: int | None = None
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else the command was given: method, encoder, shard, …"""
    changing_inputs: tuple[str, ...] = ()
    """Names in `inputs` of what may change in mid-work: unfinished work compares what it has done itself."""
    made_from: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Records of the outputs that this one is made from, by the name of the input; see `record_of`."""
    parts: Sequence[Mapping[str, Any]] = ()
    """Records of the work where it was done in several processes, less all but `WORK`: of shards that are
    merged here."""

    def record(
        self, *, started: float | None = None, outputs: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The content of `provenance.json`; `started` is when the work began (`time.time`; None is now), and
        `outputs`, which finished work has, are the SHA-256 of its files by their names."""
        record = {
            **self.decisive(),
            "datum_version": __version__,
            "versions": _versions(),
            "git_commit": git_commit(),
            "image": os.environ.get(IMAGE, ""),
            "device": device_name(),
            "gpu": _has_gpu(),
            "started": time.time() if started is None else started,
            "made_from": dict(self.made_from),
            **({"parts": [dict(part) for part in self.parts]} if self.parts else {}),
        }
        if outputs is None:
            return record
        return record | {"finished": time.time(), "peak_memory": peak_memory(), "outputs": dict(outputs)}

    def made(self, folder: Path) -> bool:
        """Whether the finished output in `folder` was made by the same stage, settings and inputs."""
        found = read_provenance(folder)
        return found is not None and self._compared(found) == self._compared(self.decisive())

    def goes_on_from(self, folder: Path) -> bool:
        """Whether this work can go on from what lies unfinished in `folder`; settings that are `Switchable`
        may differ."""
        found = read_provenance(folder)
        return found is not None and self._state(found) == self._state(self.decisive())

    def outdated(self, folder: Path) -> bool:
        """Whether the finished output in `folder` was made by the same stage and settings from inputs of the
        same paths, and an input's content was another then."""
        found, wanted = read_provenance(folder), self.decisive()
        if found is None or "outputs" not in found or self.made(folder):
            return False
        named = [
            record["inputs"].get(NAMED)
            for record in (found, wanted)
            if isinstance(record.get("inputs"), dict)
        ]
        return (
            len(named) == 2
            and named[0] == named[1]
            and self._compared(found | {"inputs": {}}) == self._compared(wanted | {"inputs": {}})
        )

    def differences(self, folder: Path) -> str:
        """Up to three differences of the record in `folder`, for a message: `seed 1, not 2`; empty where
        there is no record of this stage."""
        found = read_provenance(folder)
        if found is None or found.get("stage") != self.stage:
            return ""
        before, now = _flat(self._compared(found)), _flat(self._compared(self.decisive()))
        keys = [key for key in now | before if before.get(key) != now.get(key)]
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        return (
            ", ".join(f"{key} {_short(before.get(key))}, not {_short(now.get(key))}" for key in keys[:3])
            + more
        )

    def digest(self) -> str:
        """Sixteen hexadecimal digits that stand for all that saved state must agree in."""
        content = json.dumps(self._state(self.decisive()), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def decisive(self) -> dict[str, Any]:
        """Stage, settings, inputs, seed and arguments, as plain dicts: all of the record that does not depend
        on when and where the work is done."""
        settings = self.settings
        if dataclasses.is_dataclass(settings):
            settings = to_dict(settings)
        else:
            settings = {k: to_dict(v) if dataclasses.is_dataclass(v) else v for k, v in settings.items()}
        return {
            "stage": self.stage,
            **self.arguments,
            "seed": self.seed,
            "inputs": dict(self.inputs),
            "settings": settings,
        }

    def _state(self, record: Mapping[str, Any]) -> Any:
        inputs = record.get("inputs")
        if isinstance(inputs, Mapping):
            record = {**record, "inputs": _without(inputs, frozenset(self.changing_inputs))}
        return self._compared(record, Switchable)

    def _compared(self, record: Mapping[str, Any], *passed_over: type) -> Any:
        """`record` as JSON gives it back, less what is empty, recorded only, or a setting marked as one of
        `passed_over`."""
        kept = {
            key: value for key, value in record.items() if key not in _RECORDED and value not in (None, {})
        }
        if isinstance(kept.get("inputs"), Mapping):
            kept["inputs"] = {key: value for key, value in kept["inputs"].items() if key != NAMED}
        if isinstance(kept.get("settings"), Mapping):
            kept["settings"] = self._compared_settings(kept["settings"], passed_over)
        return json.loads(json.dumps(kept))

    def _compared_settings(self, settings: Mapping[str, Any], passed_over: tuple[type, ...]) -> Any:
        marks = (WayOfWorking, NamesInput, *passed_over)
        if dataclasses.is_dataclass(self.settings):
            return _without(settings, marked(type(self.settings), *marks))
        return {
            name: _without(section, marked(type(self.settings[name]), *marks))
            if isinstance(section, Mapping) and dataclasses.is_dataclass(self.settings.get(name))
            else section
            for name, section in settings.items()
        }


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """The record in `folder`; None where there is none that can be read."""
    try:
        record = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def record_of(folder: Path, *files: str) -> dict[str, Any]:
    """What `Provenance.made_from` keeps of the output in `folder`: its record, with the digests of those
    `files` alone (patterns of their names); empty where it has none."""
    record = read_provenance(folder) or {}
    outputs = record.get("outputs")
    if isinstance(outputs, dict):
        record["outputs"] = {
            name: digest for name, digest in outputs.items() if any(Path(name).match(file) for file in files)
        }
    return record


@functools.cache
def git_commit() -> str:
    """The commit of this code: of the image or the checkout, with `-modified` where its files were changed;
    empty where neither says."""
    if commit := os.environ.get(COMMIT):
        return commit
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}-modified" if changed else commit


def device_name() -> str:
    """The GPU, where there is one that this process uses, else the processor."""
    if _has_gpu():
        return str(sys.modules["torch"].cuda.get_device_name())
    try:
        models = [n for n in Path("/proc/cpuinfo").read_text().splitlines() if n.startswith("model name")]
    except OSError:  # another system than Linux
        models = []
    return models[0].partition(":")[2].strip() if models else platform.processor() or platform.machine()


def peak_memory(device: Any = None) -> int:
    """Bytes of a GPU's memory (of the torch device, by default the current GPU) that this process has had in
    use at once; without one, bytes of memory that it has held at once, 0 on other systems than Linux."""
    if device.type == "cuda" if device is not None else _has_gpu():
        return int(sys.modules["torch"].cuda.max_memory_allocated(device))
    # Not by getrusage, whose figure is at least that of the process that started this one.
    try:
        fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    except OSError:
        return 0
    return int(fields["VmHWM"].split()[0]) * 1024


def _has_gpu() -> bool:
    """Whether this process computes on a GPU; one that has not imported torch does not."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_available())


def _git(root: Path, *command: str) -> str:
    return subprocess.run(
        ["git", "-C", str(root), *command], capture_output=True, text=True, check=True, timeout=10
    ).stdout


def _without(settings: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in keys}


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {name: content}
    return {
        key: value
        for part, inner in content.items()
        for key, value in _flat(inner, f"{name}.{part}" if name else part).items()
    }


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
