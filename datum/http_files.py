"""One file by HTTP: resumed where it was cut off, and refused where it is not what was asked for."""

import http.client
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from datum.errors import InputError, TemporaryFaultError, one_line, shortened, status_may_pass
from datum.mistaken_files import mistaken
from datum.one_writer import in_turn
from datum.outputs import sha256
from datum.patience import persevere
from datum.telemetry import Progress, log

TIMEOUT = 30
"""Seconds that a server may be silent."""

_CHUNK = 2**16
_MB = 10**6
_SHOWN = 20 * _MB
"""Bytes from which progress is shown."""

_ELSEWHERE = "or download it by other means and name the file"


def download_file(named: str, url: str, file: Path, *, digest: str = "", token: str = "") -> None:
    """Downloads `url` to `file`, whole or not at all; what a cut connection or a killed process left beside
    it is gone on with. Proxies are those of the environment (`https_proxy`, `no_proxy`).

    `named` is what messages begin with; `digest` the beginning of the file's hexadecimal SHA-256, where it is
    known; `token` is sent to the server that `url` names, and to none that it leads to. Raises `InputError`
    where the server refuses, answers with a page, or sends something else than the digest says, and
    `TemporaryFaultError` where it stays out of reach.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with in_turn(_beside(file, "lock")):
        if file.exists():
            return
        transfer = _Transfer(named, url, _beside(file, "part"), bool(digest), token)
        while not persevere(f"download {file.name}", transfer.go_on):
            pass
        part = _beside(file, "part")
        found = sha256(part)
        if not found.startswith(digest):
            part.unlink()
            raise InputError(
                f"{named}: {url} gave a file of SHA-256 {found[:16]}…, expected {digest[:16]}…; try again, "
                f"{_ELSEWHERE}"
            )
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.rename(file)
        _beside(file, "version").unlink(missing_ok=True)


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(f"{file.name}.{ending}")


class _CutOffError(Exception):
    """The connection failed, or ended early."""


class _Transfer:
    """What has arrived of one file, in `part`, and of which version it is, in a file beside it."""

    def __init__(self, named: str, url: str, part: Path, checked: bool, token: str) -> None:
        self._named, self._url, self._part, self._checked, self._token = named, url, part, checked, token
        self._version = part.with_suffix(".version")
        self._furthest = self._size()
        self._progress: Progress | None = None

    def go_on(self) -> bool:
        """Asks for what is missing; whether all is there then. False where some of it came.

        Raises as `download_file` does, and `TemporaryFaultError` where nothing new came.
        """
        try:
            answer = self._asked()
            if self._size() and not self._continues(answer):
                self._part.unlink()
                if answer.status == 206:
                    answer.close()
                    answer = self._asked()
            with answer:
                self._receive(answer)
        except _CutOffError as cut:
            if self._size() <= self._furthest:
                raise TemporaryFaultError(
                    f"{self._named}: {self._url} {cut}; try again, {_ELSEWHERE}"
                ) from None
            self._furthest = self._size()
            log(f"{self._named}: {cut} after {self._size() / 1e6:.1f} MB; it goes on from there")
            return False
        return True

    def _asked(self) -> http.client.HTTPResponse:
        """The answer to a request for what is missing."""
        start = self._size()
        try:
            request = urllib.request.Request(self._url, headers={"User-Agent": "datum"})
            if start:
                request.add_header("Range", f"bytes={start}-")
            if self._token:
                request.add_unredirected_header("Authorization", f"Bearer {self._token}")
            # Made anew, since it keeps the proxies that it finds.
            answer: http.client.HTTPResponse = urllib.request.build_opener().open(request, timeout=TIMEOUT)
            return answer
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and start:
                self._part.unlink()
                return self._asked()
            raise self._refused(error.code) from None
        except (ValueError, http.client.InvalidURL) as error:
            raise InputError(
                f"{self._named}: {self._url} is no address ({_line(error)}), expected https://server/file"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise InputError(
                    f"{self._named}: {self._url} has a certificate that is not trusted "
                    f"({cause.verify_message}); name the authority's file by SSL_CERT_FILE"
                ) from None
            raise _CutOffError(f"is out of reach ({_line(cause)})") from None

    def _refused(self, status: int) -> Exception:
        if status_may_pass(status):
            return _CutOffError(f"answers {status}")
        said = f"{self._named}: {self._url} answers {status}"
        if status in (401, 403, 407):
            return InputError(
                f"{said}: it is not open to everybody; accept its terms and set HF_TOKEN where it is on the "
                f"hub, {_ELSEWHERE}"
            )
        return InputError(f"{said}: there is no such file; check the address, {_ELSEWHERE}")

    def _continues(self, answer: http.client.HTTPResponse) -> bool:
        """Whether `answer` goes on where the part ends, and is of the same version."""
        known = self._version.read_text(encoding="utf-8") if self._version.exists() else ""
        return (
            answer.status == 206
            and answer.headers.get("Content-Range", "").startswith(f"bytes {self._size()}-")
            and _version_of(answer) == known
            and bool(known or self._checked)
        )

    def _receive(self, answer: http.client.HTTPResponse) -> None:
        """Adds what `answer` brings, to the end of the file; raises `_CutOffError` where it ends before."""
        total = _total(answer)
        if total is None and not self._checked:
            raise InputError(
                f"{self._named}: {self._url} does not say how large the file is, so that a part of it would "
                f"pass for the whole; add #sha256= and its digest, {_ELSEWHERE}"
            )
        self._version.write_text(_version_of(answer), encoding="utf-8")
        with self._part.open("ab") as stream:
            if total and total > _SHOWN and self._progress is None:
                done = stream.tell() // _MB
                self._progress = Progress(f"download {self._part.stem}", total // _MB, unit="MB", done=done)
            while data := _read(answer):
                if not stream.tell():
                    self._require_weights(data)
                before = stream.tell() // _MB
                stream.write(data)
                if self._progress and (grown := stream.tell() // _MB - before):
                    self._progress.advance(grown)
        if total is not None and self._size() != total:
            raise _CutOffError("was cut off")

    def _require_weights(self, beginning: bytes) -> None:
        if what := mistaken(beginning):
            raise InputError(
                f"{self._named}: {self._url} gives {what} and no weights; open it in a browser to see what "
                f"it says, {_ELSEWHERE}"
            )

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _CutOffError(f"was cut off ({_line(error) or type(error).__name__})") from None


def _version_of(answer: http.client.HTTPResponse) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def _total(answer: http.client.HTTPResponse) -> int | None:
    """Bytes of the whole file; None where the server does not say."""
    if answer.status == 206:
        text = answer.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        text = answer.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _line(error: BaseException | str) -> str:
    return shortened(one_line(str(error)), 200)
