"""minio's client, less the digests of a body that a checksum guards already."""

from datetime import datetime

from minio import Minio
from minio.credentials import Credentials

from datum.instruments import STORE_BYTES, add

_CHECKSUMS = ("x-amz-checksum-crc32", "x-amz-checksum-sha256")


class Client(Minio):
    """A client that signs what carries its own checksum without digesting it once more.

    minio takes the SHA-256 of every body, and its MD5 over HTTPS: of a large file, as long as all else that
    the client does. The checksum is signed, and the server compares it with what arrives.
    """

    def _build_headers(
        self,
        host: str,
        headers: dict[str, str | list[str] | tuple[str]] | None = None,
        body: bytes | None = None,
        creds: Credentials | None = None,
    ) -> tuple[dict[str, str | list[str] | tuple[str]], datetime]:
        add(STORE_BYTES, len(body or b""), "sent")
        if not body or not any(name in _CHECKSUMS for name in headers or {}):
            return super()._build_headers(host, headers, body, creds)
        built, date = super()._build_headers(host, headers, None, creds)
        built["Content-Length"] = str(len(body))
        if creds:
            built["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
        return built, date
