"""Folders between this machine and a store: many files at once, verified, and resumed after a kill.

A published folder lies below `<base>/<name>-<digest>/`, where the digest is that of its content, and is
described by an index, `dataset.json`, that is written last: a prefix without it is incomplete, and one with
it never changes. What a user put into a store has no index; it is fetched as it is listed.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from datum.data_cache import through_cache
from datum.errors import InputError
from datum.outputs import sha256
from datum.room import require_disk
from datum.store import Access, DamagedError, Store, local_path, open_store, require_file_names
from datum.telemetry import log
from datum.threads import at_once

INDEX = "dataset.json"
"""Key of the index below a published folder: `{"files": {name: {"size": bytes, "sha256": hexadecimal}}}`."""

_SHA256 = re.compile("[0-9a-f]{64}")
_NAMED_BY_DIGEST = re.compile("-([0-9a-f]{16})/?$")
"""How the URI of a published folder ends."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file as an index or a listing describes it."""

    size: int
    """Bytes."""
    sha256: str = ""
    """Hexadecimal digest; empty where there is no index."""
    version: str = ""
    """The store's own version, or of a file here the time of its last change; empty of a file of an index."""


def publish(folder: Path, base: str, name: str, *, leaving_out: Collection[str] = ()) -> str:
    """Uploads `folder` below `base` and returns the URI of the copy, `<base>/<name>-<digest of the content>`.

    Links are followed; files whose relative names are in `leaving_out` stay behind. What is already there is
    not uploaded again, so an interrupted call is resumed by the next one.

    Raises `InputError` for an empty folder, for one with a file of the index's name, and for a file that
    changes meanwhile.
    """
    open_store(base)
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
    index = described(files, f"hash {name}")
    uri = f"{base.rstrip('/')}/{name}-{content_digest(index)}"
    store = open_store(uri)
    there = {entry.key: entry.size for entry in store.entries()}
    if INDEX in there:
        read_index(uri)
    sources = {name: (files[name], file) for name, file in index.items()}
    put_missing(f"publish {name}", store, sources, there)
    if INDEX not in there and not store.swap_bytes(INDEX, index_bytes(index), ""):
        read_index(uri)
        log(f"{uri}: another process has published the same meanwhile; its index stays")
    return uri


def put_missing(
    what: str, store: Store, sources: Mapping[str, tuple[Path, RemoteFile]], there: Mapping[str, int]
) -> None:
    """Copies to each key of `sources` its file, which `described` described, unless the store has that
    content already; `there` are the sizes of what it holds, `what` is said of the progress.

    Raises `InputError` for a file that has changed since it was described.
    """

    def put(key: str) -> None:
        file, description = sources[key]
        if there.get(key) != description.size or not _is_put(store, key, description.sha256):
            _put_described(store, file, key, description)

    at_once(what, {key: description.size for key, (_, description) in sources.items()}, put)


def _is_put(store: Store, key: str, digest: str) -> bool:
    """Whether the content of `key` was put with this SHA-256."""
    try:
        return store.digest_of(key) == digest
    except KeyError:
        return False


def content_digest(files: Mapping[str, RemoteFile]) -> str:
    """Sixteen hexadecimal digits of the SHA-256 over every file's name, size, and SHA-256 or version."""
    digest = hashlib.sha256()
    for name in sorted(files):
        file = files[name]
        digest.update(f"{name}\0{file.size}\0{file.sha256 or file.version}\n".encode())
    return digest.hexdigest()[:16]


def fetch(uri: str, scratch: Path, *, only: Sequence[str] = ()) -> Path:
    """A local copy of the folder or the file at `uri`, below `scratch`; a local path is returned as it is.
    Of what `publish` made it is the copy of the cluster's cache (`datum.data_cache`), where there is one.

    `only` are prefixes of the names to fetch, all by default. A copy that is there already is returned at
    once, one that was interrupted is resumed. Every file's size is verified, and its SHA-256 where `uri` has
    an index; a wrong file is fetched again.

    Raises `InputError` where there is nothing at `uri` and for a name that leads out of the folder,
    `TemporaryFaultError` where the files do not fit into `scratch`, and `DamagedError` for a file that stays
    wrong.
    """
    if (path := local_path(uri)) is not None:
        return path
    uri = uri.rstrip("/")
    files = remote_files(uri, only=only)
    if files:
        place = _place(uri, files)
        return _fetch_cached(uri, files, place) or _fetch(uri, files, place, scratch)
    folder, _, name = uri.rpartition("/")
    if urlsplit(folder).netloc and (file := remote_files(folder, only=[name]).get(name)):
        return _fetch(folder, {name: file}, _place(folder, {name: file}), scratch) / name
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
    files = parse_index(content, f"{uri}/{INDEX}")
    named = _NAMED_BY_DIGEST.search(uri)
    if named and named.group(1) != content_digest(files):
        raise InputError(
            f"{uri}/{INDEX}: lists other files than were published; remove it and run the ingestion again"
        )
    return files


def index_bytes(files: Mapping[str, RemoteFile]) -> bytes:
    """The content of an index."""
    content = {name: {"size": file.size, "sha256": file.sha256} for name, file in files.items()}
    return json.dumps({"files": content}).encode()


