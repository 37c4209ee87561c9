"""What an S3 client raises, as one of ours: what passes, what no retry mends, and what is not there.

Both kinds of message are one line with the server's own code, and name the remedy.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from datum.errors import InputError, TemporaryFaultError, status_may_pass

if TYPE_CHECKING:
    from minio.error import S3Error

MISSING_CODES = frozenset({"NoSuchKey", "NoSuchObject"})
"""S3 error codes of an object that is not there."""

KEY_CODES = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
)
"""S3 error codes of keys that the server does not take, which other keys mend."""

LOST_UPLOAD_CODES = frozenset({"NoSuchUpload", "InvalidPart"})
"""S3 error codes of an upload in parts that the server knows no more: it is begun anew."""

PASSING_CODES = frozenset(
    {
        # The bytes were changed or cut short on their way.
        *("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
        *("IncompleteBody", "RequestTimeout", "MissingContentLength"),
        # Another request was faster.
        *("OperationAborted", "ConditionalRequestConflict"),
        *("SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"),
        # As on a full disk of this machine: somebody makes room.
        *("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"),
    }
)
"""S3 error codes that may pass although their HTTP status is that of a wrong request."""

CONFLICT = 409
"""HTTP status of a store where another request was faster, beside those that may pass anywhere."""

REMEDIES = {
    "RequestTimeTooSkewed": "set this machine's clock right",
    "ExpiredToken": "get new temporary keys",
    "InvalidToken": "correct AWS_SESSION_TOKEN, or leave it out for keys that are not temporary",
    "TokenRefreshRequired": "get new temporary keys",
    "AuthorizationHeaderMalformed": "set AWS_REGION to the bucket's region",
    "PermanentRedirect": "set S3_ENDPOINT and AWS_REGION to those of the bucket's region",
    "TemporaryRedirect": "set S3_ENDPOINT and AWS_REGION to those of the bucket's region",
    "Redirect": "set S3_ENDPOINT and AWS_REGION to those of the bucket's region",
    "IllegalLocationConstraintException": "set S3_ENDPOINT and AWS_REGION to those of the bucket's region",
    "AllAccessDisabled": "ask the store's administrator why the bucket is closed",
    "AccountProblem": "ask the store's administrator about the account",
    "InvalidObjectState": "the object is archived; restore it first",
    "EntityTooLarge": "the store takes no object of this size; raise its limit",
    "MethodNotAllowed": "check that S3_ENDPOINT is an S3 endpoint and permits reading and writing",
    "NotImplemented": "check that S3_ENDPOINT is an S3 endpoint and permits reading and writing",
    "InvalidArgument": "check that the store supports S3 with signatures of version 4",
    "KeyTooLongError": "name a shorter prefix",
}
"""What the user does about an error code that no retry mends; by default check the bucket and the secret."""

_NO_S3 = "check that S3_ENDPOINT is an S3 endpoint, and that no proxy answers in its place"


class FinalAnswerError(InputError):
    """The server answered with what no retry mends, unless the answer was changed on its way."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def as_our_errors(where: str, *, keys_may_change: bool = False) -> Iterator[None]:
    """Turns what the client raises about `where` into `KeyError`, `FinalAnswerError`, `InputError` or
    `TemporaryFaultError`.

    `keys_may_change` says that the keys are read from files that somebody else renews.
    """
    from minio.error import InvalidResponseError, S3Error, ServerError
    from urllib3.exceptions import HTTPError, InvalidHeader, LocationValueError, SSLError

    try:
        yield
    except S3Error as error:
        raise _of_code(where, error, keys_may_change) from None
    except InvalidResponseError as error:
        # The client keeps the status and the kind of content to itself.
        status, kind, _ = error.__reduce__()[1]
        raise _of_status(where, int(status), f"{kind or 'nothing'}, not S3's XML") from None
    except ServerError as error:
        raise _of_status(where, error.status_code, "no S3 error code") from None
    except (ParseError, UnicodeDecodeError) as error:
        raise FinalAnswerError(f"{where}: the answer is not S3's XML ({_short(error)}); {_NO_S3}") from None
    except SSLError as error:
        raise _of_certificate(where, error) from None
    except (LocationValueError, InvalidHeader) as error:
        raise InputError(f"{where}: S3_ENDPOINT cannot be asked: {_short(error)}; correct it") from None
    except HTTPError as error:
        raise TemporaryFaultError(f"{where}: store out of reach: {_short(error)}") from None


def _of_code(where: str, error: S3Error, keys_may_change: bool) -> Exception:
    code, status = error.code, int(error.response.status)
    if code is None:
        return _of_status(where, status, "XML that is not S3's")
    said = f"{where}: {code}" + (f": {_short(error.message)}" if error.message else "")
    if code in MISSING_CODES:
        return KeyError(where)
    if keys_may_change and code in KEY_CODES:
        return TemporaryFaultError(f"{said} (the mounted keys may be renewed)")
    if (code in PASSING_CODES or _may_pass(status)) and code not in REMEDIES:
        return TemporaryFaultError(said)
    return FinalAnswerError(f"{said}; {REMEDIES.get(code, 'check the bucket and the secret')}", code)


def _of_status(where: str, status: int, what: str) -> Exception:
    """The error of an answer without an S3 error code."""
    names = {entry.value: f"{entry.value} {entry.phrase}" for entry in HTTPStatus}
    said = f"{where}: answered {names.get(status, status)} with {what}"
    if _may_pass(status):
        return TemporaryFaultError(said)
    return FinalAnswerError(f"{said}; {_NO_S3}")


def _may_pass(status: int) -> bool:
    return status == CONFLICT or status_may_pass(status)


def _of_certificate(where: str, error: Exception) -> Exception:
    cause = error.args[0] if error.args else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return InputError(
            f"{where}: the server's certificate is not trusted ({cause.verify_message}); name the file of "
            "its authority's certificate by AWS_CA_BUNDLE or SSL_CERT_FILE"
        )
    if "WRONG_VERSION_NUMBER" in str(error) or "record layer failure" in str(error):
        return InputError(f"{where}: the server does not speak TLS there; write S3_ENDPOINT with http://")
    return TemporaryFaultError(f"{where}: store out of reach: {_short(error)}")


def _short(what: object) -> str:
    """On one line, and not endless: servers and proxies may answer anything."""
    text = " ".join(str(what).split())
    return text if len(text) <= 160 else f"{text[:160]}…"
