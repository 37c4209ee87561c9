"""Files by key, in a local folder or in an S3 bucket, behind one small interface.

`open_store` chooses by the scheme of the URI: `s3://bucket/prefix` is any S3 endpoint (SeaweedFS, MinIO,
AWS) through the minio client; `file:///folder` and a plain path are a local folder.

The endpoint and the credentials come from the environment, never from a URI or a setting:
`S3_ENDPOINT` (such as `https://s3.example.org:8333`), `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and,
where the endpoint wants one, `AWS_REGION`.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
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


class Store(Protocol):
    """Files by key. A key is a relative path with `/` between its parts.

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
        files = (file for file in self._folder.rglob("*") if file.is_file())
        keys = (file.relative_to(self._folder).as_posix() for file in files)
        return sorted(key for key in keys if key.startswith(prefix))

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
        with self._errors(key), replacing(file) as temporary:
            self._client.fget_object(self._bucket, self._prefix + key, str(temporary))

    def read_bytes(self, key: str) -> bytes:
        with self._errors(key):
            response = self._client.get_object(self._bucket, self._prefix + key)
            try:
                return response.read()
            finally:
                response.close()
                response.release_conn()

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
        with self._errors(prefix):
            objects = self._client.list_objects(self._bucket, self._prefix + prefix, recursive=True)
            return sorted(item.object_name.removeprefix(self._prefix) for item in objects if item.object_name)

    def delete(self, key: str) -> None:
        with self._errors(key):
            self._client.remove_object(self._bucket, self._prefix + key)

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
        # Three quick tries here; longer outages are left to the task's own retry, which resumes.
        http_client=PoolManager(
            timeout=Timeout(connect=5, read=60), retries=Retry(total=3, backoff_factor=0.2)
        ),
    )
