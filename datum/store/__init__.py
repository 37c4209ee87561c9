"""Files by key, in a local folder or in an S3 bucket, behind one small interface.

`open_store` chooses by the scheme of the URI: `s3://bucket/prefix` is any S3 endpoint (SeaweedFS, MinIO,
AWS) through the minio client; `file:///folder` and a plain path are a local folder.

The endpoint and the credentials are an `Access`, which comes from the environment unless one is given; they
are never part of a URI, a setting or a message.
"""

import functools
from pathlib import Path

from datum.store.connection import Access, is_http_url
from datum.store.folder import FolderStore
from datum.store.protocol import DamagedError, Entry, Store
from datum.store.s3 import S3Store
from datum.store.succession import Successor, predecessors_of, succeed
from datum.store.uris import local_path, require_file_names, require_place, require_run_id, run_ids, s3_place

__all__ = [
    "Access",
    "DamagedError",
    "Entry",
    "FolderStore",
    "Store",
    "is_http_url",
    "local_path",
    "open_store",
    "require_file_names",
    "require_place",
    "require_run_id",
    "run_ids",
    "succeed",
]


def open_store(uri: str | Path, access: Access | None = None) -> Store:
    """The store behind `uri`: `s3://bucket/prefix`, `file:///folder` or a local path.

    Raises `InputError` for what is none of these and, without an `access`, for an S3 URI without the
    environment that it needs.
    """
    *earlier, last = [_open(place, access) for place in (str(uri), *predecessors_of(str(uri)))]
    return functools.reduce(lambda behind, store: Successor(store, behind), reversed(earlier), last)


def _open(uri: str, access: Access | None) -> Store:
    if (folder := local_path(uri)) is not None:
        return FolderStore(folder)
    bucket, prefix = s3_place(uri)
    return S3Store(access or Access.from_environment(uri), bucket, prefix)
