"""What a server may answer, and with which status a command ends then."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from datum.errors import InputError, TemporaryFaultError
from datum.store import Access, Store, open_store
from tests.stand_in_server import QuietHandler, StandInServer

Answering = Callable[[int, str, bytes], Store]


@pytest.fixture
def answering(impatient: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    """Makes a store whose server gives one answer to every request: status, content type, body."""
    monkeypatch.setattr("datum.store.s3.PAUSE", 0)

    def answer(status: int, kind: str, body: bytes) -> Store:
        class Handler(QuietHandler):
            protocol_version = "HTTP/1.1"

            def reply(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                if kind:
                    self.send_header("Content-Type", kind)
                if status // 100 == 3:
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if self.command != "HEAD" else b"")

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = reply

        endpoint = servers.enter_context(StandInServer(Handler)).url
        return open_store(
            "s3://bucket/x", Access(endpoint=endpoint, access_key="a", secret_key="b", region="us-east-1")
        )

    with contextlib.ExitStack() as servers:
        yield answer


def error(code: str, message: str = "no") -> bytes:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def asked(store: Store, failure: type[Exception]) -> set[str]:
    """What is said when the store is read, written, listed, asked and cleared."""
    said = set()
    calls = (
        lambda: store.read_bytes("key"),
        lambda: store.write_bytes("key", b"x"),
        lambda: store.exists("key"),
        store.entries,
        store.delete_all,
    )
    for call in calls:
        with pytest.raises(failure) as raised:
            call()
        said.add(str(raised.value))
    return said


@pytest.mark.parametrize(
    "status, code, remedy",
    [
        (400, "ExpiredToken", "get new temporary keys"),
        (400, "InvalidToken", "correct AWS_SESSION_TOKEN"),
        (400, "AuthorizationHeaderMalformed", "set AWS_REGION"),
        (301, "PermanentRedirect", "set S3_ENDPOINT and AWS_REGION"),
        (307, "TemporaryRedirect", "set S3_ENDPOINT and AWS_REGION"),
        (403, "AllAccessDisabled", "ask the store's administrator"),
        (403, "AccountProblem", "ask the store's administrator"),
        (403, "RequestTimeTooSkewed", "set this machine's clock right"),
        (403, "InvalidObjectState", "restore it first"),
        (405, "MethodNotAllowed", "check that S3_ENDPOINT"),
        (501, "NotImplemented", "check that S3_ENDPOINT"),
        (403, "AccessDenied", "check the bucket and the secret"),
        (400, "SomethingNew", "check the bucket and the secret"),
    ],
)
def test_what_no_retry_mends_is_bad_input_with_a_remedy(
    answering: Answering, status: int, code: str, remedy: str
) -> None:
    for said in asked(answering(status, "application/xml", error(code)), InputError):
        assert code in said and remedy in said


@pytest.mark.parametrize(
    "status, code",
    [
        *((503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable"), (429, "TooManyRequests")),
        *((400, "RequestTimeout"), (400, "BadDigest"), (400, "IncompleteBody"), (409, "OperationAborted")),
        # As a full disk of this machine.
        *((507, "InsufficientStorage"), (507, "XMinioStorageFull"), (403, "QuotaExceeded")),
    ],
)
def test_what_may_pass_is_a_temporary_fault(answering: Answering, status: int, code: str) -> None:
    for said in asked(answering(status, "application/xml", error(code)), TemporaryFaultError):
        assert code in said


HTML = b"<!DOCTYPE html><html><br>Sign in</html>"


@pytest.mark.parametrize(
    "status, kind, body, failure",
    [
        (403, "text/html", HTML, InputError),
        (404, "text/html", HTML, InputError),
        (404, "", b"", InputError),
        (400, "text/plain", b"Client sent an HTTP request to an HTTPS server.", InputError),
        (302, "text/html", HTML, InputError),
        (301, "", b"", InputError),
        (308, "", b"", InputError),
        (400, "application/xml", b"<html/>", InputError),
        (403, "application/xml", b"not XML at all", InputError),
        (400, "application/xml", b"\xff\xfe", InputError),
        (502, "text/html", HTML, TemporaryFaultError),
        (503, "", b"", TemporaryFaultError),
        (504, "text/html", HTML, TemporaryFaultError),
        (429, "text/plain", b"slow", TemporaryFaultError),
        (507, "", b"", TemporaryFaultError),
        (500, "application/xml", b"<what/>", TemporaryFaultError),
    ],
)
def test_what_is_not_s3s_is_one_line_with_the_right_status(
    answering: Answering, status: int, kind: str, body: bytes, failure: type[Exception]
) -> None:
    for said in asked(answering(status, kind, body), failure):
        assert said.isprintable() and len(said) < 400
        assert failure is TemporaryFaultError or "S3_ENDPOINT" in said


def test_a_page_in_place_of_a_listing_is_bad_input(answering: Answering) -> None:
    with pytest.raises(InputError, match="not S3's XML"):
        answering(200, "text/html", HTML).list()


def test_an_endless_message_is_cut_and_put_on_one_line(answering: Answering) -> None:
    store = answering(403, "application/xml", error("AccessDenied", "so \n" * 5000))
    with pytest.raises(InputError) as refusal:
        store.read_bytes("key")
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 400


def test_a_missing_object_is_told_from_a_missing_server(answering: Answering) -> None:
    store = answering(404, "application/xml", error("NoSuchKey"))
    assert not store.exists("key")
    with pytest.raises(KeyError):
        store.read_bytes("key")
