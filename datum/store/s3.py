"""An S3 bucket, under a prefix, as a store.

With every object goes the SHA-256 of its content, as metadata: an ETag is no digest of what was put in parts.
A large file goes in parts, several at once, both ways, and its digest is taken along the way.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import itertools
import os
import re
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from xml.etree import ElementTree

from datum.disk import file_identity, write_at
from datum.errors import InputError, TemporaryFaultError
from datum.instruments import STORE_BYTES, add
from datum.outputs import replacing, sha256
from datum.patience import persevere
from datum.store.answers import LOST_UPLOAD_CODES, FinalAnswerError, as_our_errors
from datum.store.connection import Access
from datum.store.parts import Part, joining_request
from datum.store.protocol import DamagedError, Entry, Store
from datum.store.uris import require_key
from datum.telemetry import log
from datum.threads import in_order, together

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

PART = 8 * 2**20
"""Bytes of a part. S3 takes 5 MiB to 5 GiB, and 10,000 parts: a larger file has larger parts."""
MOST_PARTS = 10_000

PARTS_AT_ONCE = 8
"""Parts of one file on their way; with `PART`, what a large file takes of memory. One goes at a time."""

TRIES = 3
"""How often an answer that no retry mends is asked for, and a file that arrives damaged: the network may have
changed it on its way. What stays so is believed."""

PAUSE = 0.2
"""Seconds between them."""

_MD5 = re.compile("[0-9a-f]{32}")
_DIGEST = "x-amz-meta-sha256"
_WRITER = "x-amz-meta-writer"

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arrival:
    """What arrived of an object."""

    digest: str
    """SHA-256."""
    put: str
    """The SHA-256 that was put with it; empty where another program put it."""
    is_right: bool | None
    """Whether it is what was put, by that digest or by an ETag that may be its MD5; None where neither is."""


class S3Store(Store):
    """An S3 bucket, under a prefix."""

    def __init__(self, access: Access, bucket: str, prefix: str) -> None:
        self._client, self._patient = access.client(), access.patient
        self._keys_are_mounted, self._has_answered = access.keys is not None, False
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._large, self._outage = threading.Lock(), threading.Lock()

    def put(self, file: Path, key: str, digest: str = "") -> None:
        if file.stat().st_size > PART:
            try:
                self._put_in_parts(file, key, digest)
            except FinalAnswerError as error:
                if error.code not in LOST_UPLOAD_CODES:
                    raise
                log(f"{error}: {file.name} is uploaded anew")
                self._put_in_parts(file, key, digest)
            return
        data = file.read_bytes()
        found = hashlib.sha256(data)
        if digest and found.hexdigest() != digest:
            raise _changed(file)
        self._write(key, data, found.digest(), {})

    def get(self, key: str, file: Path, digest: str = "") -> None:
        with replacing(file) as temporary:

            def download() -> _Arrival:
                with temporary.open("wb") as stream:
                    return self._copy(key, lambda start, data: write_at(stream, start, data))

            self._undamaged(key, download, digest)

    def read_bytes(self, key: str) -> bytes:
        pieces: dict[int, bytes] = {}

        def read() -> _Arrival:
            pieces.clear()
            return self._copy(key, pieces.__setitem__)

        self._undamaged(key, read, "")
        return b"".join(pieces[start] for start in sorted(pieces))

    def write_bytes(self, key: str, data: bytes) -> None:
        self._write(key, data, hashlib.sha256(data).digest(), {})

    def swap_bytes(self, key: str, data: bytes, version: str) -> bool:
        # Where the answer is lost and the request repeated, the name tells our own write from another's.
        condition = {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
        headers = {_WRITER: secrets.token_hex(8), **condition}
        if self._write(key, data, hashlib.sha256(data).digest(), headers):
            # SeaweedFS 4 looks and writes in two steps, between which another may have looked.
            time.sleep(PAUSE)
        with contextlib.suppress(KeyError):
            return self._metadata(key).get(_WRITER) == headers[_WRITER]
        return False

    def exists(self, key: str) -> bool:
        with contextlib.suppress(KeyError):
            # Not by HEAD, whose answer cannot tell a bucket that is not there from a key.
            self._try(key, lambda: self._range(key, 0, 1))
            return True
        return False

    def digest_of(self, key: str) -> str:
        return self._metadata(key).get(_DIGEST, "")

    def entries(self, prefix: str = "") -> Sequence[Entry]:
        found = {entry.key: entry for entry in self._listed(prefix)}
        # Object browsers mark a folder by an empty object whose key ends in a slash.
        return [found[key] for key in sorted(found) if not key.endswith("/")]

    def delete(self, key: str) -> None:
        self._try(key, lambda: self._client.remove_object(self._bucket, self._name(key)))

    def delete_all(self) -> int:
        from minio.deleteobjects import DeleteObject

        keys = [entry.key for entry in self._listed("")]
        batches = (keys[start : start + 1000] for start in range(0, len(keys), 1000))

        def remove(batch: Sequence[str]) -> None:
            for error in self._client.remove_objects(
                self._bucket, [DeleteObject(self._prefix + key) for key in batch]
            ):
                raise TemporaryFaultError(f"{error.name}: was not removed: {error.code}: {error.message}")

        for _ in in_order(lambda batch: self._try("", lambda: remove(batch)), batches, ahead=4):
            pass
        return len(keys)

    def _put_in_parts(self, file: Path, key: str, digest: str) -> None:
        name, client, bucket = self._name(key), self._client, self._bucket

        def upload(number: int) -> Part:
            data = os.pread(stream.fileno(), part, starts[number - 1])
            checksum = base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()

            def put() -> str:
                query = {"partNumber": str(number), "uploadId": identity}
                headers = {"x-amz-checksum-crc32": checksum}
                return str(client._put_object(bucket, name, data, headers, query_params=query).etag)

            return Part(number=number, etag=self._try(key, put), checksum=checksum)

        with self._large, file.open("rb") as stream:
            before = file_identity(stream)
            digest = digest or sha256(file)
            size = os.fstat(stream.fileno()).st_size
            part = max(PART, -(-size // MOST_PARTS))
            starts = range(0, size, part)
            headers = {_DIGEST: digest, "x-amz-checksum-algorithm": "CRC32"}
            identity = self._try(key, lambda: client._create_multipart_upload(bucket, name, dict(headers)))
            try:
                parts = together(upload, range(1, len(starts) + 1), PARTS_AT_ONCE)
                # A new hard link to it changes the time too.
                if file_identity(stream) != before and sha256(file) != digest:
                    raise _changed(file)
                self._try(key, lambda: self._complete(key, identity, parts, digest))
            except BaseException:
                # What a killed process leaves is for the bucket's own rules to clean away.
                with contextlib.suppress(Exception):
                    client._abort_multipart_upload(bucket, name, identity)
                raise

    def _complete(self, key: str, identity: str, parts: Sequence[Part], digest: str) -> None:
        """Makes one object of what was uploaded in parts."""
        # Not by the client, which leaves out the checksums and takes an error that comes with status 200.
        try:
            with as_our_errors(self._where(key)):
                answer = self._client._execute(
                    "POST",
                    self._bucket,
                    self._name(key),
                    body=joining_request(parts),
                    headers={"Content-Type": "application/xml"},
                    query_params={"uploadId": identity},
                )
                if not ElementTree.fromstring(answer.data).tag.endswith("CompleteMultipartUploadResult"):
                    raise TemporaryFaultError(f"{self._where(key)}: the parts were not joined")
        except (TemporaryFaultError, FinalAnswerError):
            # Where the answer alone was lost, there is nothing left to complete.
            if self._digest_or_none(key) != digest:
                raise

    def _digest_or_none(self, key: str) -> str | None:
        with contextlib.suppress(KeyError), as_our_errors(self._where(key)):
            return self._client.stat_object(self._bucket, self._name(key)).metadata.get(_DIGEST)
        return None

    def _write(self, key: str, data: bytes, digest: bytes, headers: Mapping[str, str]) -> bool:
        """Sets the content of `key`, of SHA-256 `digest`; False where the condition in `headers` fails."""
        from minio.error import S3Error

        sent = {
            "Content-Type": "application/octet-stream",
            _DIGEST: digest.hex(),
            "x-amz-checksum-sha256": base64.b64encode(digest).decode(),  # compared with what arrives
            **headers,
        }

        def write() -> bool:
            try:
                self._client._put_object(self._bucket, self._name(key), data, sent)
                return True
            except S3Error as error:
                if error.code == "PreconditionFailed":
                    return False
                raise

        return self._try(key, write)

    def _copy(self, key: str, write: Callable[[int, bytes], object]) -> _Arrival:
        """Gives the content of `key` to `write`, with where each part begins; from several threads."""
        data, size, headers = self._try(key, lambda: self._range(key, 0, PART))
        etag, put = headers.get("etag", "").strip('"'), headers.get(_DIGEST, "")
        digests = [hashlib.sha256()] if put or not _MD5.fullmatch(etag) else [hashlib.sha256(), hashlib.md5()]

        def take(data: bytes) -> None:
            for digest in digests:
                digest.update(data)

        take(data)
        write(0, data)
        if size > len(data):
            same = {"If-Match": f'"{etag}"'}
            starts = range(len(data), size, PART)

            def rest(start: int) -> bytes:
                # Writing takes as long as digesting, so each part is written where it is read.
                part = self._try(key, lambda: self._range(key, start, PART, same))[0]
                write(start, part)
                return part

            with self._large:
                for data in in_order(rest, starts, PARTS_AT_ONCE):
                    take(data)
        found = digests[0].hexdigest()
        right = found == put if put else digests[-1].hexdigest() == etag if len(digests) == 2 else None
        return _Arrival(digest=found, put=put, is_right=right)

    def _range(
        self, key: str, start: int, length: int, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """(at most `length` bytes of `key` from `start`, size of the whole, headers of the answer)."""
        from minio.error import S3Error

        name, sent = self._name(key), {**(headers or {}), "Range": f"bytes={start}-{start + length - 1}"}
        try:
            response = self._client.get_object(self._bucket, name, request_headers=sent)
        except S3Error as error:
            if error.code == "PreconditionFailed":
                raise TemporaryFaultError(f"{self._where(key)}: was replaced while it was read") from None
            if error.code != "InvalidRange" or start:
                raise
            # An empty object has no range.
            response = self._client.get_object(self._bucket, name)
        return self._received(key, response, start, length)

    def _received(
        self, key: str, response: BaseHTTPResponse, start: int, length: int
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            data = response.read()
        except BaseException:
            response.close()
            raise
        response.release_conn()
        add(STORE_BYTES, len(data), "received")
        if response.status != 206 and start:
            raise FinalAnswerError(f"{self._where(key)}: the store answers whole files alone, expected parts")
        whole = "content-range" if response.status == 206 else "content-length"
        if whole not in response.headers or "etag" not in response.headers:
            # A connection that breaks off among the headers leaves an answer that looks like an empty file.
            raise TemporaryFaultError(f"{self._where(key)}: arrived without all of its headers")
        declared = response.headers.get("content-range", "").rpartition("/")[2]
        size = int(declared) if declared.isdecimal() else len(data)
        if response.status == 206 and len(data) != min(length, size - start):
            raise TemporaryFaultError(
                f"{self._where(key)}: arrived cut short: {len(data)} bytes of {min(length, size - start)}"
            )
        return data, size, response.headers

    def _undamaged(self, key: str, copy: Callable[[], _Arrival], digest: str) -> None:
        """Calls `copy` until what it copied is what was put; raises `DamagedError` where that never is so."""
        seen: set[str] = set()
        for number in range(1, TRIES + 1):
            arrival = copy()
            if digest:
                if arrival.digest == digest:
                    return
            elif arrival.is_right in (True, None) or (arrival.digest in seen and not arrival.put):
                # Some servers' ETags are no MD5: of those, what arrives twice alike is believed.
                return
            seen.add(arrival.digest)
            expected = digest or arrival.put
            said = f"found SHA-256 {arrival.digest[:12]}…" + (
                f", expected {expected[:12]}…" if expected else ""
            )
            log(f"{self._where(key)}: damaged: {said}; try {number} of {TRIES}")
        raise DamagedError(
            f"{self._where(key)}: damaged: {said}; where it stays so, remove the object and upload it again"
        )

    def _metadata(self, key: str) -> Mapping[str, str]:
        name = self._name(key)
        return self._try(key, lambda: self._client.stat_object(self._bucket, name)).metadata or {}

    def _listed(self, prefix: str) -> list[Entry]:
        def listed() -> list[Entry]:
            return [
                Entry(
                    key=item.object_name.removeprefix(self._prefix),
                    size=item.size or 0,
                    version=(item.etag or "").strip('"'),
                    modified=item.last_modified.timestamp() if item.last_modified else 0.0,
                )
                for item in self._client.list_objects(self._bucket, self._prefix + prefix, recursive=True)
                if item.object_name
            ]

        return self._try(prefix, listed)

    def _name(self, key: str) -> str:
        require_key(key, f"s3://{self._bucket}/{self._prefix}")
        return self._prefix + key

    def _where(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _try(self, key: str, attempt: Callable[[], Result]) -> Result:
        """The result of `attempt`, which is repeated while its fault may pass.

        Of many threads that meet the same outage one waits for its end, and says so; the others wait for it.
        """
        once = self._translated(key, attempt)
        try:
            return once()
        except TemporaryFaultError:
            if not self._patient:
                raise
        with self._outage:
            return persevere("store", once, of="store")

    def _translated(self, key: str, attempt: Callable[[], Result]) -> Callable[[], Result]:
        """`attempt` with our own errors, asked `TRIES` times before a final answer is believed."""
        where = self._where(key)

        def once() -> Result:
            for number in itertools.count(1):
                try:
                    with as_our_errors(where, keys_may_change=self._keys_are_mounted and self._has_answered):
                        result = attempt()
                    self._has_answered = True
                    return result
                except FinalAnswerError:
                    if number == TRIES:
                        raise
                    time.sleep(PAUSE)
            raise AssertionError("unreachable")

        return once


def _changed(file: Path) -> InputError:
    return InputError(f"{file}: was changed since it was read first; run the same command again")
