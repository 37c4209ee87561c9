"""Files by key, in a local folder or in an S3 bucket, behind one small interface.

`open_store` chooses by the scheme of the URI: `s3://bucket/prefix` is any S3 endpoint (SeaweedFS, MinIO,
AWS) through the minio client; `file:///folder` and a plain path are a local folder.

The endpoint and the credentials are an `Access`, which comes from the environment unless one is given; they
are never part of a URI, a setting or a message.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from datum.errors import InputError, TemporaryFaultError
from datum.outputs import replacing

if TYPE_CHECKING:
    from minio import Minio

MISSING_CODES = frozenset({"NoSuchKey", "NoSuchObject"})
"""S3 error codes of an object that is not there."""

DENIED_CODES = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "InvalidBucketName"}
)
"""S3 error codes that no retry mends: the secret or the bucket is wrong."""

BUSY_STATUSES = (429, 500, 502, 503, 504)
"""HTTP statuses of a server that is busy or restarting (S3's SlowDown is a 503): the request is repeated."""

CONNECTIONS = 16
"""Connections that one store keeps open, so many threads may share it."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")

_NAME_BYTES = 255
"""Longest part of a path that Linux's file systems take."""

_CHUNK = 2**20
"""Bytes that are read from a connection at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A file in a store, as its listing shows it."""

    key: str
    size: int
    """Bytes."""
    version: str
    """Changes when the content does: the ETag in S3, the modification time in a folder."""


class Store(Protocol):
    """Files by key. A key is a relative path with `/` between its parts. Threads may share a store.

    A write is whole or absent. Reading a key that is not there raises `KeyError`; a store out of reach
    raises `TemporaryFaultError`, a wrong secret or bucket `InputError`.
    """

    def put(self, file: Path, key: str) -> None:
        """Copies `file` to `key`."""

    def get(self, key: str, file: Path) -> None:
        """Copies `key` to `file`."""

    def read_bytes(self, key: str) -> bytes:
        """The content of `key`."""

    def write_bytes(self, key: str, data: bytes) -> None:
        """Sets the content of `key`."""

    def exists(self, key: str) -> bool:
        """Whether `key` is there."""

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        """All files whose keys start with `prefix`, sorted by key."""

    def list(self, prefix: str = "") -> list[str]:
        """The keys of the same."""
        return [entry.key for entry in self.entries(prefix)]

    def delete(self, key: str) -> None:
        """Removes `key`, if it is there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Access:
    """How an S3 server is reached, and how patiently."""

    endpoint: str
    """Such as `https://s3.example.org:8333`."""
    access_key: str = dataclasses.field(repr=False)
    secret_key: str = dataclasses.field(repr=False)
    region: str | None = None
    """Where the server wants one."""
    timeout: tuple[float, float] = (5.0, 60.0)
    """Seconds to connect and to read."""
    retries: int = 6
    """How often a request is repeated where the server is busy, 0.4 to 6.4 s apart, and half as often where
    the connection fails. Longer outages are left to the task's own retry, which resumes."""

    def __post_init__(self) -> None:
        if not is_http_url(self.endpoint):
            raise InputError(f"S3_ENDPOINT={self.endpoint}: expected http://host:port or https://host:port")

    @classmethod
    def from_environment(cls, uri: str) -> Access:
        """`S3_ENDPOINT`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where it is set, `AWS_REGION`.

        Raises `InputError` that names `uri`, for which they are needed, and what is missing.
        """
        names = ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        missing = [name for name in names if not os.environ.get(name)]
        if missing:
            raise InputError(
                f"{uri}: the environment lacks {', '.join(missing)}; set them to reach the store"
            )
        endpoint, access_key, secret_key = (os.environ[name] for name in names)
        region = os.environ.get("AWS_REGION")
        return cls(endpoint=endpoint, access_key=access_key, secret_key=secret_key, region=region)


def is_http_url(text: str) -> bool:
    """Whether `text` is a URL of HTTP or HTTPS with a host and, if any, a valid port."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def open_store(uri: str | Path, access: Access | None = None) -> Store:
    """The store behind `uri`: `s3://bucket/prefix`, `file:///folder` or a local path.

    Raises `InputError` for another scheme and, without an `access`, for an S3 URI without the environment
    that it needs.
    """
    text = str(uri)
    if (folder := local_path(text)) is not None:
        return FolderStore(folder)
    scheme, bucket, prefix, *_ = urlsplit(text)
    if scheme != "s3":
        raise InputError(f"{text}: unknown scheme {scheme}://, expected s3://bucket/prefix or file:///folder")
    if not _BUCKET.fullmatch(bucket):
        raise InputError(f"{text}: {bucket!r} cannot be a bucket, expected s3://bucket/prefix")
    return S3Store(_client(access or Access.from_environment(text)), bucket, prefix.strip("/"))


def local_path(uri: str) -> Path | None:
    """The path that a plain path or a `file://` URI names; None for a URI of a store."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(uri)


def put_folder(store: Store, folder: Path, prefix: str = "", last: str = "") -> None:
    """Puts every file below `folder` into the store, below the folder `prefix`, in the order of their names.

    The file named `last` goes after all others: where a reader finds it, all others are there.
    """
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    for name in sorted(names, key=lambda name: (name == last, name)):
        store.put(folder / name, _below(prefix) + name)


def get_folder(store: Store, prefix: str, folder: Path) -> bool:
    """Brings every file below the folder `prefix` of the store into `folder`; whether there was any.

    Raises `InputError`, before anything is written, for a key that cannot be a file below one folder.
    """
    names = [key.removeprefix(_below(prefix)) for key in store.list(_below(prefix))]
    require_file_names(set(names), prefix or "the store")
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        store.get(_below(prefix) + name, file)
    return bool(names)


def require_file_names(names: Collection[str], uri: str) -> None:
    """Raises `InputError` for a name that cannot be a file below one folder, or would lie outside of it."""
    for name in names:
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\0" in part or not _is_file_name(part) for part in parts):
            raise InputError(
                f"{uri}: found an object named {name!a}, expected a relative path without . and ..; remove it"
            )
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in names:
                raise InputError(
                    f"{uri}: found both {'/'.join(parts[:end])} and {name}, which cannot lie in one folder; "
                    "remove one"
                )


def _is_file_name(part: str) -> bool:
    try:
        return len(part.encode()) <= _NAME_BYTES
    except UnicodeEncodeError:
        return False


def _below(prefix: str) -> str:
    """What the keys below the folder `prefix` start with."""
    return f"{prefix.rstrip('/')}/" if prefix else ""


class FolderStore(Store):
    """A local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, file: Path, key: str) -> None:
        with self._replacing(key) as temporary:
            shutil.copyfile(file, temporary)

    def get(self, key: str, file: Path) -> None:
        with self._present(key) as source, replacing(file) as temporary:
            shutil.copyfile(source, temporary)

    def read_bytes(self, key: str) -> bytes:
        with self._present(key) as source:
            return source.read_bytes()

    def write_bytes(self, key: str, data: bytes) -> None:
        with self._replacing(key) as temporary:
            temporary.write_bytes(data)

    def exists(self, key: str) -> bool:
        return (self._folder / key).is_file()

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        found = {}
        for file in self._folder.rglob("*"):
            key = file.relative_to(self._folder).as_posix()
            if key.startswith(prefix) and file.is_file():
                status = file.stat()
                found[key] = Entry(key=key, size=status.st_size, version=str(status.st_mtime_ns))
        return [found[key] for key in sorted(found)]

    def delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)

    @contextmanager
    def _replacing(self, key: str) -> Iterator[Path]:
        file = self._folder / key
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            yield temporary

    @contextmanager
    def _present(self, key: str) -> Iterator[Path]:
        try:
            yield self._folder / key
        except FileNotFoundError:
            raise KeyError(key) from None


class S3Store(Store):
    """An S3 bucket, under a prefix."""

    def __init__(self, client: Minio, bucket: str, prefix: str) -> None:
        self._client, self._bucket = client, bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def put(self, file: Path, key: str) -> None:
        with self._errors(key):
            self._client.fput_object(self._bucket, self._prefix + key, str(file))

    def get(self, key: str, file: Path) -> None:
        with self._errors(key), replacing(file) as temporary, temporary.open("wb") as stream:
            for chunk in self._chunks(key):
                stream.write(chunk)

    def read_bytes(self, key: str) -> bytes:
        with self._errors(key):
            return b"".join(self._chunks(key))

    def write_bytes(self, key: str, data: bytes) -> None:
        with self._errors(key):
            self._client.put_object(self._bucket, self._prefix + key, io.BytesIO(data), len(data))

    def exists(self, key: str) -> bool:
        try:
            with self._errors(key):
                self._client.stat_object(self._bucket, self._prefix + key)
        except KeyError:
            return False
        return True

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        with self._errors(prefix):
            found = {
                item.object_name.removeprefix(self._prefix): item
                for item in self._client.list_objects(self._bucket, self._prefix + prefix, recursive=True)
                # Object browsers mark a folder by an empty object whose key ends in a slash.
                if item.object_name and not item.object_name.endswith("/")
            }
        return [
            Entry(key=key, size=found[key].size or 0, version=found[key].etag or "") for key in sorted(found)
        ]

    def delete(self, key: str) -> None:
        with self._errors(key):
            self._client.remove_object(self._bucket, self._prefix + key)

    def _chunks(self, key: str) -> Iterator[bytes]:
        """The content of `key`, piece by piece."""
        response = self._client.get_object(self._bucket, self._prefix + key)
        try:
            yield from response.stream(_CHUNK)
        finally:
            response.close()
            response.release_conn()

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turns the client's exceptions into the three that a `Store` raises."""
        from minio.error import InvalidResponseError, S3Error, ServerError
        from urllib3.exceptions import HTTPError

        where = f"s3://{self._bucket}/{self._prefix}{key}"
        try:
            yield
        except S3Error as error:
            if error.code in MISSING_CODES:
                raise KeyError(key) from None
            if error.code in DENIED_CODES:
                raise InputError(f"{where}: {error.code}; check the bucket and the secret") from None
            raise TemporaryFaultError(f"{where}: {error.code}: {error.message}") from error
        except (HTTPError, InvalidResponseError, ServerError) as error:
            raise TemporaryFaultError(f"{where}: store out of reach: {error}") from error


def _client(access: Access) -> Minio:
    from minio import Minio
    from urllib3 import PoolManager, Retry, Timeout

    connect, read = access.timeout
    retry = Retry(
        total=access.retries,
        connect=access.retries // 2,
        read=access.retries // 2,
        status_forcelist=BUSY_STATUSES,
        raise_on_status=False,
        backoff_factor=0.2,
        backoff_jitter=0.2,
    )
    parts = urlsplit(access.endpoint)
    return Minio(
        parts.netloc,
        access_key=access.access_key,
        secret_key=access.secret_key,
        secure=parts.scheme == "https",
        region=access.region,
        http_client=PoolManager(
            maxsize=CONNECTIONS,
            timeout=Timeout(connect=connect, read=read),
            retries=retry if access.retries else False,
        ),
    )
