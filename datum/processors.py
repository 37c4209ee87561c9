"""The processors that this process may use, which in a container or under `taskset` are fewer than the
machine's, and the processes that it starts on them."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

PROCESSORS = "DATUM_PROCESSORS"
"""Environment variable: the processors that this process was given, where the system does not hold it to
them. A pod that requests some and has no limit sees, and may take, every one of its node."""

_SET_PARENT_DEATH_SIGNAL = 1
"""From Linux's <sys/prctl.h>."""


def processors(root: Path = Path("/")) -> int:
    """Processors in this process's affinity, and no more than the quotas of its control groups pay for and
    than `PROCESSORS` names.

    `root` is where `proc` and `sys/fs/cgroup` are looked for.
    """
    # Where there is no affinity (macOS), there are no control groups either.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    named = os.environ.get(PROCESSORS, "")
    return max(1, min([allowed, *_quotas(root), *([int(named)] if named.isdecimal() else [])]))


def end_with_parent(parent: int) -> None:
    """Lets the system end this process when the process `parent` that started it ends, however it ends: one
    that outlived it would go on writing where the next one does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _quotas(root: Path) -> Iterator[int]:
    """Processors, rounded up, that each control group of this process with a limit pays for."""
    groups = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            mounts = [groups]
        elif "cpu" in controllers.split(","):
            mounts = [groups / controllers, groups / "cpu"]
        else:
            continue
        for mount in mounts:
            # A limit holds for all groups below. In a container the path may be the host's: its own group
            # is then the mount.
            folder = mount / group.strip("/")
            for place in (folder, *(parent for parent in folder.parents if parent.is_relative_to(mount))):
                # Version 2 has "<quota> <period>" in one file, version 1 has two files.
                words = _text(place / "cpu.max").split() or [
                    _text(place / f"cpu.cfs_{part}_us").strip() for part in ("quota", "period")
                ]
                if all(word.isdigit() for word in words) and int(words[1]) > 0:
                    yield -(-int(words[0]) // int(words[1]))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
