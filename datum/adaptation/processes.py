"""The processes of one machine that share a training, each with a GPU of its own where there are any.

The one that the training was begun in is the first, and the only one that reads states, validates, logs,
saves and writes: it stops, fails and resumes as one alone does. The others help with its steps. They end with
it, also where it is killed, and where one of them cannot go on it fails with that one's error.
"""

import contextlib
import datetime
import functools
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn

from datum.errors import BAD_INPUT, TEMPORARY_FAULT, InputError, TemporaryFaultError, explained, one_line
from datum.global_batch import process_count
from datum.telemetry import log

SETTING = "adaptation.processes"

LONGEST_WAIT = datetime.timedelta(hours=2)
"""How long a process waits for another: helpers do while the first one resumes and validates."""

_NOTICED = 5.0
"""Seconds in which the first process fails by itself where a helper has failed, or else is made to."""

_LONGEST_VALIDATION = 600.0
"""Seconds in which it comes to where it fails, at the latest."""

_LOOKED_AFTER = 0.5
"""Seconds between two looks whether helpers live."""

_BEGUN, _READY, _DONE = "begun", "ready", "done"
"""How far a helper is, as it reports itself; in the end it may report an error."""

Report = str | Exception


def require_gpus(processes: int, device: torch.device) -> None:
    """Raises `InputError` where each of the processes is to have a GPU, and there are fewer."""
    gpus = torch.cuda.device_count() if device.type == "cuda" else processes
    if processes > gpus:
        raise InputError(
            f"{SETTING}={processes}: {gpus} GPUs are visible, expected one for each process; set "
            f"{SETTING}={gpus}, or make more visible (CUDA_VISIBLE_DEVICES)"
        )


@contextlib.contextmanager
def helped(processes: int, device: torch.device, help: Callable[[torch.device], None]) -> Iterator[None]:
    """While the block runs, `help` runs in `processes` - 1 further processes, and all are one group of
    `torch.distributed`; `help` can be pickled, and is given its process's device.

    Raises, in place of the block's error, that of the helper which caused it.
    """
    if processes == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="datum-") as folder:
        join = functools.partial(_joined, processes, device.type == "cpu", Path(folder) / "meeting")
        helpers = _Helpers(processes, join, help)
        try:
            helpers.wait_until_ready()
            log(f"adapt: {processes} processes share each batch")
            with join(0):
                yield
            helpers.wait_until_done()
        except Exception as error:
            # Its own fault has an explanation; any other may come of a helper that is gone.
            cause = None if explained(error) else helpers.failure()
            if cause is None or cause is error:
                raise
            raise cause from error
        finally:
            helpers.end()


def begin_alike(networks: Sequence[nn.Module], optimizer: torch.optim.Optimizer, iteration: int) -> int:
    """Gives every process the weights of `networks`, the moments of `optimizer` and the iteration of the
    first; returns the iteration."""
    if process_count() == 1:
        return iteration
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moved = [number for number, p in enumerate(parameters) if p in optimizer.state]
    told: list[Any] = [iteration, moved]
    torch.distributed.broadcast_object_list(told, device=torch.device("cpu"))
    iteration, moved = told
    tensors = [tensor for network in networks for tensor in network.state_dict().values()]
    for parameter in (parameters[number] for number in moved):
        moments = optimizer.state[parameter]
        if not moments:
            steps = torch.zeros((), dtype=torch.float32, device=parameter.device)
            moments |= {"step": steps, "exp_avg": torch.zeros_like(parameter.detach())}
            moments["exp_avg_sq"] = torch.zeros_like(parameter.detach())
        tensors += [moments["step"], moments["exp_avg"], moments["exp_avg_sq"]]
    for tensor in tensors:
        torch.distributed.broadcast(tensor, 0)
    return iteration


