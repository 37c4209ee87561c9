"""The DAG of a watched run on a terminal: a box per seed, side by side where they fit."""

from contextlib import AbstractContextManager
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from datum.cluster.watched import STATES, Task, Watched
from datum.telemetry import duration

MARKS = {
    "succeeded": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "running": ("●", "bold cyan"),
    "starting": ("◌", "cyan"),
    "pending": ("◌", "cyan"),
    "waiting": ("·", "dim"),
}
"""How a state looks; the others (skipped, left out, canceled) are dim dashes."""
AT_WORK = ("running", "starting", "pending", "failed")
"""States of tasks that are shown where there is little room."""


def live_view(watched: Watched) -> AbstractContextManager[Any]:
    """Draws `watched` again and again on standard error, so that durations run on, while the block lasts."""
    console = Console(stderr=True, highlight=False)

    def draw() -> Group:
        whole = render(watched)
        # A terminal that is too low shows what is at work, and leaves out what is done or has yet to come.
        return whole if len(console.render_lines(whole)) < console.height else render(watched, brief=True)

    return Live(get_renderable=draw, console=console, refresh_per_second=4)


def render(watched: Watched, *, brief: bool = False) -> Group:
    """The heading with totals, and a box for each group of tasks; a `brief` box has only those at work."""
    groups: dict[str, list[Task]] = {}
    for task in watched.tasks:
        groups.setdefault(task.group, []).append(task)
    shared = groups.pop("", [])
    above = [_box("all seeds" if groups else "tasks", shared, brief)] if shared else []
    boxes = Columns([_box(name, tasks, brief) for name, tasks in sorted(groups.items())])
    return Group(_heading(watched), *above, boxes, _footer(watched))


def _heading(watched: Watched) -> Text:
    state = STATES[watched.state]
    mark, style = MARKS.get(state, ("–", "dim"))
    done, total = watched.count("succeeded", "skipped"), len(watched.tasks)
    return Text.assemble(
        (f"{mark} ", style),
        (watched.name, "bold"),
        (f"  {state}", style),
        f"  {duration(watched.seconds())}  ·  {done} of {total} tasks done",
        f", {watched.count('running', 'starting', 'pending')} at work" if not watched.final else "",
        (f", {watched.count('failed')} failed" if watched.count("failed") else "", "bold red"),
    )


def _footer(watched: Watched) -> Text:
    if watched.trouble:
        return Text(f"KFP does not answer, trying on: {watched.trouble}", style="yellow")
    return Text(watched.page, style="dim", no_wrap=True, overflow="fold")


def _box(title: str, tasks: list[Task], brief: bool) -> Panel:
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(min_width=24, no_wrap=True)
    table.add_column(justify="right", min_width=6)
    done = sum(task.state in ("succeeded", "skipped") for task in tasks)
    shown = [task for task in tasks if task.state in AT_WORK] if brief else tasks
    for task in shown:
        mark, style = MARKS.get(task.state, ("–", "dim"))
        name = Text(task.name.removeprefix(f"{task.group} · "), "dim" if style == "dim" else "")
        taken = duration(task.seconds()) if task.started else ""
        table.add_row(Text(mark, style), name, Text(taken, "dim"))
    if not shown:
        table.add_row("", Text("all done" if done == len(tasks) else "nothing at work", "dim"), "")
    heading = f"{title}  {done}/{len(tasks)}"
    return Panel(table, title=heading, title_align="left", border_style="dim", expand=False)
