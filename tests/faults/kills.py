"""Kills a stage at random moments and starts it again, and says what came of it."""

import dataclasses
import json
import random
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.faults.world import Stage, snapshot

IN_A_ROW = 3
"""Kills before the command may run to its end: a run that goes on from a killed one is killed too."""
STOPPED, LONGEST_STOP = 75, 30
"""Exit status of a stage that SIGTERM ends, and the seconds it may take."""
ORPHANS_LIVE = 20
"""Seconds that helpers of a killed process may live on."""
STARTING = 2.0
"""Seconds in which Python itself may still be starting, and a signal end it."""


@dataclasses.dataclass
class Tally:
    """What became of one stage."""

    stage: str
    signal: str
    kills: int = 0
    endings: int = 0
    """Times that the command ran to its end after kills."""
    identical: int = 0
    resumable: int = 0
    """Runs that found saved state, or finished parts."""
    resumed: int = 0
    """Those that repeated no work from before it."""
    slowest: float = 0.0
    """Seconds from a signal to the end."""
    problems: list[str] = dataclasses.field(default_factory=list)

    HEADING = (
        f"{'stage':<14}{'signal':<9}{'kills':>6}{'endings':>9}{'identical':>11}{'resumed':>10}{'slowest':>9}"
        "  debris and problems"
    )

    def holds(self) -> bool:
        """Whether all is as it must be."""
        return not self.problems and self.identical == self.endings and self.resumed == self.resumable

    def row(self) -> str:
        """A line below `HEADING`."""
        return (
            f"{self.stage:<14}{self.signal:<9}{self.kills:>6}{self.endings:>9}{self.identical:>11}"
            f"{f'{self.resumed}/{self.resumable}':>10}{self.slowest:>8.1f}s  "
            f"{'; '.join(dict.fromkeys(self.problems)) or '-'}"
        )


@dataclasses.dataclass(frozen=True)
class Uninterrupted:
    """A stage's run that nobody disturbs."""

    snapshot: dict[str, str]
    seconds: float
    operations: int
    """Operations that change files."""
    bytes_written: int
    """What lies in the place in the end, on a disk of pages of 4 kB."""


_undisturbed: dict[Path, Uninterrupted] = {}


def run_undisturbed(stage: Stage, logs: Path) -> Uninterrupted:
    """What a run gives that nobody disturbs, how long it takes and how many operations it has. It is run once
    for each place."""
    if stage.place not in _undisturbed:
        _undisturbed[stage.place] = _run_undisturbed(stage, logs)
    return _undisturbed[stage.place]


def _run_undisturbed(stage: Stage, logs: Path) -> Uninterrupted:
    stage.fresh()
    logs.mkdir(parents=True, exist_ok=True)
    log, count = logs / f"{stage.name}.whole.log", logs / f"{stage.name}.count"
    began = time.monotonic()
    status = stage.run(log, DATUM_FAULT_COUNT=str(count))
    if status != 0:
        raise RuntimeError(f"{stage.name}: exit status {status}\n{log.read_text()[-2000:]}")
    seconds, written = time.monotonic() - began, bytes_below(stage.place)
    return Uninterrupted(snapshot(stage.place), seconds, int(count.read_text()), written)


def try_kills(stage: Stage, kills: int, *, how: signal.Signals, seed: int, logs: Path) -> Tally:
    """Kills `stage` so many times, a few times in a row, and compares what comes out in the end.

    Half of the kills by SIGKILL come at a random time, half just before a random operation on a file, where
    what is left behind differs from one to the next. SIGTERM comes at a random time. The process is killed
    alone: its helpers have to notice.
    """
    whole = run_undisturbed(stage, logs)
    rng = random.Random(f"{stage.name} {how.name} {seed}")
    tally = Tally(stage.name, how.name)
    groups: list[int] = []
    while tally.kills < kills:
        stage.fresh()
        for _ in range(min(IN_A_ROW, kills - tally.kills)):
            log = logs / f"{stage.name}.{how.name}.{tally.kills}.log"
            before = _Saved(stage)
            killed = _kill(stage, whole, how, rng, log, tally, groups)
            before.judge(log, tally, ran_to_its_end=not killed)
            if not killed:
                break
            tally.kills += 1
        log = logs / f"{stage.name}.{how.name}.{tally.kills}.end.log"
        before = _Saved(stage)
        status = stage.run(log)
        if status:
            tally.problems.append(f"{log.name}: exit {status}, {last_line(log)}")
        before.judge(log, tally, ran_to_its_end=True)
        tally.endings += 1
        _judge_result(stage, whole, log, tally)
    _judge_orphans(groups, tally)
    return tally


