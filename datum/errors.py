"""The two kinds of failure that are not defects of ours, and the exit status of each."""

import contextlib
import errno
import sys
from collections.abc import Iterator

from datum.stopping import Stopped, stoppable

BAD_INPUT = 2
"""Exit status: the input is wrong; a retry does not help."""
TEMPORARY_FAULT = 75
"""Exit status (EX_TEMPFAIL): a fault that may pass; a retry resumes."""

INTERRUPTED = 130
"""Exit status, as a shell gives it, of a command stopped from the keyboard."""


class InputError(Exception):
    """The user's input is wrong: exit status 2.

    The message is one line that names the file or the setting, what was found, what was expected and
    the remedy. It is raised before anything is written.
    """


class TemporaryFaultError(Exception):
    """A fault that may pass (a store out of reach, a full disk): exit status 75 (EX_TEMPFAIL).

    Running the same command again goes on from what was saved.
    """


PASSING_ERRORS = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota of disk space is used up; make room",
    errno.EIO: "the disk or the network does not answer",
    errno.ESTALE: "the file system was mounted anew",
    errno.ENOMEM: "there is not enough memory; end other programs",
    errno.ENFILE: "the machine has too many open files",
    errno.ETIMEDOUT: "the file system does not answer",
    errno.EHOSTDOWN: "the file system does not answer",
    errno.ETXTBSY: "another process works on it",
}
"""Errors of the system that the same command may not meet again, and what is said of each."""

LASTING_ERRORS = {
    errno.EACCES: "permission denied; change the permissions or name another place",
    errno.EPERM: "the file system or its owner does not permit this; name another place",
    errno.EROFS: "is on a disk that cannot be written to; name another place",
    errno.ENAMETOOLONG: "the name is too long; name a shorter one",
    errno.ELOOP: "is a link that leads to itself; name another place",
    errno.EMFILE: "this process may not open so many files; raise `ulimit -n`",
    errno.EFBIG: "the file system takes no file of this size; name another disk",
    errno.ENOTDIR: "a part of the path is a file and no folder; name another place",
    errno.ENXIO: "is no plain file; name another",
    errno.EINVAL: "the file system takes no such name; name another place",
    errno.EILSEQ: "the file system takes no such name; name another place",
}
"""Errors of the system that only the user can mend, and what is said of each."""

_OWN = ("datum", "components", "pipelines")
"""Packages of ours; one that lacks a module is a defect."""
_FULL_DISK_IN_WORDS = ("code: 28", "No space left on device", "PytorchStreamWriter failed", "unexpected pos")
"""How safetensors and PyTorch say ENOSPC, whose errors have no number."""
_SHARED_MEMORY_IN_WORDS = ("shared memory (shm)", "</torch_", "unable to allocate shared memory")
"""How PyTorch says that /dev/shm is full."""
_MEMORY_IN_WORDS = ("can't allocate memory", "std::bad_alloc", "Unable to allocate", "not enough memory")
"""How PyTorch and NumPy say that memory is used up."""


_PASSING_STATUSES = (408, 423, 425, 429)
_LASTING_STATUSES = (501, 505, 508, 510, 511)


def status_may_pass(status: int) -> bool:
    """Whether a server that answers with this HTTP status may take the same request later: it is busy,
    restarting, or at fault itself (RFC 9110, 4918 and 6585)."""
    return status in _PASSING_STATUSES or (status >= 500 and status not in _LASTING_STATUSES)


def explained(error: BaseException) -> InputError | TemporaryFaultError | None:
    """What is said of an error of the machine (disk, memory, permissions), which may be the cause of `error`;
    None for a defect of ours."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, (InputError, TemporaryFaultError)):
            return cause
        if found := _of_machine(cause):
            return found
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def _of_machine(error: BaseException) -> InputError | TemporaryFaultError | None:
    text = str(error)
    if isinstance(error, OSError):
        where = _shown(error.filename2 or error.filename) or "disk"
        if error.errno in PASSING_ERRORS:
            return TemporaryFaultError(f"{where}: {PASSING_ERRORS[error.errno]}")
        if error.errno in LASTING_ERRORS and error.filename is not None:
            return InputError(f"{where}: {LASTING_ERRORS[error.errno]}")
    if isinstance(error, ModuleNotFoundError):
        library = (error.name or text).partition(".")[0]
        if library not in _OWN:
            return InputError(
                f"{library}: is not installed here; `make demo` installs what this command needs, as does "
                "pip install 'datum[all]'"
            )
    if any(words in text for words in _SHARED_MEMORY_IN_WORDS):
        return InputError(
            "/dev/shm: is too small for the loading processes; give it more room (docker: --shm-size) or set "
            "adaptation.workers=0"
        )
    if any(words in text for words in _FULL_DISK_IN_WORDS):
        return TemporaryFaultError(f"disk: {PASSING_ERRORS[errno.ENOSPC]}")
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return InputError(
            "memory of the GPU: is used up; end other programs on it, or lower the crop, the batch size or "
            "the precision"
        )
    if isinstance(error, MemoryError) or any(words in text for words in _MEMORY_IN_WORDS):
        return TemporaryFaultError(f"memory: {PASSING_ERRORS[errno.ENOMEM]} or use a machine with more")
    return None


def _shown(name: object) -> str:
    if isinstance(name, bytes):
        name = name.decode(errors="backslashreplace")
    return one_line(str(name)) if isinstance(name, str) else ""


def one_line(text: str) -> str:
    """`text` as a terminal can show it: in one line, other characters escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


def shortened(text: str, length: int = 100) -> str:
    """`text`, or its beginning where it is longer than a message should be."""
    return text if len(text) <= length else f"{text[:length]}…"


@contextlib.contextmanager
def exit_status() -> Iterator[None]:
    """Ends the process with one line and the right status where the block raises one of the two errors, meets
    a fault of the machine, is stopped by SIGTERM or interrupted from the keyboard.

    Any other exception is a defect of ours and keeps its traceback (exit status 1).
    """
    try:
        with stoppable():
            yield
    except KeyboardInterrupt:
        _end("interrupted; the same command goes on where this one was", INTERRUPTED)
    except Stopped as stopped:
        _end(f"{stopped}; the same command goes on from what is saved", TEMPORARY_FAULT)
    except Exception as error:
        found = explained(error)
        if isinstance(found, InputError):
            _end(str(found), BAD_INPUT)
        if isinstance(found, TemporaryFaultError):
            _end(f"{found}; the same command then goes on from what is saved", TEMPORARY_FAULT)
        raise


def _end(message: str, status: int) -> None:
    print(f"datum: {one_line(shortened(message, 1000))}", file=sys.stderr, flush=True)
    sys.exit(status)
