"""How a store is reached: endpoint, keys that may change, certificates."""

import datetime
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from datum.errors import InputError, TemporaryFaultError
from datum.store import Access, open_store
from tests.stand_in_server import QuietHandler, StandInServer

NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Server(StandInServer):
    """An S3 server that refuses every request, and notes their headers."""

    def __init__(self, certificate: Path | None = None) -> None:
        seen: list[dict[str, str]] = []

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                seen.append({name.lower(): value for name, value in self.headers.items()})
                body = b"<Error><Code>AccessDenied</Code></Error>"
                self.send_response(403)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.seen = seen
        super().__init__(Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        monkeypatch.setenv("S3_ENDPOINT", server.url)
        yield server


def ask(uri: str = "s3://bucket/x") -> None:
    with pytest.raises(InputError, match="AccessDenied"):
        open_store(uri).read_bytes("key")


def test_an_s3_uri_without_its_environment_names_the_missing_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("S3_ENDPOINT", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(InputError, match="lacks S3_ENDPOINT, AWS_SECRET_ACCESS_KEY"):
        open_store("s3://bucket")


def test_the_token_of_temporary_keys_goes_along(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(NAMES, ("access", "secret", "token")):
        monkeypatch.setenv(name, value)
    ask()
    assert {headers["x-amz-security-token"] for headers in server.seen} == {"token"}


def test_keys_of_a_mounted_secret_are_read_again_when_they_change(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = tmp_path / "keys"
    mount.mkdir()
    for version in ("old", "new"):
        (tmp_path / version).mkdir()
        for name in ("accesskey", "secretkey", "sessiontoken"):
            (tmp_path / version / name).write_text(f"{version}{name}\n")
    (mount / "..data").symlink_to(tmp_path / "old")
    for name in ("accesskey", "secretkey", "sessiontoken"):
        (mount / name).symlink_to(f"..data/{name}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("DATUM_STORE_KEYS", str(mount))
    store = open_store("s3://bucket/x")
    used = []
    for version in ("old", "new"):
        # As the kubelet does it.
        (mount / "..next").symlink_to(tmp_path / version)
        (mount / "..next").replace(mount / "..data")
        server.seen.clear()
        with pytest.raises(InputError, match="AccessDenied"):
            store.read_bytes("key")
        used.append((server.seen[0]["authorization"].split("/")[0], server.seen[0]["x-amz-security-token"]))
    assert used == [(f"AWS4-HMAC-SHA256 Credential={v}accesskey", f"{v}sessiontoken") for v in ("old", "new")]


def test_keys_are_read_from_the_profile_of_a_credentials_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    for key in ("first", "second"):
        file.write_text(f"[default]\na = x\n[lab]\naws_access_key_id = {key}\naws_secret_access_key = a%b\n")
        server.seen.clear()
        ask()
        assert f"Credential={key}/" in server.seen[0]["authorization"]
    monkeypatch.setenv("AWS_PROFILE", "none")
    with pytest.raises(InputError, match=r"has no section \[none\]"):
        open_store("s3://bucket")


@pytest.mark.parametrize("content", [None, {}, {"accesskey": "a"}, {"accesskey": "a", "secretkey": " "}])
def test_mounted_keys_that_are_none_are_bad_input(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, str] | None
) -> None:
    mount = tmp_path / "keys"
    if content is not None:
        mount.mkdir()
        for name, key in content.items():
            (mount / name).write_text(key)
    monkeypatch.setenv("DATUM_STORE_KEYS", str(mount))
    with pytest.raises(InputError, match=r"keys: (holds no keys|the store's keys cannot be read)"):
        open_store("s3://bucket")


def test_a_key_that_cannot_be_one_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a secret\nof two lines", "secret ä"):
        with pytest.raises(InputError, match="copy the keys again") as refusal:
            Access(endpoint="http://host", access_key="x", secret_key=key)
        assert "secret ä" not in str(refusal.value) and "two lines" not in str(refusal.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        *("host:8333", "ftp://host", "http://", "http://host:port", "http://host:0"),
        *("http://host/path", "http://host?x", "http://name" + ":secret@host"),
    ],
)
def test_an_endpoint_that_is_none_is_bad_input(endpoint: str) -> None:
    with pytest.raises(InputError, match=r"S3_ENDPOINT=.*: expected http://host:port") as refusal:
        Access(endpoint=endpoint, access_key="x", secret_key="y")
    assert "name:secret" not in str(refusal.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that it signs itself, in one file."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "datum tests")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    file.write_bytes(made.public_bytes(encoding) + private)
    return file


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_server_is_trusted_by_the_authority_that_the_environment_names(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(other, raising=False)
    with Server(certificate) as server:
        access = Access(endpoint=server.url.replace("http", "https"), access_key="x", secret_key="y")
        with pytest.raises(InputError, match=r"certificate is not trusted \(self-signed.*by AWS_CA_BUNDLE"):
            open_store("s3://bucket", access).read_bytes("key")
        assert not server.seen
        monkeypatch.setenv(name, str(certificate))
        with pytest.raises(InputError, match="AccessDenied"):
            open_store("s3://bucket", access).read_bytes("key")


def test_certificates_that_cannot_be_read_are_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Access(endpoint="https://127.0.0.1:9", access_key="x", secret_key="y")
    (tmp_path / "empty").touch()
    for file in (tmp_path / "missing", tmp_path / "empty"):
        monkeypatch.setenv("AWS_CA_BUNDLE", os.fspath(file))
        with pytest.raises(InputError, match=r"AWS_CA_BUNDLE=.*: holds no certificates"):
            open_store("s3://bucket", access)


def test_an_endpoint_that_speaks_no_tls_is_bad_input(server: Server, impatient: None) -> None:
    access = Access(endpoint=server.url.replace("http://", "https://"), access_key="x", secret_key="y")
    with pytest.raises((InputError, TemporaryFaultError), match="write S3_ENDPOINT with http://"):
        open_store("s3://bucket", access).read_bytes("key")
