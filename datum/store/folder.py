"""A local folder as a store."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from datum.errors import InputError
from datum.instruments import STORE_BYTES, add
from datum.outputs import is_temporary, replacing, sha256
from datum.store.protocol import DamagedError, Entry, Store
from datum.store.uris import require_key


class FolderStore(Store):
    """A local folder. Links below it are no files of it, and lead nowhere."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, file: Path, key: str, digest: str = "") -> None:
        with self._replacing(key) as temporary:
            shutil.copyfile(file, temporary)
            if digest and sha256(temporary) != digest:
                raise InputError(f"{file}: was changed since it was read first; run the same command again")
            add(STORE_BYTES, temporary.stat().st_size, "sent")

    def get(self, key: str, file: Path, digest: str = "") -> None:
        with self._present(key) as source, replacing(file) as temporary:
            shutil.copyfile(source, temporary)
            add(STORE_BYTES, temporary.stat().st_size, "received")
            if digest and sha256(temporary) != digest:
                raise DamagedError(f"{source}: damaged: its SHA-256 is not the one that it was put with")

    def read_bytes(self, key: str) -> bytes:
        with self._present(key) as source:
            data = source.read_bytes()
        add(STORE_BYTES, len(data), "received")
        return data

    def write_bytes(self, key: str, data: bytes) -> None:
        with self._replacing(key) as temporary:
            temporary.write_bytes(data)
            add(STORE_BYTES, len(data), "sent")

    def swap_bytes(self, key: str, data: bytes, version: str) -> bool:
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file.parent):
            if (_version(file) if file.is_file() else "") != version:
                return False
            self.write_bytes(key, data)
            return True

    def exists(self, key: str) -> bool:
        file = self._file(key)
        return file.is_file() and not file.is_symlink()

    def digest_of(self, key: str) -> str:
        with self._present(key) as source:
            return sha256(source)

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        found = {}
        for file in self._files():
            key = file.relative_to(self._folder).as_posix()
            if key.startswith(prefix) and file.is_file() and not file.is_symlink() and not is_temporary(file):
                # A file that goes while the folder is read is not in it any more.
                with contextlib.suppress(FileNotFoundError):
                    status = file.stat()
                    found[key] = Entry(
                        key=key, size=status.st_size, version=_version(file), modified=status.st_mtime
                    )
        return [found[key] for key in sorted(found)]

    def delete(self, key: str) -> None:
        self._file(key).unlink(missing_ok=True)

    def delete_all(self) -> int:
        files = list(self._files())
        for file in files:
            file.unlink(missing_ok=True)
        for directory, _, _ in os.walk(self._folder, topdown=False):
            # Somebody else's file may have come meanwhile.
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
        return len(files)

    def _files(self) -> Iterator[Path]:
        """Everything that is no folder, links to folders too; in no order."""
        for directory, folders, names in os.walk(self._folder):
            place = Path(directory)
            yield from (place / name for name in names)
            yield from (place / name for name in folders if (place / name).is_symlink())

    def _file(self, key: str) -> Path:
        require_key(key, str(self._folder))
        file = self._folder / key
        inside = self._folder.resolve() / key
        if inside.parent.resolve() != inside.parent:
            raise InputError(f"{file}: a link leads out of {self._folder}; remove the link")
        return file

    @contextlib.contextmanager
    def _replacing(self, key: str) -> Iterator[Path]:
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            yield temporary

    @contextlib.contextmanager
    def _present(self, key: str) -> Iterator[Path]:
        file = self._file(key)
        if not file.is_file() or file.is_symlink():
            raise KeyError(key)
        try:
            yield file
        except FileNotFoundError:
            if file.exists():
                raise
            raise KeyError(key) from None


def _version(file: Path) -> str:
    status = file.stat()
    return f"{status.st_mtime_ns}-{status.st_ino}"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a lock on `folder` that other processes of this machine wait for; it leaves no file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # A network's file system may have no locks on folders; it has its own order of renaming.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
