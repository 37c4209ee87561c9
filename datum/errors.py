"""The two kinds of failure that are not defects of ours, and the exit status of each."""

import contextlib
import sys
from collections.abc import Iterator

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
    """A fault that may pass (a store out of reach, a preempted machine): exit status 75 (EX_TEMPFAIL).

    State is saved, so that running the same command again resumes.
    """


@contextlib.contextmanager
def exit_status() -> Iterator[None]:
    """Ends the process with one line and the right status where the block raises one of the two errors, or
    is interrupted from the keyboard.

    Any other exception is a defect of ours and keeps its traceback (exit status 1).
    """
    try:
        yield
    except InputError as error:
        print(f"datum: {error}", file=sys.stderr, flush=True)
        sys.exit(BAD_INPUT)
    except TemporaryFaultError as error:
        print(f"datum: {error} (state is saved; the same command resumes)", file=sys.stderr, flush=True)
        sys.exit(TEMPORARY_FAULT)
    except KeyboardInterrupt:
        print("datum: interrupted; the same command goes on where this one was", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)
