"""The sub-commands of `datum` that look at finished runs together, here and on a cluster."""

import contextlib
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datum.cluster.commands import add_settings_options, read_settings
from datum.command_parser import add_command
from datum.errors import InputError
from datum.store import Store, local_path, open_store
from datum.telemetry import log

_KFP_ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")
"""What KFP calls a run, a UUID, or its beginning of at least eight characters."""


def add_comparison_commands(commands: Any) -> None:
    """Adds `compare` and `history`."""
    command = add_command(commands, "compare", _compare, "compare finished runs, all with the first")
    meaning = (
        "a report, an output of `datum run`, the folder of one seed's run, an s3:// or file:// URI of a "
        "published report, or the id of a run on the cluster"
    )
    command.add_argument("runs", nargs="+", metavar="RUN", help=meaning)
    meaning = "folder for comparison.html, comparison.json and comparison.md"
    command.add_path("--output", "DIR", meaning, required=True)
    add_settings_options(command)
    command = add_command(commands, "history", _history, "show the finished reproductions, and which drifted")
    meaning = (
        "folder or URI of a history (default: this machine's own, or that of the installation in --settings)"
    )
    command.add_argument("place", nargs="?", metavar="PLACE", help=meaning)
    command.add_path("--output", "FILE", "also write a page with the bands drawn (default: do not)")
    add_settings_options(command)


def _compare(runs: Sequence[str], output: Path, settings: Path | None, overrides: list[str]) -> None:
    from datum.reporting.compare import compare

    if len(runs) < 2:
        raise InputError(f"RUN: found {runs[0]} alone, expected two runs or more to compare")
    for run in runs:
        if runs.count(run) > 1:
            raise InputError(f"RUN: found {run} twice; give each run once")
    with contextlib.ExitStack() as stack:
        places = {run: _at_hand(run, stack, settings, overrides) for run in runs}
        print(compare(places, output))


def _at_hand(run: str, stack: contextlib.ExitStack, settings: Path | None, overrides: list[str]) -> Path:
    """A local folder with what there is to compare of `run`, while the `stack` lasts."""
    path = local_path(run)
    if path is None:
        return _fetched(open_store(run), run, stack)
    if path.is_dir():
        return path
    if not _KFP_ID.fullmatch(run):
        raise InputError(
            f"{run}: no such folder, expected a report, an output of `datum run`, a URI or a run's id"
        )
    from datum.cluster.client import Kfp
    from datum.cluster.runs import LENGTH_OF_ID, whole_id
    from datum.cluster.store_access import installed_store

    installation = read_settings(settings, overrides)
    run_id = run if len(run) >= LENGTH_OF_ID else whole_id(Kfp(installation), run)
    place = f"{installation.reports}/{run_id}"
    return _fetched(stack.enter_context(installed_store(installation, place)), place, stack)


def _fetched(store: Store, place: str, stack: contextlib.ExitStack) -> Path:
    """The report in `store`, named `place`, without its checkpoint, which nobody compares."""
    from datum.formats.report_figures import REPORT_FIGURES
    from datum.kept_folder import get_folder

    if not store.exists(REPORT_FIGURES):
        raise InputError(f"{place}: holds no {REPORT_FIGURES}, expected a published report")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datum-")))
    checkpoints = [f"median_checkpoint/{name}.safetensors" for name in ("best", "last")]
    get_folder(store, "", folder, leaving_out=checkpoints)
    return folder


def _history(place: str | None, output: Path | None, settings: Path | None, overrides: list[str]) -> None:
    from datum.formats.history import HISTORY, history_of_machine
    from datum.reporting.history_page import show_history

    if output and output.is_dir():
        raise InputError(f"--output {output}: is a folder, expected the name of a page to write")
    if place and (settings or overrides):
        raise InputError("PLACE and --settings: give one of the two")
    with contextlib.ExitStack() as stack:
        if settings or overrides:
            from datum.cluster.store_access import installed_store

            installation = read_settings(settings, overrides)
            place = f"{installation.reports}/{HISTORY}"
            store = stack.enter_context(installed_store(installation, place))
        else:
            folder = local_path(place) if place else None
            if folder is not None and not folder.is_dir():
                raise InputError(f"{place}: no such folder, expected that of a history")
            place = place or history_of_machine()
            store = open_store(place)
        shown = show_history(store, place, output)
        log(f"the history in {place}")
        print(shown)
