"""Folders between this machine and a store: many files at once, verified, and resumed after a kill.

A published folder lies below `<base>/<name>-<digest>/`, where the digest is that of its content, and is
described by an index, `dataset.json`, that is written last: a prefix without it is incomplete, and one with
it never changes. What a user put into a store has no index; it is fetched as it is listed.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import math
import os
import queue
import re
import shutil
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from datum.errors import InputError, TemporaryFaultError
from datum.outputs import sha256
from datum.store import CONNECTIONS, Access, Store, local_path, open_store, require_file_names
from datum.telemetry import Progress

INDEX = "dataset.json"
"""Key of the index below a published folder: `{"files": {name: {"size": bytes, "sha256": hexadecimal}}}`."""

THREADS = CONNECTIONS
"""Files on their way at once: an image takes its time in round trips, not in bytes."""

_SHA256 = re.compile("[0-9a-f]{64}")
_NAMED_BY_DIGEST = re.compile("-([0-9a-f]{16})/?$")
"""How the URI of a published folder ends."""
_MEGABYTE = 10**6


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file as an index or a listing describes it."""

    size: int
    """Bytes."""
    sha256: str = ""
    """Hexadecimal digest; empty where there is no index."""
    version: str = ""
    """The store's own version; empty where there is an index."""


def publish(folder: Path, base: str, name: str, *, leaving_out: Collection[str] = ()) -> str:
    """Uploads `folder` below `base` and returns the URI of the copy, `<base>/<name>-<digest of the content>`.

    Links are followed; files whose relative names are in `leaving_out` stay behind. What is already there is
    not uploaded again, so an interrupted call is resumed by the next one.

    Raises `InputError` for an empty folder and for one with a file of the index's name.
    """
    found = {
        file.relative_to(folder).as_posix(): file
        for directory, _, names in os.walk(folder, followlinks=True)
        for file in (Path(directory) / name for name in names)
    }
    files = {name: found[name] for name in sorted(found) if name not in leaving_out}
    if not files:
        raise InputError(f"{folder}: holds no file, expected a folder to publish below {base}")
    if INDEX in files:
        raise InputError(f"{folder / INDEX}: has the name that a published folder's index takes; rename it")
    index = _described(files, f"hash {name}")
    uri = f"{base.rstrip('/')}/{name}-{content_digest(index)}"
    store = open_store(uri)
    there = {entry.key: entry.size for entry in store.entries()}
    missing = {name: file.size for name, file in index.items() if there.get(name) != file.size}
    _transfer(f"publish {name}", missing, lambda name: store.put(files[name], name))
    if missing or INDEX not in there:
        content = {name: {"size": file.size, "sha256": file.sha256} for name, file in index.items()}
        store.write_bytes(INDEX, json.dumps({"files": content}).encode())
    return uri


def content_digest(files: Mapping[str, RemoteFile]) -> str:
    """Sixteen hexadecimal digits of the SHA-256 over every file's name, size, and SHA-256 or version."""
    digest = hashlib.sha256()
    for name in sorted(files):
        file = files[name]
        digest.update(f"{name}\0{file.size}\0{file.sha256 or file.version}\n".encode())
    return digest.hexdigest()[:16]


def fetch(uri: str, scratch: Path, *, only: Sequence[str] = ()) -> Path:
    """A local copy of the folder or the file at `uri`, below `scratch`; a local path is returned as it is.

    `only` are prefixes of the names to fetch, all by default. A copy that is there already is returned at
    once, one that was interrupted is resumed. Every file's size is verified, and its SHA-256 where `uri` has
    an index; a wrong file is fetched once more.

    Raises `InputError` where there is nothing at `uri`, for a name that leads out of the folder, and where
    the files do not fit into `scratch`; `TemporaryFaultError` for a file that stays wrong.
    """
    if (path := local_path(uri)) is not None:
        return path
    uri = uri.rstrip("/")
    files = remote_files(uri, only=only)
    if files:
        return _fetch(uri, files, scratch)
    folder, _, name = uri.rpartition("/")
    if urlsplit(folder).netloc and (file := remote_files(folder, only=[name]).get(name)):
        return _fetch(folder, {name: file}, scratch) / name
    looked_for = f" that starts with {' or '.join(only)}" if only else ""
    raise InputError(
        f"{uri}: found no object{looked_for}, expected a file or a folder; check the URI, or upload it"
    )


def remote_files(
    uri: str, *, only: Sequence[str] = (), access: Access | None = None
) -> dict[str, RemoteFile]:
    """The files below the folder `uri` of a store, by relative name; none where there is no such folder.

    `only` are prefixes of the names to list. Raises `InputError` for an index that is damaged, and for names
    that cannot be files below one folder.
    """
    store = open_store(uri, access)
    indexed = read_index(uri, access)
    if indexed is not None:
        files = {name: file for name, file in indexed.items() if name.startswith(tuple(only) or "")}
    else:
        files = {
            entry.key: RemoteFile(size=entry.size, version=entry.version)
            for prefix in only or [""]
            for entry in store.entries(prefix)
        }
    require_file_names(files, uri)
    return files