def _kill(
    stage: Stage,
    whole: Uninterrupted,
    how: signal.Signals,
    rng: random.Random,
    log: Path,
    tally: Tally,
    groups: list[int],
) -> bool:
    """Starts the stage and kills it, unless it ends before; whether it was killed."""
    if how is signal.SIGKILL and rng.random() < 0.5:
        process = stage.start(log, DATUM_FAULT_KILL_AT=str(rng.randint(1, whole.operations)))
        groups.append(process.pid)
        return process.wait(timeout=300) == -signal.SIGKILL
    # Late moments are likelier: the first seconds of most stages go by with imports.
    moment = rng.triangular(0, whole.seconds, whole.seconds)
    process = stage.start(log)
    groups.append(process.pid)
    try:
        process.wait(timeout=moment)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(how)
    sent = time.monotonic()
    status = process.wait(timeout=300)
    seconds = time.monotonic() - sent
    if how is signal.SIGKILL:
        return True
    tally.slowest = max(tally.slowest, seconds)
    starting = moment < STARTING and status == -how
    if status not in (0, STOPPED) and not starting:
        tally.problems.append(f"{log.name}: exit {status} after {moment:.1f}s, {last_line(log)}")
    elif seconds > LONGEST_STOP:
        tally.problems.append(f"{log.name}: stopped after {seconds:.0f}s")
    elif "Traceback" in log.read_text(errors="replace"):
        tally.problems.append(f"{log.name}: a traceback")
    return status != 0


class _Saved:
    """What a killed run has left for the next to go on from."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        records = stage.place.glob(stage.state) if stage.state else ()
        steps = [int(re.findall(r"\d+", path.name)[-1]) for path in records]
        self._step = max(steps, default=None)
        self._files = {path.name: path.stat().st_ino for path in self._results()}

    def judge(self, log: Path, tally: Tally, *, ran_to_its_end: bool) -> None:
        """Looks whether the run that printed to `log` went on from there."""
        said = re.findall(self._stage.resuming, log.read_text(errors="replace")) if self._step else []
        if self._step and (said or ran_to_its_end):
            tally.resumable += 1
            # At a later step where the work after the state was whole too.
            resumed = len(said) == 1 and int(said[0]) >= self._step
            tally.resumed += resumed
            if not resumed:
                tally.problems.append(f"{log.name}: state of step {self._step}, resumed at {said}")
        if self._files:
            now = {path.name: path.stat().st_ino for path in self._results()}
            tally.resumable += 1
            tally.resumed += self._files.items() <= now.items()

    def _results(self) -> list[Path]:
        """Finished results: files of the stage's pattern that a manifest lists."""
        if not self._stage.kept:
            return []
        listed = set()
        for manifest in self._stage.place.glob("**/manifest.jsonl"):
            for line in manifest.read_text().splitlines():
                try:
                    listed.add(Path(json.loads(line)["file"]).name)
                except ValueError:
                    continue
        return [path for path in self._stage.place.glob(self._stage.kept) if path.name in listed]


def _judge_result(stage: Stage, whole: Uninterrupted, log: Path, tally: Tally) -> None:
    found = snapshot(stage.place)
    if problem := difference(found, whole.snapshot):
        tally.problems.append(f"{log.name}: {problem}")
    else:
        tally.identical += 1


def bytes_below(folder: Path) -> int:
    """Bytes of all that lies below `folder`, on a disk of pages of 4 kB where folders cost nothing."""
    files = [path.lstat() for path in folder.rglob("*") if not path.is_dir()]
    return sum(-(-file.st_size // 4096) * 4096 for file in files)


def difference(found: dict[str, str], expected: dict[str, str]) -> str:
    """What tells one snapshot from another; empty where nothing does."""
    debris = sorted(found.keys() - expected.keys())
    missing = sorted(expected.keys() - found.keys())
    changed = sorted(name for name in found.keys() & expected.keys() if found[name] != expected[name])
    kinds = (("debris", debris), ("missing", missing), ("other", changed))
    return ", ".join(f"{kind} {' '.join(names[:3])}" for kind, names in kinds if names)


def last_line(log: Path) -> str:
    """The last line that was printed, shortened."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:160] if lines else "(nothing)"


def _judge_orphans(groups: list[int], tally: Tally) -> None:
    deadline = time.monotonic() + ORPHANS_LIVE
    while (alive := alive_in(groups)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if alive:
        tally.problems.append(f"{len(alive)} helpers outlive their process")


def alive_in(groups: list[int]) -> list[int]:
    """Processes of these process groups that live."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(group) in groups and state != "Z":
            found.append(int(file.parent.name))
    return found
