"""The page of a run at work on this machine: its tasks, learning curves and latest drawings."""

import dataclasses
import heapq
import itertools
from collections.abc import Sequence
from pathlib import Path

from datum.errors import InputError
from datum.reporting.pictures import Picture, photograph
from datum.reporting.templates import rendered, template

DRAWINGS = 12
"""Latest drawings that are shown."""
WIDTH = 160
"""Of a drawing, in pixels."""

_DRAWN = (
    "seed-*/{}/images",
    "seed-*/{}/labeled/images",
    "seed-*/shards/*/images",
    "*/seed-*/{}/images",
    "*/seed-*/shards/*/images",
)
"""Where drawings lie in the folder of a run, below what is finished or at work."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownTask:
    """A task of the run."""

    name: str
    """As the DAG shows it: `seed 1 · adapt`."""
    state: str
    """`waiting`, `running`, `done` or `failed`."""
    line: str = ""
    """What it printed last."""


def live_page(folder: Path, nonce: str) -> str:
    """The page of the run in `folder`, empty; its one script, which bears the `nonce`, fills it with parts as
    they are sent."""
    return rendered("live.html", folder=str(folder), nonce=nonce)


def tasks_part(tasks: Sequence[ShownTask]) -> str:
    """The tasks, a row for each seed and baseline, in the order of the DAG."""
    rows: dict[str, list[tuple[str, ShownTask]]] = {}
    for task in tasks:
        group, _, label = task.name.rpartition(" · ")
        rows.setdefault(group, []).append((label, task))
    done = sum(task.state == "done" for task in tasks)
    return template("live_tasks.html").render(rows=rows, done=done, tasks=tasks)


def drawings_part(folder: Path) -> str:
    """The latest drawings, the newest first; empty before the first one."""
    shown: list[tuple[str, Picture]] = []
    for file in latest_drawings(folder):
        try:
            shown.append((_name(file.relative_to(folder)), photograph(file, WIDTH)))
        except InputError:
            continue  # It is being written, or was moved to where finished ones lie.
    return template("live_drawings.html").render(drawings=shown) if shown else ""


def _name(file: Path) -> str:
    """`seed-1/generated.partial/labeled/images/im_3_p0.png` -> `seed-1 · labeled · im_3_p0`."""
    run = itertools.takewhile(lambda part: not part.startswith(("generated", "shards")), file.parts)
    labeled = ["labeled"] if file.parent.parent.name == "labeled" else []
    return " · ".join([*run, *labeled, file.stem])


def latest_drawings(folder: Path) -> list[Path]:
    """The files of the drawings that were written last, the newest first."""
    places = {
        place
        for pattern in _DRAWN
        for part in ("generated", "generated.partial")
        for place in folder.glob(pattern.format(part))
    }
    times: list[tuple[float, Path]] = []
    for file in (file for place in places for file in place.glob("im_*.png")):
        try:
            times.append((file.stat().st_mtime, file))
        except OSError:
            continue
    return [file for _, file in heapq.nlargest(DRAWINGS, times)]
