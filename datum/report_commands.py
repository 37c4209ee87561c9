"""The sub-commands of `datum` that show results, and the option that shows a run at work."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datum.command_parser import CommandParser, add_command


def add_report_commands(commands: Any) -> None:
    """Adds `report` and `curves`."""
    summary = "report over the seeds and publish the median checkpoint"
    command = add_command(commands, "report", _report, summary)
    meaning = "folder of one seed (one_shot.png, generated/, segmentor/, evaluation/); once a seed"
    command.add_repeated("--run", "DIR", "runs", meaning, type=Path, required=True)
    meaning = "folder of one seed of a baseline, such as source-only=DIR; once a seed"
    command.add_repeated("--baseline", "NAME=DIR", "baselines", meaning, type=_named_folder)
    meaning = "folder for report.html, report.md, report.json and median_checkpoint/"
    command.add_path("--output", "DIR", meaning, required=True)
    command = add_command(commands, "curves", _curves, "draw the learning curves of trainings, also at work")
    meaning = "output of `datum adapt` or `datum run`, or the folder of one seed"
    command.add_argument("run", type=Path, metavar="RUN", help=meaning)
    command.add_path("--output", "FILE", "page with the curves (default: RUN/curves.html)")
    command.add_path(
        "--tensorboard", "DIR", "also TensorBoard's event files into this folder (default: none)"
    )
    meaning = "also to this MLflow tracking URI, into the experiment datum (default: none)"
    command.add_argument("--mlflow", metavar="URI", help=meaning)


def add_watch(command: CommandParser) -> None:
    """Adds the option of `datum run` that serves a page of it."""
    meaning = (
        "serve a page of the run at work, with its tasks, curves and drawings, to browsers of this machine; "
        "PORT is a free one if none is named (default: no page)"
    )
    command.add_argument("--watch", nargs="?", type=_port, const=0, metavar="PORT", help=meaning)


def _report(baselines: Sequence[tuple[str, Path]], **options: Any) -> None:
    from datum.reporting.report import report

    by_name: dict[str, list[Path]] = {}
    for name, folder in baselines:
        by_name.setdefault(name, []).append(folder)
    print(report(**options, baselines=by_name))


def _curves(**options: Any) -> None:
    from datum.reporting.curves import curves

    print(curves(**options))


def _named_folder(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not separator or not name or not folder:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected NAME=DIR")
    return name, Path(folder)


def _port(text: str) -> int:
    if not (text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"found {text[:20]!r}, expected a port from 1 to 65535")
    return int(text)
