"""Files by key, in a local folder or in an S3 bucket, behind one small interface.

`open_store` chooses by the scheme of the URI: `s3://bucket/prefix` is any S3 endpoint (SeaweedFS, MinIO,
AWS) through the minio client; `file:///folder` and a plain path are a local folder.

The endpoint and the credentials come from the environment, never from a URI or a setting:
`S3_ENDPOINT` (such as `https://s3.example.org:8333`), `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and,
where the endpoint wants one, `AWS_REGION`.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shutil
from collections.abc import Iterator, Sequence
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

    def list(self, prefix: str = "") -> list[str]:
        """All keys that start with `prefix`, sorted."""

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        """The same with sizes and versions."""

    def delete(self, key: str) -> None:
        """Removes `key`, if it is there."""


def open_store(uri: str | Path) -> Store:
    """The store behind `uri`: `s3://bucket/prefix`, `file:///folder` or a local path.

    Raises `InputError` for another scheme and for an S3 URI without the environment it needs.
    """
    text = str(uri)
    parts = urlsplit(text)
    match parts.scheme:
        case "":
            return FolderStore(Path(text))
        case "file":
            return FolderStore(Path(unquote(parts.path)))
        case "s3":
            if not _BUCKET.fullmatch(parts.netloc):
                raise InputError(f"{text}: {parts.netloc!r} cannot be a bucket, expected s3://bucket/prefix")
            return S3Store(_client(text), parts.netloc, parts.path.strip("/"))
        case scheme:
            raise InputError(
                f"{text}: unknown scheme {scheme}://, expected s3://bucket/prefix or file:///folder"
            )


class FolderStore:
    """A `Store` in a local folder."""

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

    def list(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

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


class S3Store:
    """A `Store` in an S3 bucket, under a prefix."""

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

    def list(self, prefix: str = "") -> list[str]:
        return [entry.key for entry in self.entries(prefix)]

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        with self._errors(prefix):
            found = {
                item.object_name.removeprefix(self._prefix): item
                for item in self._client.list_objects(self._bucket, self._prefix + prefix, recursive=True)
                if item.object_name
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


def _client(uri: str) -> Minio:
    from minio import Minio
    from urllib3 import PoolManager, Retry, Timeout

    names = ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise InputError(f"{uri}: the environment lacks {', '.join(missing)}; set them to reach the store")
    endpoint, access_key, secret_key = (os.environ[name] for name in names)
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise InputError(f"S3_ENDPOINT={endpoint}: expected http://host:port or https://host:port")
    return Minio(
        parts.netloc,
        access_key=access_key,
        secret_key=secret_key,
        secure=parts.scheme == "https",
        region=os.environ.get("AWS_REGION"),
        # A few quick tries, and more of them where the server asks for patience (0.4 to 6.4 s apart); longer
        # outages are left to the task's own retry, which resumes.
        http_client=PoolManager(
            maxsize=CONNECTIONS,
            timeout=Timeout(connect=5, read=60),
            retries=Retry(
                total=6,
                connect=3,
                read=3,
                status_forcelist=BUSY_STATUSES,
                raise_on_status=False,
                backoff_factor=0.2,
                backoff_jitter=0.2,
            ),
        ),
    )


def put_folder(store: Store, folder: Path, prefix: str = "", last: str = "") -> None:
    """Puts every file below `folder` in the store, under `prefix`; the one named `last` goes last."""
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    for name in sorted(names, key=lambda name: (name == last, name)):
        store.put(folder / name, prefix + name)


def get_folder(store: Store, prefix: str, folder: Path) -> bool:
    """Brings every key that starts with `prefix` into `folder`; whether there was any."""
    keys = store.list(prefix)
    for key in keys:
        file = folder / key.removeprefix(prefix)
        file.parent.mkdir(parents=True, exist_ok=True)
        store.get(key, file)
    return bool(keys)
