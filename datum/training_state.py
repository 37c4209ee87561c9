"""Resumable training state: atomic, verified by SHA-256, in any store, saved beside the training.

A state is a few files and one small JSON record that names them and their digests. The record is written
after the files, so a process killed between the two leaves the state before it in force; the last two states
are kept, so a file damaged at rest costs one interval and not the training.
"""

import contextlib
import hashlib
import io
import json
import re
import tempfile
import threading
import time
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch

from datum.disk import PIECE
from datum.errors import TemporaryFaultError
from datum.instruments import STATE_SAVED, put
from datum.outputs import sha256
from datum.provenance import Provenance
from datum.store import Store
from datum.telemetry import log
from datum.torch_files import read_torch_file

KEPT_STATES = 2
"""States that stay in the store."""

_RECORD = re.compile(r"state-(\d{9})\.json")
_FILE = re.compile(r"state-\d{9}(-[a-z_]+)?\.pt")

_CHANGING = "changing"
"""Name, in a record, of the part that every state has anew."""

_LARGEST_RECORD = 2**16
"""Bytes of a record that is read; ours take a few hundred."""

_STORING = 20.0
"""Seconds that a training at its end waits for its newest state to be stored."""


def state_place(state_uri: str, provenance: Provenance) -> str:
    """The folder below `state_uri` that belongs to what `provenance` describes alone."""
    return f"{state_uri.rstrip('/')}/{provenance.stage}-{provenance.digest()}"


class _Copy(NamedTuple):
    """A state on its way into the store."""

    step: int
    changing: dict[str, Any]
    seldom: Mapping[str, Any]