class _Helpers:
    """The processes that help, and a thread that waits for what they report."""

    def __init__(
        self,
        processes: int,
        join: Callable[[int], contextlib.AbstractContextManager[torch.device]],
        help: Callable[[torch.device], None],
    ) -> None:
        # Not forked: CUDA works in no fork of a process that has used it.
        context = multiprocessing.get_context("spawn")
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._reports: dict[int, list[Report]] = {rank: [_BEGUN] for rank in range(1, processes)}
        self._news, self._over = threading.Condition(), threading.Event()
        readers: dict[Connection, int] = {}
        for rank in range(1, processes):
            reader, writer = context.Pipe(duplex=False)
            process = context.Process(target=_run_helper, args=(rank, join, help, writer))
            with _signals_held_back():
                process.start()
            writer.close()
            self._processes.append(process)
            readers[reader] = rank
        threading.Thread(target=self._listen, args=(readers,), name="helpers", daemon=True).start()

    def wait_until_ready(self) -> None:
        """Raises what a helper fails with before it is ready."""
        self._wait(_READY)

    def wait_until_done(self) -> None:
        """Raises what a helper fails with before it is done."""
        self._wait(_DONE)

    def failure(self) -> Exception | None:
        """What a helper has failed with, or fails with now."""
        with self._news:
            self._news.wait_for(self._failures, _NOTICED)
            return self._first_failure()

    def end(self) -> None:
        """Ends all helpers, at once where they are not done."""
        self._over.set()
        for process in self._processes:
            process.kill()
            process.join()

    def _wait(self, report: Report) -> None:
        with self._news:
            self._news.wait_for(lambda: self._failures() or all(report in r for r in self._reports.values()))
            if failure := self._first_failure():
                raise failure

    def _failures(self) -> list[Exception]:
        reports = (report for reports in self._reports.values() for report in reports)
        return [report for report in reports if isinstance(report, Exception)]

    def _first_failure(self) -> Exception | None:
        """The one that is the user's to know: where a helper ends, others fail for want of it."""
        return min(self._failures(), key=lambda error: explained(error) is None, default=None)

    def _listen(self, readers: dict[Connection, int]) -> None:
        while not self._over.is_set():
            for reader in wait(list(readers), _LOOKED_AFTER):
                assert isinstance(reader, Connection)
                try:
                    self._add(readers[reader], reader.recv())
                except EOFError:
                    del readers[reader]
            # Not told by a connection that ends: what the helper has started may hold it for a while.
            dead = [rank for rank, process in enumerate(self._processes, start=1) if process.exitcode]
            unread = [rank for reader, rank in readers.items() if reader.poll()]
            for rank in dead:
                if rank not in unread and self._reports[rank][-1] in (_BEGUN, _READY):
                    self._add(rank, self._died(rank))

    def _died(self, rank: int) -> TemporaryFaultError:
        return TemporaryFaultError(
            f"{SETTING}: process {rank + 1} of {len(self._processes) + 1} died; where it happens again, give "
            "the machine more memory, or set fewer processes"
        )

    def _add(self, rank: int, report: Report) -> None:
        with self._news:
            self._reports[rank].append(report)
            self._news.notify_all()
        if isinstance(report, Exception):
            threading.Thread(target=self._end_if_stuck, args=(report,), daemon=True).start()

    def _end_if_stuck(self, failure: Exception) -> None:
        """Processors notice that another one is gone, and a GPU waits for ever: what it waits for is broken
        off, and where the first process does not come to its end then, the process."""
        if self._over.wait(_NOTICED):
            return
        _break_off()
        if self._over.wait(_LONGEST_VALIDATION):
            return
        os.write(2, f"datum: {one_line(str(failure))}\n".encode())
        os._exit(BAD_INPUT if isinstance(failure, InputError) else TEMPORARY_FAULT)


def _run_helper(
    rank: int,
    join: Callable[[int], contextlib.AbstractContextManager[torch.device]],
    help: Callable[[torch.device], None],
    reports: Connection,
) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # The first process says what there is to say.
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    try:
        reports.send(_READY)
        with join(rank) as device:
            help(device)
        reports.send(_DONE)
    except Exception as error:
        reports.send(explained(error) or RuntimeError("".join(traceback.format_exception(error))))
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextlib.contextmanager
def _joined(processes: int, cpu: bool, meeting: Path, rank: int) -> Iterator[torch.device]:
    """Makes this process, the one of `rank`, part of the group that meets at the file `meeting`; yields its
    device."""
    from accelerate.state import AcceleratorState, PartialState

    # One state for the whole process: what a personalization has left there would be taken for this group.
    AcceleratorState._reset_state(reset_partial_state=True)
    # A group that failed while it met is counted for ever, and the next would wait under another number than
    # the processes that it is to meet.
    torch.distributed.distributed_c10d._world.group_count = 0
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    # Else accelerate chooses the number of threads.
    numbers["OMP_NUM_THREADS"] = torch.get_num_threads()
    changes = {name: str(number) for name, number in numbers.items()}
    if "lo" in (name for _, name in socket.if_nameindex()):
        # Nobody outside of the machine is to be talked with.
        changes["GLOO_SOCKET_IFNAME"] = "lo"
    with _environment(changes):
        state = PartialState(
            cpu=cpu,
            # What the processors tell each other asks no GPU.
            backend="gloo" if cpu else "cuda:nccl,cpu:gloo",
            init_method=f"file://{meeting}",
            rank=rank,
            world_size=processes,
            timeout=LONGEST_WAIT,
        )
    try:
        yield state.device
    except BaseException:
        _break_off()
        raise
    finally:
        with contextlib.suppress(Exception):
            state.destroy_process_group()
        PartialState._reset_state()


def _break_off() -> None:
    """What GPUs wait for each other for fails at once. The group stays one: nobody may take its part of a
    batch for the whole."""
    with contextlib.suppress(Exception):
        group = torch.distributed.distributed_c10d._get_default_group()
        group._get_backend(torch.device("cuda")).abort()


@contextlib.contextmanager
def _environment(changes: dict[str, str]) -> Iterator[None]:
    """The environment with `changes`, which accelerate reads and adds to, while the block runs."""
    before = dict(os.environ)
    os.environ |= changes
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process that starts in the block is never ended by a stop of the whole group of processes: the first
    one is stopped, and ends it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
