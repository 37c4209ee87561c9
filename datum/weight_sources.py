"""Files of weights by what names them: a path, a URL, a file on the model hub, or an object in a store.

* `weights/mit_b5.pth` or `file:///weights/mit_b5.pth`
* `https://server/mit_b5.pth`, with `#sha256=` and the digest (or its beginning) where it is known
* `hf://owner/name@revision/file`; without a revision that of `main`, without a file `model.safetensors`
* `s3://bucket/mit_b5.pth`

What is not on this machine is downloaded to the user's cache (`$XDG_CACHE_HOME/datum/weights`, else
`~/.cache/datum/weights`) once. HF_HUB_OFFLINE=1 switches all downloads off but those of the own store.
"""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from datum.disk import user_cache
from datum.errors import InputError
from datum.http_files import download_file
from datum.outputs import sha256
from datum.store import local_path
from datum.telemetry import log
from datum.transfer import fetch

HUB = "https://huggingface.co"
"""Where the hub is, unless HF_ENDPOINT names another one."""

_HUB_FILE = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w.%-]+))?(?:/([^@]+))?")
_PIN = re.compile(r"[0-9a-f]{8,64}")


def is_remote(text: str) -> bool:
    """Whether `text` names something that is not on this machine."""
    return text.startswith(("s3://", "http://", "https://", "hf://"))


def find_weights(named: str, text: str, digest: str = "") -> Path:
    """The file (of a store or of this machine also a folder) that `text` names, downloaded where it is not on
    this machine. A local path need not exist.

    `named` is the option or setting, `digest` the beginning of the SHA-256 where it is known. Raises
    `InputError` where `text` is none of the forms above, where there is no such file, and where downloads are
    switched off; and as `datum.http_files` does.
    """
    if text.startswith("s3://"):
        return fetch(text, _cache())
    if not is_remote(text):
        path = local_path(text)
        if path is None:
            raise InputError(f"{named} {text}: unknown scheme, expected a path, https://, hf:// or s3://")
        return path
    text, _, pin = text.partition("#sha256=")
    where = f"{named} {text.partition('?')[0]}"
    url = url_of(where, text)
    if pin and not _PIN.fullmatch(pin):
        raise InputError(f"{where}: found #sha256={pin!a:.80}, expected 8 to 64 hexadecimal digits")
    file, digest = cached(text), pin or digest
    if not file.is_file():
        if is_offline():
            raise InputError(
                f"{where}: is not in the cache, and downloads are switched off (HF_HUB_OFFLINE); name a file "
                f"that is here, or copy it to {file}"
            )
        log(f"{where}: is downloaded to {file}")
        token = os.environ.get("HF_TOKEN", "") if text.startswith("hf://") else ""
        download_file(where, url, file, digest=digest, token=token)
    elif digest and not sha256(file).startswith(digest):
        raise InputError(f"{where}: {file} in the cache has another SHA-256 than {digest}; remove it")
    return file


def cached(text: str) -> Path:
    """Where the file that the URL or hub file `text` names lies in the cache, once it is there."""
    name = unquote(Path(urlsplit(text).path).name) if not text.startswith("hf://") else _hub_parts(text)[2]
    name = re.sub(r"[^\w.-]", "_", name.rpartition("/")[2])[-100:] or "weights"
    return _cache() / hashlib.sha256(text.encode()).hexdigest()[:16] / name


def is_offline() -> bool:
    """Whether downloads are switched off, by the hub's own variable."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def url_of(where: str, text: str) -> str:
    """The address that the URL or hub file `text` is downloaded from; raises `InputError`, which begins with
    `where`, for one that is none."""
    if not text.startswith("hf://"):
        parts = urlsplit(text)
        if not parts.hostname or parts.username:
            raise InputError(f"{where}: expected https://server/file, with no name or password")
        return text
    repository, revision, file = _hub_parts(text)
    if not repository:
        raise InputError(f"{where}: expected hf://owner/name@revision/file, or without @revision or /file")
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    return f"{endpoint}/{repository}/resolve/{quote(unquote(revision), safe='')}/{quote(file)}"


def _hub_parts(text: str) -> tuple[str, str, str]:
    """(repository, revision, file); empty where `text` names no file of the hub."""
    match = _HUB_FILE.fullmatch(text)
    return (match[1], match[2] or "main", match[3] or "model.safetensors") if match else ("", "", "")


def _cache() -> Path:
    return user_cache() / "weights"
