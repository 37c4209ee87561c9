"""What a store is."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from datum.errors import TemporaryFaultError


class DamagedError(TemporaryFaultError, ValueError):
    """A file arrives, try after try, with other bytes than were put.

    It is a `ValueError` too, as what a damaged file makes of its reader: who keeps an older copy takes that.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A file in a store, as its listing shows it."""

    key: str
    size: int
    """Bytes."""
    version: str
    """Changes when the content does: the ETag in S3, modification time and inode in a folder."""
    modified: float
    """When it was written, in seconds since 1970."""


class Store(Protocol):
    """Files by key. A key is a relative path with `/` between its parts. Threads may share a store.

    A write is whole or absent. What is read is what was put, by its length and its SHA-256, or a
    `DamagedError` is raised. Faults that pass are waited out for as long as the process has patience
    (`datum.patience`); then `TemporaryFaultError` is raised, and `InputError` at once for what no retry
    mends, such as a wrong secret or bucket, and for a key with `.`, `..` or empty parts. Reading a key that
    is not there raises `KeyError`.
    """

    def put(self, file: Path, key: str, digest: str = "") -> None:
        """Copies `file` to `key`; raises `InputError` where its SHA-256 is not `digest`, if given."""

    def get(self, key: str, file: Path, digest: str = "") -> None:
        """Copies `key` to `file`; its SHA-256 is to be `digest`, if given."""

    def read_bytes(self, key: str) -> bytes:
        """The content of `key`."""

    def write_bytes(self, key: str, data: bytes) -> None:
        """Sets the content of `key`."""

    def swap_bytes(self, key: str, data: bytes, version: str) -> bool:
        """Sets the content of `key` if its version is still `version`, empty for a key that is not there;
        whether it did. Of several writers that saw one version, one does."""

    def exists(self, key: str) -> bool:
        """Whether `key` is there."""

    def digest_of(self, key: str) -> str:
        """SHA-256 of what was put to `key`, in hexadecimal; empty where another program put it."""

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        """All files whose keys start with `prefix`, sorted by key."""

    def list(self, prefix: str = "") -> list[str]:
        """The keys of the same."""
        return [entry.key for entry in self.entries(prefix)]

    def delete(self, key: str) -> None:
        """Removes `key`, if it is there."""

    def delete_all(self) -> int:
        """Removes everything in the store; returns the number of files."""