def parse_index(content: bytes, where: str) -> dict[str, RemoteFile]:
    """The reverse; raises `InputError`, which says `where`, for what `index_bytes` did not make."""
    try:
        entries = json.loads(content)["files"].items()
        files = {
            str(name): RemoteFile(size=int(entry["size"]), sha256=str(entry["sha256"]))
            for name, entry in entries
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        files = {}
    if not files or any(file.size < 0 or not _SHA256.fullmatch(file.sha256) for file in files.values()):
        raise InputError(
            f"{where}: not the index of a folder that datum published; remove it (for an ingested data "
            "set, then run the ingestion again)"
        )
    return files


def is_published(uri: str, access: Access | None = None) -> bool:
    """Whether `uri` is a published folder with every file that its index lists, in the right size."""
    files = read_index(uri, access)
    if files is None:
        return False
    there = {entry.key: entry.size for entry in open_store(uri, access).entries()}
    return all(there.get(name) == file.size for name, file in files.items())


def described(files: Mapping[str, Path], description: str) -> dict[str, RemoteFile]:
    """Size and SHA-256 of every file, in the order of `files`."""
    sizes = {name: file.stat().st_size for name, file in files.items()}
    digests: dict[str, str] = {}

    def describe(name: str) -> None:
        digests[name] = sha256(files[name])

    versions = {name: _changed_at(file) for name, file in files.items()}
    at_once(description, sizes, describe)
    return {
        name: RemoteFile(size=size, sha256=digests[name], version=versions[name])
        for name, size in sizes.items()
    }


def _put_described(store: Store, file: Path, key: str, description: RemoteFile) -> None:
    """Copies `file` to `key`; raises `InputError` where it is not as `described` found it any more."""
    store.put(file, key, description.sha256)
    # A new hard link to it changes the time too.
    if _changed_at(file) != description.version and sha256(file) != description.sha256:
        store.delete(key)
        raise InputError(f"{file}: was changed since it was read first; run the same command again")


def _changed_at(file: Path) -> str:
    """Time of the last change of any kind, which nobody can set back."""
    return str(file.stat().st_ctime_ns)


def _fetch_cached(uri: str, files: Mapping[str, RemoteFile], place: tuple[str, str]) -> Path | None:
    """The same as `_fetch`, in the cluster's cache; None where `uri` may change, or where no cache can be
    used."""
    if not _NAMED_BY_DIGEST.search(uri):
        return None
    key, last_part = place
    sizes = {f"{last_part}/{name}": file.size for name, file in files.items()}
    entry = through_cache(key, sizes, lambda folder: _fetch(uri, files, place, folder))
    return entry / last_part if entry else None


def _place(uri: str, files: Mapping[str, RemoteFile]) -> tuple[str, str]:
    """Where `files` of the folder `uri` are fetched to: a folder and the one within it."""
    # Named by place and content: two URIs whose last parts agree, or two parts of one, never share a folder.
    key = hashlib.sha256(f"{uri}\0{content_digest(files)}".encode()).hexdigest()[:16]
    last_part = uri.rpartition("/")[2]
    require_file_names({last_part}, uri)
    return key, last_part


def _fetch(uri: str, files: Mapping[str, RemoteFile], place: tuple[str, str], scratch: Path) -> Path:
    """Fetches `files` of the folder `uri` to their `_place` in `scratch`; returns the folder that holds
    exactly them."""
    key, last_part = place
    folder = scratch / key / last_part
    partial, downloads = scratch / f"{key}.partial", scratch / f"{key}.downloads"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(scratch / f"{key}.lock"):
        if folder.exists():
            # A loss of power may have taken what was not on the disk yet.
            if all(_size(folder / name) == file.size for name, file in files.items()):
                return folder
            folder.rename(partial)
        shutil.rmtree(downloads, ignore_errors=True)
        for directory in {(partial / name).parent for name in files} | {downloads}:
            directory.mkdir(parents=True, exist_ok=True)
        whole = _whole(partial, files)
        missing = {name: file.size for name, file in files.items() if name not in whole}
        store, numbers = open_store(uri), {name: number for number, name in enumerate(missing)}

        def download(name: str) -> None:
            temporary = downloads / str(numbers[name])
            _download(store, uri, name, files[name], temporary)
            temporary.rename(partial / name)

        require_disk(scratch, sum(missing.values()), f"a copy of {uri}")
        at_once(f"fetch {folder.name}", missing, download)
        downloads.rmdir()
        partial.rename(folder)
    return folder


def _whole(folder: Path, files: Mapping[str, RemoteFile]) -> set[str]:
    """The names of those `files` that an interrupted call has brought into `folder`."""
    there = {name: folder / name for name, file in files.items() if _size(folder / name) == file.size}
    found = described(there, f"check {folder.name}")
    return {name for name, file in found.items() if file.sha256 == (files[name].sha256 or file.sha256)}


def _size(file: Path) -> int:
    """Bytes; -1 where there is no such file."""
    return file.stat().st_size if file.is_file() else -1


def _download(store: Store, uri: str, name: str, expected: RemoteFile, file: Path) -> None:
    """Writes `name` to `file`, verified."""
    try:
        store.get(name, file, expected.sha256)
    except KeyError:
        raise InputError(
            f"{uri}/{name}: is gone; upload it again (for an ingested data set: run the ingestion again)"
        ) from None
    if file.stat().st_size != expected.size:
        raise DamagedError(
            f"{uri}/{name}: damaged: found {file.stat().st_size} bytes, expected {expected.size}; where it "
            "stays so, remove the object and upload it again"
        )


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Holds a lock that other processes of this machine wait for; a killed process gives it up."""
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
