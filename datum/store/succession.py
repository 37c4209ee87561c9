"""A run that goes on where an earlier one ended: it reads what that one kept, and writes to its own place."""

from collections.abc import Sequence
from pathlib import Path

from datum.store.protocol import Entry, Store

_predecessors: dict[str, list[str]] = {}


def succeed(place: str, earlier: Sequence[str]) -> None:
    """From now on, in this process, what is not in a store at or below `place` is read at the same key below
    the first of `earlier` that has it, where nothing is written and nothing removed."""
    _predecessors[place.rstrip("/")] = [behind.rstrip("/") for behind in earlier]


def predecessors_of(uri: str) -> list[str]:
    """The URIs that stand behind `uri`, the nearest first."""
    for place, earlier in _predecessors.items():
        if f"{uri.rstrip('/')}/".startswith(f"{place}/"):
            return [behind + uri.rstrip("/").removeprefix(place) for behind in earlier]
    return []


class Successor(Store):
    """One store, with another behind it that is only read."""

    def __init__(self, own: Store, earlier: Store) -> None:
        self._own, self._earlier = own, earlier

    def put(self, file: Path, key: str, digest: str = "") -> None:
        self._own.put(file, key, digest)

    def get(self, key: str, file: Path, digest: str = "") -> None:
        try:
            self._own.get(key, file, digest)
        except KeyError:
            self._earlier.get(key, file, digest)

    def read_bytes(self, key: str) -> bytes:
        try:
            return self._own.read_bytes(key)
        except KeyError:
            return self._earlier.read_bytes(key)

    def write_bytes(self, key: str, data: bytes) -> None:
        self._own.write_bytes(key, data)

    def swap_bytes(self, key: str, data: bytes, version: str) -> bool:
        # A version that was seen in the earlier store is none here.
        return self._own.swap_bytes(key, data, version if self._own.exists(key) else "")

    def exists(self, key: str) -> bool:
        return self._own.exists(key) or self._earlier.exists(key)

    def digest_of(self, key: str) -> str:
        # Of what is here alone: the earlier store may be removed at any time.
        return self._own.digest_of(key)

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        found = {entry.key: entry for entry in [*self._earlier.entries(prefix), *self._own.entries(prefix)]}
        return [found[key] for key in sorted(found)]

    def delete(self, key: str) -> None:
        self._own.delete(key)

    def delete_all(self) -> int:
        return self._own.delete_all()
