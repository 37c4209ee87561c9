"""What names a place: paths, `file://` and `s3://` URIs; and names of files below one.

A name that could mean another place than it seems to is refused: `?` and `#`, which cut a URI short, and
`..`, which leads above it.
"""

import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote_to_bytes

from datum.errors import InputError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

_FINGERPRINT = re.compile(r"#[0-9a-f]{16}\Z")
"""What the ingestion adds to the URI of a mounted data set, so that it changes with its content."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")

_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_NAME_BYTES = 255
"""Longest part of a path that Linux's file systems take."""
_KEY_BYTES = 1024
"""Longest key that S3 takes."""

_EXPECTED = "expected s3://bucket/prefix, file:///folder or a path"


def local_path(uri: str) -> Path | None:
    """The path that a plain path or a `file://` URI names; None for a URI of a store.

    A plain path is taken as it is written. A URI is percent-encoded. Raises `InputError` for one with `?`,
    `#`, `..` or empty parts, encoded or not, and for one without a path.
    """
    scheme = _SCHEME.match(uri)
    if scheme is None:
        if "\0" in uri:
            raise InputError(f"{uri!a}: has a NUL in it; {_EXPECTED}")
        return Path(uri)
    if scheme[1].lower() != "file":
        return None
    encoded = _FINGERPRINT.sub("", uri[scheme.end() :])
    path = os.fsdecode(unquote_to_bytes(encoded.encode(errors="surrogateescape")))
    if not path.startswith("/"):
        raise InputError(f"{_shown(uri)}: names no folder of this machine, expected file:///folder")
    _require_parts(uri, encoded, path.removeprefix("/"))
    return Path(path)


def s3_place(uri: str) -> tuple[str, str]:
    """(bucket, prefix) of `s3://bucket/prefix`.

    Raises `InputError` for another scheme, for what cannot be a bucket, and for a prefix with `?`, `#`, `.`,
    `..`, empty parts or control characters.
    """
    scheme = _SCHEME.match(uri)
    if scheme is None or scheme[1].lower() != "s3":
        found = scheme[0] if scheme else uri
        raise InputError(f"{_shown(uri)}: unknown scheme {found}, {_EXPECTED}")
    bucket, _, prefix = uri[scheme.end() :].partition("/")
    if "@" in bucket:
        raise InputError(
            "s3://…@…: a URI takes no keys, expected s3://bucket/prefix; give them by AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY"
        )
    _require_parts(uri, bucket + prefix, prefix)
    if not _is_text(prefix):
        raise InputError(f"{_shown(uri)}: is no text in UTF-8, which keys are; {_EXPECTED}")
    odd = any(pair in bucket for pair in ("..", ".-", "-."))
    if odd or not _BUCKET.fullmatch(bucket) or _ADDRESS.fullmatch(bucket):
        raise InputError(f"{_shown(uri)}: {bucket!a} cannot be a bucket, expected s3://bucket/prefix")
    return bucket, prefix.removesuffix("/")


def require_place(uri: str) -> None:
    """Raises `InputError` for what `open_store` would not open, without asking the store."""
    if local_path(uri) is None:
        s3_place(uri)


def require_run_id(name: str, value: str) -> None:
    """Raises `InputError` where the field `name` has no run's id: one part of a place, and never another."""
    if not _RUN_ID.fullmatch(value) or not value.strip("."):
        raise InputError(
            f"{name}={value!a}: is no run's id, expected letters, digits, -, _ and . alone; copy it from "
            "`datum runs`"
        )


def run_ids(name: str, value: str) -> list[str]:
    """The runs' ids in the field `name`, with commas between them; none where it is empty.

    Raises `InputError` for what is no run's id.
    """
    ids = [part.strip() for part in value.split(",")] if value else []
    for part in ids:
        require_run_id(name, part)
    return ids


def require_key(key: str, place: str) -> None:
    """Raises `InputError` for a key that is none below `place`: it could name a file elsewhere."""
    if not _is_relative(key.removesuffix("/")) or len(key.encode()) > _KEY_BYTES:
        raise InputError(
            f"{place}: {key!a} cannot be a key, expected at most {_KEY_BYTES} bytes and no part that is "
            "empty, . or .."
        )


def require_file_names(names: Collection[str], uri: str) -> None:
    """Raises `InputError` for a name that cannot be a file below one folder, or would lie outside of it."""
    for name in names:
        parts = name.split("/")
        if not _is_relative(name) or any(len(part.encode()) > _NAME_BYTES for part in parts):
            raise InputError(
                f"{uri}: found an object named {name!a}, expected a relative path without . and ..; remove it"
            )
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in names:
                raise InputError(
                    f"{uri}: found both {'/'.join(parts[:end])} and {name}, which cannot lie in one folder; "
                    "remove one"
                )


def _is_relative(name: str) -> bool:
    return _is_text(name) and "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_parts(uri: str, written: str, path: str) -> None:
    """Raises `InputError` for `uri` where what is `written` or the `path` that it means is not plain."""
    if "?" in written or "#" in written:
        raise InputError(
            f"{_shown(uri)}: has a ? or # in it, which cut a URI short; name a place without them (in "
            "file:// %3F and %23 mean the two)"
        )
    parts = path.removesuffix("/").split("/") if path.strip("/") else [path]
    wrong = {".", ".."} & set(parts) or ("" in parts and path)
    if wrong or any(ord(character) < 32 or ord(character) == 127 for character in path):
        raise InputError(
            f"{_shown(uri)}: has . or .., an empty part or a control character in its path; {_EXPECTED}, "
            "written plainly"
        )


def _shown(uri: str) -> str:
    """`uri` on one line, and short."""
    plain = uri if uri.isprintable() else ascii(uri)[1:-1]
    return plain if len(plain) <= 200 else f"{plain[:200]}…"