class TrainingState:
    """The training state of one stage, in one store.

    `save` copies the state and returns; a thread serializes, digests and stores it, so that training stops
    only while memory is copied. Used as a context manager:

        with TrainingState(store, scratch) as states:
            found = states.load_latest(fits)
            ...
            states.check()           # once a step: raises what storing has failed with
            states.save(step, {"student": …, "optimizer": …}, seldom={"best": …})
            ...
            states.wait()            # before `raise Stopped`: all that was saved is in the store

    Leaving the block waits for what is being stored, and for no longer than 20 s where the store is away: a
    training that is finished needs its state no more, and one that failed says what it failed with.

    `scratch` is a folder with room for one state on its way to or from the store (12 GB for Stable
    Diffusion v1.4), of this training alone and made where it is missing; None takes the system's temporary
    folder.
    """

    def __init__(self, store: Store, scratch: Path | None = None) -> None:
        self._store, self._scratch = store, scratch
        self._changed = threading.Condition()
        self._waiting: _Copy | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        # Each seldom changing part that is stored: the object itself and what the record says of its file.
        self._stored_parts: dict[str, tuple[Any, dict[str, Any]]] = {}

    def __enter__(self) -> "TrainingState":
        put(STATE_SAVED, time.time())
        return self

    def __exit__(self, *_: object) -> None:
        self._idle(_STORING)

    def save(self, step: int, state: Mapping[str, Any], *, seldom: Mapping[str, Any] | None = None) -> None:
        """Keeps `state` and `seldom` (nested dicts and lists of tensors, numbers and strings) as those of
        `step`; returns as soon as `state` is copied to the CPU.

        Values of `seldom` are replaced by the caller and never changed in place: they are not copied, and one
        that is the same object as at the save before is not stored again. A state that waits for the
        store is replaced by a newer one. Raises what storing an earlier state failed with.
        """
        self.check()
        copy = _Copy(step, _copied(state), dict(seldom or {}))
        with self._changed:
            self._waiting = copy
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._store_waiting, name="training state", daemon=True
                )
                self._thread.start()

    def check(self) -> None:
        """Raises what storing a state has failed with, if it has; costs nothing otherwise."""
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Waits until the newest state is stored; raises what storing it failed with."""
        self._idle(None)
        self.check()

    def load_latest(
        self, fits: Callable[[dict[str, Any]], bool] = lambda state: True
    ) -> tuple[int, dict[str, Any]] | None:
        """(step, state) of the newest state that is whole and for which `fits` is true, with tensors on the
        CPU and what changes seldom among the rest; None if there is none. An error of `fits` counts as no.

        Every state that is passed over is named in the log.
        """
        for step in reversed(self._steps()):
            try:
                state = self._read(step)
                whole = fits(state)
            except _OF_DAMAGE as error:
                log(f"training state {_name(step)} is damaged ({_first_line(error)}); taking the one before")
                continue
            if whole:
                return step, state
            log(f"training state {_name(step)} does not fit this training; taking the one before")
        return None

    def _idle(self, seconds: float | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._thread is None, seconds)

    def _store_waiting(self) -> None:
        """The thread: stores what waits until nothing does."""
        while True:
            with self._changed:
                copy, self._waiting = self._waiting, None
                if copy is None or self._failure is not None:
                    self._thread = None
                    self._changed.notify_all()
                    return
            try:
                self._put(copy)
            except BaseException as error:  # whatever it is, the training thread raises it
                self._failure = error

    def _put(self, copy: _Copy) -> None:
        name = _name(copy.step)
        files = {_CHANGING: self._put_file(f"{name}.pt", copy.changing, forget=True)}
        for part, value in copy.seldom.items():
            stored = self._stored_parts.get(part)
            if stored is None or stored[0] is not value:
                self._stored_parts[part] = stored = value, self._put_file(f"{name}-{part}.pt", value)
            files[part] = stored[1]
        record = json.dumps({"step": copy.step, "files": files}).encode()
        self._store.write_bytes(f"{name}.json", record)
        put(STATE_SAVED, time.time())
        self._remove_old(copy.step)

    def _put_file(self, key: str, value: Any, *, forget: bool = False) -> dict[str, Any]:
        with self._in_transit() as file:
            with file.open("wb") as stream:
                digesting = _DigestingStream(stream)
                _serialize(value, digesting)
            if forget:
                # Where the store is away, its memory is not held while the file waits.
                value.clear()
            digest = digesting.digest.hexdigest()
            found = {"key": key, "sha256": digest, "bytes": file.stat().st_size}
            # A store waits out its own faults; the training goes on meanwhile.
            self._store.put(file, key, digest)
        stored = {entry.key: entry.size for entry in self._store.entries(key)}
        if stored.get(key) != found["bytes"]:
            raise TemporaryFaultError(
                f"training state {key}: {stored.get(key)} of {found['bytes']} bytes arrived in the store"
            )
        return found

    def _remove_old(self, newest: int) -> None:
        """Removes all but the last two states up to `newest`; later ones were passed over when it was
        resumed."""
        steps = self._steps()
        kept = [step for step in steps if step <= newest][-KEPT_STATES:]
        for step in set(steps) - set(kept):
            # The record goes first: a record without its files would be a broken promise.
            self._store.delete(f"{_name(step)}.json")
        named = {f"{_name(step)}.pt" for step in kept}
        for step in kept:
            with contextlib.suppress(*_OF_DAMAGE):
                named |= {part["key"] for part in self._record(step).values()}
        for key in self._store.list("state-"):
            if _FILE.fullmatch(key) and key not in named:
                self._store.delete(key)

    def _read(self, step: int) -> dict[str, Any]:
        """The state of `step`; one of `_OF_DAMAGE` where it is not what its record says."""
        state: dict[str, Any] = {}
        for part, found in self._record(step).items():
            with self._in_transit() as file:
                self._store.get(found["key"], file)
                if sha256(file) != found["sha256"]:
                    raise ValueError(f"{found['key']} has another digest than its record says")
                value = read_torch_file(file)
            if part == _CHANGING:
                state |= value
            else:
                state[part] = value
                self._stored_parts[part] = value, found
        return state

    def _record(self, step: int) -> dict[str, dict[str, Any]]:
        """Part -> its file's key, digest and size."""
        name = _name(step)
        sizes = {entry.key: entry.size for entry in self._store.entries("state-")}
        if sizes.get(f"{name}.json", 0) > _LARGEST_RECORD:
            raise ValueError("its record is no record of ours")
        files: dict[str, dict[str, Any]] = json.loads(self._store.read_bytes(f"{name}.json"))["files"]
        for part, file in {_CHANGING: files[_CHANGING], **files}.items():
            if not _FILE.fullmatch(file["key"]) or sizes.get(file["key"]) != file["bytes"]:
                raise ValueError(f"the file of its part {part!r} is not what its record says")
        return files

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


_OF_DAMAGE = (LookupError, ValueError, TypeError, AttributeError, RuntimeError)
"""Errors that reading a damaged state ends with; RecursionError is a RuntimeError."""


class _DigestingStream(io.BufferedIOBase):
    """Passes on what is written, and takes its SHA-256 on the way."""

    def __init__(self, stream: io.BufferedWriter) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            for start in range(0, len(view), PIECE):
                piece = view[start : start + PIECE]
                self.digest.update(piece)
                self._stream.write(piece)
        except OSError as error:
            self.failure = error
            raise
        return len(view)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.failure = error
            raise


def _serialize(value: Any, stream: _DigestingStream) -> None:
    try:
        torch.save(value, typing.cast(IO[bytes], stream))
    except Exception:
        # PyTorch reports a full disk as a defect of its own.
        if stream.failure is not None:
            raise stream.failure from None
        raise


def _copied(value: Any) -> Any:
    """Nested dicts and lists with tensors copied to the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item) for item in value)
    return value


def _name(step: int) -> str:
    return f"state-{step:09d}"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
