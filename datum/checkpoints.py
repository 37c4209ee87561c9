"""Resumable training state: atomic, verified by SHA-256, in any store.

A state is one file and one small JSON record that names the file and its digest. The record is written
after the file, so a process killed between the two leaves the state before it in force; the last two
states are kept, so a file damaged at rest costs one interval and not the training.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
from typing import Any

import numpy as np
import torch

from datum.store import Store
from datum.telemetry import log

KEPT_STATES = 2
"""States that stay in the store."""

_RECORD = re.compile(r"state-(\d{9})\.json")


class TrainingState:
    """The training state of one stage, in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Stores `state` (nested dicts and lists of tensors, numbers and strings) as that of `step`."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data = buffer.getvalue()
        name = f"state-{step:09d}"
        self._store.write_bytes(f"{name}.pt", data)
        record = {"step": step, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        self._store.write_bytes(f"{name}.json", json.dumps(record).encode())
        for old in self._steps()[:-KEPT_STATES]:
            # The record goes first: a record without its file would be a broken promise.
            self._store.delete(f"state-{old:09d}.json")
            self._store.delete(f"state-{old:09d}.pt")

    def load_latest(self) -> tuple[int, dict[str, Any]] | None:
        """(step, state) of the newest state that is whole, with tensors on the CPU; None if there is none."""
        for step in reversed(self._steps()):
            name = f"state-{step:09d}"
            try:
                record = json.loads(self._store.read_bytes(f"{name}.json"))
                data = self._store.read_bytes(f"{name}.pt")
            except (KeyError, ValueError):
                record, data = {}, b""
            if record.get("sha256") == hashlib.sha256(data).hexdigest():
                return step, torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            log(f"training state {name} is damaged; going back to the one before")
        return None

    def _steps(self) -> list[int]:
        matches = (_RECORD.fullmatch(key) for key in self._store.list("state-"))
        return sorted(int(match.group(1)) for match in matches if match)


def capture_rng() -> dict[str, Any]:
    """The state of Python's, numpy's and torch's global generators, fit for `TrainingState.save`."""
    _, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    state = {
        "python": [version, list(internal), gauss],
        "numpy": [
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_rng(state: dict[str, Any]) -> None:
    """Sets the global generators to what `capture_rng` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
