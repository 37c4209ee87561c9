"""Work on many things at once.

All threads are daemons, so that a process that is interrupted or stopped does not wait for them.
"""

import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from typing import TypeVar

from datum.telemetry import Progress

THREADS = 16
"""Files on their way at once: an image takes its time in round trips, not in bytes."""

_MEGABYTE = 10**6

Item = TypeVar("Item")
Result = TypeVar("Result")


def at_once(description: str, sizes: Mapping[str, int], work: Callable[[str], None]) -> None:
    """Calls `work` with every name, `THREADS` at once, and shows files, MB and time left.

    The first exception ends it: the other threads stop after the file that they are at.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[str, BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                work(name)
            except BaseException as error:
                finished.put((name, error))
            else:
                finished.put((name, None))

    for name in sizes:
        waiting.put(name)
    total = math.ceil(sum(sizes.values()) / _MEGABYTE)
    # Small files take their time one by one: bytes would say nothing of what is left.
    small = total < len(sizes)
    progress = Progress(description, len(sizes) if small else total, unit="files" if small else "MB")
    megabytes = size = 0
    try:
        for _ in range(min(THREADS, len(sizes))):
            threading.Thread(target=run, daemon=True).start()
        for done in range(1, len(sizes) + 1):
            name, error = finished.get()
            if error:
                raise error
            size += sizes[name]
            whole = math.ceil(size / _MEGABYTE) if done == len(sizes) else size // _MEGABYTE
            note = f"{whole}/{total} MB" if small else f"{done}/{len(sizes)} files"
            progress.advance(1 if small else whole - megabytes, note=note)
            megabytes = whole
    finally:
        stop.set()


def in_order(work: Callable[[Item], Result], items: Iterable[Item], ahead: int) -> Iterator[Result]:
    """The results of `work`, in the order of `items`; at most `ahead` are begun before they are taken."""
    begun: deque[Future[Result]] = deque()
    for item in items:
        if len(begun) == ahead:
            yield begun.popleft().result()
        begun.append(_begun(work, item))
    while begun:
        yield begun.popleft().result()


def ahead(items: Iterable[Item], most: int) -> Iterator[Item]:
    """`items`, of which another thread computes at most `most` before they are taken."""
    ready: queue.SimpleQueue[tuple[Item] | BaseException | None] = queue.SimpleQueue()
    free, stop = threading.Semaphore(most - 1), threading.Event()

    def run() -> None:
        try:
            for item in items:
                ready.put((item,))
                free.acquire()
                if stop.is_set():
                    return
        except BaseException as error:
            ready.put(error)
        else:
            ready.put(None)

    threading.Thread(target=run, daemon=True).start()
    try:
        while (entry := ready.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            free.release()
            yield entry[0]
    finally:
        stop.set()
        free.release()


def together(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """The results of `work`, in the order of `items`; `threads` are worked on at once.

    The first exception ends it: nothing more is begun.
    """
    begun: list[Future[Result]] = []
    failed: list[Future[Result]] = []
    free = threading.Semaphore(threads)

    def finished(future: Future[Result]) -> None:
        if future.exception():
            failed.append(future)
        free.release()

    for item in items:
        free.acquire()
        if failed:
            break
        future = _begun(work, item)
        begun.append(future)
        future.add_done_callback(finished)
    return [future.result() for future in failed[:1] or begun]


def _begun(work: Callable[[Item], Result], item: Item) -> Future[Result]:
    future: Future[Result] = Future()

    def run() -> None:
        try:
            result = work(item)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, daemon=True).start()
    return future
