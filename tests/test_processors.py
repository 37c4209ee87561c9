"""The number of processors that a process may use."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datum.processors import PROCESSORS, processors

ALLOWED = len(os.sched_getaffinity(0))


def machine(root: Path, membership: str, limits: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": membership, **limits}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def test_affinity_counts_and_not_the_machine() -> None:
    script = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
    script += "from datum.datasets.convert import DEFAULT_WORKERS; print(DEFAULT_WORKERS)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "1"


@pytest.mark.parametrize(("named", "expected"), [("1", 1), ("0", 1), ("999", ALLOWED), ("many", ALLOWED)])
def test_no_more_than_the_process_was_given_count(
    named: str, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(PROCESSORS, named)
    assert processors(tmp_path) == expected


@pytest.mark.parametrize(
    ("membership", "limits"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "50000 100000"}),
        (
            "0::/pods/mine",
            {"sys/fs/cgroup/pods/cpu.max": "100000 100000", "sys/fs/cgroup/pods/mine/cpu.max": "max 100000"},
        ),
        ("0::/of/the/host", {"sys/fs/cgroup/cpu.max": "100000 100000"}),
        (
            "5:cpu,cpuacct:/pods/mine\n1:memory:/",
            {
                "sys/fs/cgroup/cpu,cpuacct/pods/mine/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu,cpuacct/pods/mine/cpu.cfs_period_us": "100000",
            },
        ),
        (
            "5:cpu,cpuacct:/of/the/host",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "20000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
        ),
    ],
    ids=["version 2", "a group above", "in a container", "version 1", "version 1 in a container"],
)
def test_the_quota_of_a_control_group_is_not_exceeded(
    tmp_path: Path, membership: str, limits: dict[str, str]
) -> None:
    assert processors(machine(tmp_path, membership, limits)) == 1


@pytest.mark.parametrize(
    ("membership", "limits"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}),
        ("0::/", {"sys/fs/cgroup/cpu.max": "100000000 100000"}),
        (
            "5:cpu:/",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
        ),
        ("0::/", {}),
    ],
    ids=["version 2", "more than there are", "version 1", "no such file"],
)
def test_without_a_quota_all_processors_of_the_affinity_count(
    tmp_path: Path, membership: str, limits: dict[str, str]
) -> None:
    assert processors(machine(tmp_path, membership, limits)) == ALLOWED


def test_a_process_that_was_started_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    script = (
        "import multiprocessing, os, sys, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from datum.processors import end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    pool = ProcessPoolExecutor(\n"
        "        1, mp_context=context, initializer=end_with_parent, initargs=(os.getpid(),)\n"
        "    )\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    (tmp_path / "starts.py").write_text(script)
    run = subprocess.run([sys.executable, tmp_path / "starts.py"], capture_output=True, text=True)
    child = Path("/proc", run.stdout.strip())
    ends = time.monotonic() + 10
    while child.exists() and time.monotonic() < ends:
        time.sleep(0.01)
    assert not child.exists()
