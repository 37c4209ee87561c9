"""How an S3 server is reached: endpoint, keys, certificates. Keys are never part of a message."""

from __future__ import annotations

import configparser
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from datum.errors import InputError, TemporaryFaultError

if TYPE_CHECKING:
    from minio import Minio
    from minio.credentials import Credentials

CONNECTIONS = 24
"""Connections that one store keeps open, so many threads may share it."""

KEYS_FOLDER = "DATUM_STORE_KEYS"
"""Environment variable that names a folder with the files `accesskey`, `secretkey` and perhaps
`sessiontoken`, as a mounted Kubernetes secret has them. It goes before keys in the environment, which never
change while a process runs."""

KEYS_FILE = "AWS_SHARED_CREDENTIALS_FILE"
"""Environment variable that names a file as `aws configure` writes it; AWS_PROFILE names the section."""

CERTIFICATES = ("AWS_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name a file with the certificates to trust; the first that is set counts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Access:
    """How an S3 server is reached, and how patiently."""

    endpoint: str
    """Such as `https://s3.example.org:8333`."""
    access_key: str = dataclasses.field(repr=False, default="")
    secret_key: str = dataclasses.field(repr=False, default="")
    session_token: str = dataclasses.field(repr=False, default="")
    """Of temporary keys; empty for others."""
    keys: Path | None = None
    """Folder or file that the three are read from, again whenever it changes; None takes those above."""
    region: str | None = None
    """Where the server wants one."""
    timeout: tuple[float, float] = (5.0, 60.0)
    """Seconds to connect and to read."""
    patient: bool = True
    """Whether faults that pass are waited out (`datum.patience`)."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint) if is_http_url(self.endpoint) else None
        if parts is None or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            # Whoever writes keys into a URL does not want them in a log.
            shown = self.endpoint if "@" not in self.endpoint else "…@…"
            raise InputError(f"S3_ENDPOINT={shown}: expected http://host:port or https://host:port")
        _require_keys(self, self.access_key, self.secret_key, self.session_token)

    @classmethod
    def from_environment(cls, uri: str, *, patient: bool = True) -> Access:
        """`S3_ENDPOINT`, `AWS_REGION` where it is set, and the keys: from the folder that `KEYS_FOLDER`
        names, from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or from `KEYS_FILE`.

        Raises `InputError` that names `uri`, for which they are needed, and what is missing.
        """
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        access_key, secret_key, session_token = (os.environ.get(name, "").strip() for name in names)
        missing = [name for name in names[:2] if not os.environ.get(name)]
        keys = os.environ.get(KEYS_FOLDER) or (os.environ.get(KEYS_FILE) if missing else None)
        endpoint = os.environ.get("S3_ENDPOINT", "")
        if needed := ([] if endpoint else ["S3_ENDPOINT"]) + ([] if keys else missing):
            raise InputError(
                f"{uri}: the environment lacks {', '.join(needed)}; set them to reach the store"
                + (f" (keys may also be mounted: {KEYS_FOLDER}, {KEYS_FILE})" if not keys else "")
            )
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None
        if keys:
            return cls(endpoint=endpoint, keys=Path(keys), region=region, patient=patient)
        return cls(
            endpoint=endpoint,
            access_key=access_key,
            secret_key=secret_key,
            session_token=session_token,
            region=region,
            patient=patient,
        )

    def client(self) -> Minio:
        """A client that repeats nothing by itself."""
        from urllib3 import PoolManager, Timeout

        from datum.store.s3_client import Client

        connect, read = self.timeout
        parts = urlsplit(self.endpoint)
        try:
            return Client(
                parts.netloc,
                access_key=self.access_key or None,
                secret_key=self.secret_key,
                session_token=self.session_token or None,
                credentials=_provider(self.keys) if self.keys else None,
                secure=parts.scheme == "https",
                region=self.region,
                http_client=PoolManager(
                    maxsize=CONNECTIONS,
                    timeout=Timeout(connect=connect, read=read),
                    retries=False,
                    ca_certs=_certificates() if parts.scheme == "https" else None,
                ),
            )
        except ValueError as error:
            region = f" and AWS_REGION={self.region}" if self.region else ""
            raise InputError(f"S3_ENDPOINT={self.endpoint}{region}: {error}; correct it") from None


def is_http_url(text: str) -> bool:
    """Whether `text` is a URL of HTTP or HTTPS with a host and, if any, a valid port."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _provider(place: Path) -> object:
    """minio's provider of keys from `place`, which it asks for with every request."""
    from minio.credentials import Credentials
    from minio.credentials.providers import Provider

    class MountedKeys(Provider):
        def __init__(self) -> None:
            self._seen: tuple[object, Credentials] | None = None
            self.retrieve()

        def retrieve(self) -> Credentials:
            version = _version(place)
            if self._seen is None or self._seen[0] != version:
                access_key, secret_key, session_token = _mounted_keys(place)
                _require_keys(place, access_key, secret_key, session_token)
                self._seen = version, Credentials(access_key, secret_key, session_token or None)
            return self._seen[1]

    return MountedKeys()


def _version(place: Path) -> object:
    """What changes when the keys in `place` do."""
    try:
        files = _key_files(place).values() if place.is_dir() else [place]
        return [(str(file), file.stat().st_mtime_ns, file.stat().st_ino) for file in files if file.exists()]
    except OSError as error:
        raise TemporaryFaultError(f"{place}: cannot be read: {error.strerror}") from None


def _key_files(folder: Path) -> dict[str, Path]:
    # Kubernetes changes all files of a mounted secret at once, by one link that they lead through.
    content = folder / "..data"
    folder = content.resolve() if content.exists() else folder
    return {name: folder / name for name in ("accesskey", "secretkey", "sessiontoken")}


def _mounted_keys(place: Path) -> tuple[str, str, str]:
    try:
        if place.is_dir():
            keys = {
                name: file.read_text(encoding="utf-8").strip()
                for name, file in _key_files(place).items()
                if file.exists()
            }
            access_key, secret_key, session_token = (
                keys.get(name, "") for name in ("accesskey", "secretkey", "sessiontoken")
            )
            expected = "the files accesskey and secretkey"
        else:
            section = _profile(place)
            access_key, secret_key, session_token = (
                section.get(f"aws_{name}", "").strip()
                for name in ("access_key_id", "secret_access_key", "session_token")
            )
            expected = "aws_access_key_id and aws_secret_access_key"
    except (OSError, UnicodeDecodeError, configparser.Error):
        raise InputError(f"{place}: the store's keys cannot be read from it; mount or correct it") from None
    if not access_key or not secret_key:
        raise InputError(f"{place}: holds no keys of the store, expected {expected}; mount or correct it")
    return access_key, secret_key, session_token


def _profile(file: Path) -> Mapping[str, str]:
    """The section of a credentials file that AWS_PROFILE names."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(file.read_text(encoding="utf-8"))
    name = os.environ.get("AWS_PROFILE") or "default"
    if name not in parser:
        raise InputError(f"{file}: has no section [{name}], which AWS_PROFILE names; correct one of the two")
    return parser[name]


def _require_keys(source: object, *keys: str) -> None:
    """Raises `InputError`, which shows none, for keys that cannot stand in a header of HTTP."""
    if not all(key.isascii() and key.isprintable() and " " not in key for key in keys):
        where = source if isinstance(source, Path) else "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
        raise InputError(f"{where}: a key holds a character that no key has; copy the keys again")


def _certificates() -> str | None:
    """The file of certificates that the environment names; None takes the system's."""
    import ssl

    for name in CERTIFICATES:
        if file := os.environ.get(name):
            try:
                ssl.create_default_context(cafile=file)
            except (OSError, ssl.SSLError):
                raise InputError(
                    f"{name}={file}: holds no certificates that can be read, expected a PEM file; correct it"
                ) from None
            return file
    return None
