"""The request that joins the parts of a large object, with their checksums."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """A part as the server has it."""

    number: int
    """From 1."""
    etag: str
    checksum: str
    """CRC-32 in base64."""


def joining_request(parts: Sequence[Part]) -> bytes:
    """The body of S3's CompleteMultipartUpload."""
    listed = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{part.etag}&quot;</ETag>"
        f"<ChecksumCRC32>{part.checksum}</ChecksumCRC32></Part>"
        for part in parts
    )
    return f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