def read_index(uri: str, access: Access | None = None) -> dict[str, RemoteFile] | None:
    """What the index of the published folder `uri` lists; None where there is none.

    Raises `InputError` for an index that `publish` did not write.
    """
    try:
        content = open_store(uri, access).read_bytes(INDEX)
    except KeyError:
        return None
    try:
        entries = json.loads(content)["files"].items()
        files = {
            str(name): RemoteFile(size=int(entry["size"]), sha256=str(entry["sha256"]))
            for name, entry in entries
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        files = {}
    if not files or any(file.size < 0 or not _SHA256.fullmatch(file.sha256) for file in files.values()):
        raise InputError(
            f"{uri}/{INDEX}: not the index of a folder that datum published; remove it (for an ingested data "
            "set, then run the ingestion again)"
        )
    named = _NAMED_BY_DIGEST.search(uri)
    if named and named.group(1) != content_digest(files):
        raise InputError(
            f"{uri}/{INDEX}: lists other files than were published; remove it and run the ingestion again"
        )
    return files


def is_published(uri: str, access: Access | None = None) -> bool:
    """Whether `uri` is a published folder with every file that its index lists, in the right size."""
    files = read_index(uri, access)
    if files is None:
        return False
    there = {entry.key: entry.size for entry in open_store(uri, access).entries()}
    return all(there.get(name) == file.size for name, file in files.items())


def _described(files: Mapping[str, Path], description: str) -> dict[str, RemoteFile]:
    """Size and SHA-256 of every file, in the order of `files`."""
    sizes = {name: file.stat().st_size for name, file in files.items()}
    digests: dict[str, str] = {}

    def describe(name: str) -> None:
        digests[name] = sha256(files[name])

    _transfer(description, sizes, describe)
    return {name: RemoteFile(size=size, sha256=digests[name]) for name, size in sizes.items()}


def _fetch(uri: str, files: Mapping[str, RemoteFile], scratch: Path) -> Path:
    """Fetches `files` of the folder `uri`; returns the folder that holds exactly them."""
    # Named by place and content: two URIs whose last parts agree, or two parts of one, never share a folder.
    key = hashlib.sha256(f"{uri}\0{content_digest(files)}".encode()).hexdigest()[:16]
    last_part = uri.rpartition("/")[2]
    require_file_names({last_part}, uri)
    folder = scratch / key / last_part
    partial, downloads = scratch / f"{key}.partial", scratch / f"{key}.downloads"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(scratch / f"{key}.lock"):
        if folder.exists():
            return folder
        shutil.rmtree(downloads, ignore_errors=True)
        for directory in {(partial / name).parent for name in files} | {downloads}:
            directory.mkdir(parents=True, exist_ok=True)
        missing = {name: file.size for name, file in files.items() if not (partial / name).exists()}
        store, numbers = open_store(uri), {name: number for number, name in enumerate(missing)}

        def download(name: str) -> None:
            temporary = downloads / str(numbers[name])
            _download(store, uri, name, files[name], temporary)
            temporary.rename(partial / name)

        with _enough_space(uri, sum(missing.values()), scratch):
            _transfer(f"fetch {folder.name}", missing, download)
        downloads.rmdir()
        partial.rename(folder)
    return folder


def _download(store: Store, uri: str, name: str, expected: RemoteFile, file: Path) -> None:
    """Writes `name` to `file`, verified; tries once more where it is wrong or the connection breaks."""
    for last_try in (False, True):
        try:
            store.get(name, file)
        except KeyError:
            raise InputError(
                f"{uri}/{name}: is gone; upload it again (for an ingested data set: run the ingestion again)"
            ) from None
        except TemporaryFaultError:
            if last_try:
                raise
            continue
        found = RemoteFile(size=file.stat().st_size, sha256=sha256(file) if expected.sha256 else "")
        if (found.size, found.sha256) == (expected.size, expected.sha256):
            return
    raise TemporaryFaultError(
        f"{uri}/{name}: damaged: found {_state(found)}, expected {_state(expected)}; where it stays so, "
        "remove the object and upload it again"
    )


def _state(file: RemoteFile) -> str:
    return f"{file.size} bytes" + (f" with SHA-256 {file.sha256[:12]}…" if file.sha256 else "")


def _transfer(description: str, sizes: Mapping[str, int], work: Callable[[str], None]) -> None:
    """Calls `work` with every name, `THREADS` at once, and shows files, MB and time left.

    The first exception ends it: the other threads stop after the file that they are at. They are daemons,
    so that a process interrupted from the keyboard does not wait for them.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[str, BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                work(name)
            except BaseException as error:
                finished.put((name, error))
            else:
                finished.put((name, None))

    for name in sizes:
        waiting.put(name)
    progress = Progress(description, math.ceil(sum(sizes.values()) / _MEGABYTE), unit="MB")
    megabytes = size = 0
    try:
        for _ in range(min(THREADS, len(sizes))):
            threading.Thread(target=run, daemon=True).start()
        for done in range(1, len(sizes) + 1):
            name, error = finished.get()
            if error:
                raise error
            size += sizes[name]
            whole = math.ceil(size / _MEGABYTE) if done == len(sizes) else size // _MEGABYTE
            progress.advance(whole - megabytes, note=f"{done}/{len(sizes)} files")
            megabytes = whole
    finally:
        stop.set()


@contextlib.contextmanager
def _enough_space(uri: str, needed: int, scratch: Path) -> Iterator[None]:
    """Raises `InputError` where `needed` bytes do not fit into `scratch`, before the block or in it."""
    free = shutil.disk_usage(scratch).free
    remedy = "give the scratch volume a larger size, or make room"
    if needed > free:
        raise InputError(
            f"{uri}: needs {_gigabytes(needed)}, found {_gigabytes(free)} free in {scratch}; {remedy}"
        )
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{scratch}: is full, while {_gigabytes(needed)} of {uri} are fetched; {remedy}"
            ) from None
        raise


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Holds a lock that other processes of this machine wait for; a killed process gives it up."""
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
