"""Resumable training state: atomic, verified by SHA-256, in any store.

A state is one file and one small JSON record that names the file and its digest. The record is written
after the file, so a process killed between the two leaves the state before it in force; the last two
states are kept, so a file damaged at rest costs one interval and not the training.
"""

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from datum.outputs import sha256
from datum.provenance import Provenance
from datum.store import Store
from datum.telemetry import log

KEPT_STATES = 2
"""States that stay in the store."""

_RECORD = re.compile(r"state-(\d{9})\.json")


def state_place(state_uri: str, provenance: Provenance) -> str:
    """The folder below `state_uri` that belongs to what `provenance` describes alone."""
    return f"{state_uri.rstrip('/')}/{provenance.stage}-{provenance.digest()}"


class TrainingState:
    """The training state of one stage, in one store.

    `scratch` is a folder with room for one state on its way to or from the store (12 GB for Stable
    Diffusion v1.4), of this training alone and made where it is missing; None takes the
    system's temporary folder.
    """

    def __init__(self, store: Store, scratch: Path | None = None) -> None:
        self._store, self._scratch = store, scratch

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Stores `state` (nested dicts and lists of tensors, numbers and strings) as that of `step`."""
        name = f"state-{step:09d}"
        with self._in_transit() as file:
            torch.save(state, file)
            self._store.put(file, f"{name}.pt")
            record = {"step": step, "sha256": sha256(file), "bytes": file.stat().st_size}
        self._store.write_bytes(f"{name}.json", json.dumps(record).encode())
        for old in self._steps()[:-KEPT_STATES]:
            # The record goes first: a record without its file would be a broken promise.
            self._store.delete(f"state-{old:09d}.json")
            self._store.delete(f"state-{old:09d}.pt")

    def load_latest(self) -> tuple[int, dict[str, Any]] | None:
        """(step, state) of the newest state that is whole, with tensors on the CPU; None if there is none."""
        for step in reversed(self._steps()):
            name = f"state-{step:09d}"
            with self._in_transit() as file:
                if self._fetch(name, file):
                    return step, torch.load(file, map_location="cpu", weights_only=True)
            log(f"training state {name} is damaged; going back to the one before")
        return None

    def _fetch(self, name: str, file: Path) -> bool:
        """Copies a state to `file`; whether it is the one that its record names."""
        try:
            record = json.loads(self._store.read_bytes(f"{name}.json"))
            self._store.get(f"{name}.pt", file)
        except (KeyError, ValueError):
            return False
        return bool(record["sha256"] == sha256(file))

    @contextlib.contextmanager
    def _in_transit(self) -> Iterator[Path]:
        """Path of a state on its way. In `scratch` always the same: what a killed process left there is
        written over and does not pile up."""
        if self._scratch is None:
            with tempfile.TemporaryDirectory(prefix="datum-") as folder:
                yield Path(folder) / "state.pt"
            return
        self._scratch.mkdir(parents=True, exist_ok=True)
        file = self._scratch / "in-transit.pt"
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)

    def _steps(self) -> list[int]:
        matches = (_RECORD.fullmatch(key) for key in self._store.list("state-"))
        return sorted(int(match.group(1)) for match in matches if match)
