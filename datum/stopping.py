"""Stopping on SIGTERM, which a cluster sends before it takes a machine away, without losing work.

A command ends at once with status 75, except where it is `deferred`: a training then asks after each step
whether to stop, saves its state and raises `Stopped`. Whatever happens, the process ends before the signal
that cannot be caught.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

GRACE = 25.0
"""Seconds from SIGTERM to the end of the process at the latest. Kubernetes gives 30 by default."""

_asked = threading.Event()
_deferrals: list[Callable[[], None]] = []
_handled = False
_raised = False
_blocks = 0

_LATER = 0.01
"""Seconds after which a stop that nothing could be told of is raised again."""


class Stopped(BaseException):
    """The process was asked to stop: exit status 75. Not an `Exception`: nothing may take it for an error."""


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM raises `Stopped` in the block, and ends this process at once before and after it.

    From now on; its children keep the system's way. Only the main thread can say so; in another one nothing
    changes.
    """
    global _blocks
    _handle_signal()
    _blocks += 1
    try:
        yield
    finally:
        _blocks -= 1


def _handle_signal() -> None:
    global _handled
    if _handled or threading.current_thread() is not threading.main_thread():
        return
    _handled = True
    # At its end the interpreter gives signals back to the system while it still frees memory: what is
    # finished would look killed.
    atexit.register(signal.signal, signal.SIGTERM, signal.SIG_IGN)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # The interpreter writes here at once, also while the main thread is in a long computation.
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_in_time, args=(reading,), daemon=True).start()
    signal.signal(signal.SIGTERM, _on_signal)
    os.register_at_fork(after_in_child=_leave_to_system)
    sys.unraisablehook = _raise_later


def stop_asked() -> bool:
    """Whether the process was asked to stop."""
    return _asked.is_set()


@contextlib.contextmanager
def deferred(on_stop: Callable[[], None] = lambda: None) -> Iterator[None]:
    """SIGTERM does not break the block off: it calls `on_stop`, and the block asks `stop_asked` and raises
    `Stopped` itself, in seconds."""
    _raise_if_asked()
    _deferrals.append(on_stop)
    try:
        yield
    finally:
        _deferrals.pop()
    _raise_if_asked()


def _raise_if_asked() -> None:
    if stop_asked():
        raise Stopped("stopped")


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _raised
    _asked.set()
    if not _blocks:
        _end("stopped; the same command goes on from what is saved")
    for on_stop in _deferrals:
        on_stop()
    if not _deferrals and not _raised:
        _raised = True
        raise Stopped("stopped")


def _raise_later(
    ignored: "sys.UnraisableHookArgs", otherwise: Callable[..., object] = sys.unraisablehook
) -> None:
    """Where the signal came while Python ran a destructor or the like, which can raise nothing, such as the
    end of an import's lock: the signal is sent again."""
    global _raised
    if not isinstance(ignored.exc_value, Stopped):
        otherwise(ignored)
        return
    _raised = False
    later = threading.Timer(_LATER, signal.pthread_kill, (threading.main_thread().ident, signal.SIGTERM))
    later.daemon = True
    later.start()


def _end_in_time(signals: int) -> None:
    while signal.SIGTERM not in os.read(signals, 1):
        pass
    time.sleep(GRACE)
    _end("stopped; the same command goes on from what was saved before")


def _end(message: str) -> None:
    # Not by print, which may be in the middle of another line of this thread.
    os.write(2, f"datum: {message}\n".encode())
    os._exit(75)


def _leave_to_system() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
