"""The `datum` sub-commands of a cluster. Nothing heavy is imported before one of them runs."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datum.cluster.rhythm import RHYTHMS
from datum.cluster.settings import PIPELINES, ClusterSettings, load_cluster_settings
from datum.errors import BAD_INPUT, InputError

DEFAULT_SETTINGS = Path("manifests/overlays/default/settings.env")
"""Settings that are read without `--settings`, where the command runs in a checkout."""
MOST_RUNS = 200
"""KFP's largest page."""


def add_cluster_commands(commands: Any) -> None:
    """Adds doctor, upload, submit, schedule and runs to the sub-commands of `datum`."""
    _command(
        commands,
        "doctor",
        _doctor,
        "check what a run needs of the cluster, with a remedy for what is missing",
    )
    _add_upload(commands)
    _add_submit(commands)
    _add_schedule(commands)
    _add_runs(commands)


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], None], summary: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}."
    )
    command.set_defaults(command=function)
    command.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help=f"settings of the installation (default: {DEFAULT_SETTINGS} if it is there, else built in)",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="change one setting, such as namespace=team; may be given again",
    )
    return command


def _settings(options: argparse.Namespace) -> ClusterSettings:
    file = options.settings or (DEFAULT_SETTINGS if DEFAULT_SETTINGS.exists() else None)
    return load_cluster_settings(file, options.overrides)


def _doctor(options: argparse.Namespace) -> None:
    from datum.cluster.doctor import doctor, show

    findings = doctor(_settings(options))
    show(findings)
    if any(finding.status == "problem" for finding in findings.values()):
        sys.exit(BAD_INPUT)


def _add_upload(commands: Any) -> None:
    command = _command(
        commands, "upload", _upload, "compile the pipelines and upload those that changed as new versions"
    )
    command.add_argument(
        "--images",
        type=Path,
        metavar="FILE",
        help="images by stage, as JSON (default: build/images.json if it is there, else registry and tag)",
    )
    command.add_argument(
        "--remove", action="store_true", help="delete the uploaded pipelines with all their versions instead"
    )


def _upload(options: argparse.Namespace) -> None:
    from datum.cluster.upload import remove_pipelines, upload

    if options.remove:
        remove_pipelines(_settings(options))
    else:
        upload(_settings(options), options.images)


def _add_submit(commands: Any) -> None:
    command = _command(commands, "submit", _submit, "start a run of the latest version of a pipeline")
    command.add_argument(
        "pipeline", nargs="?", choices=PIPELINES, default="reproduction", help="default: %(default)s"
    )
    _parameters(command)
    command.add_argument("--name", help="name of the run (default: the pipeline's and the time)")
    command.add_argument("--wait", action="store_true", help="show the run until it ends")
    command.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="wait, then fetch the report and the median checkpoint into this folder (default: neither)",
    )
    command.add_argument(
        "--no-cache",
        action="store_true",
        help="take no task's result from an earlier run; KFP then lists the run without its version",
    )


def _submit(options: argparse.Namespace) -> None:
    from datum.cluster.submit import submit

    submit(
        _settings(options),
        options.pipeline,
        options.parameters,
        name=options.name,
        cache=not options.no_cache,
        wait=options.wait,
        output=options.output,
    )


def _add_schedule(commands: Any) -> None:
    command = _command(commands, "schedule", _schedule, "have the reproduction repeated, without caching")
    command.add_argument(
        "action",
        nargs="?",
        choices=(*RHYTHMS, "list", "pause", "resume", "remove"),
        help=f"how often ({', or '.join(rhythm.words for rhythm in RHYTHMS.values())}), or what to do with a "
        "schedule",
    )
    command.add_argument("schedule", nargs="?", metavar="NAME", help="schedule to pause, resume or remove")
    _parameters(command)
    command.add_argument("--name", help=f"name of a {' or '.join(RHYTHMS)} one (default: datum-reproduction)")
    command.add_argument(
        "--apply",
        action="store_true",
        help="make, replace or remove datum-reproduction, as the setting `schedule` says",
    )
    command.add_argument("--remove-all", action="store_true", help="remove all schedules of datum")


def _schedule(options: argparse.Namespace) -> None:
    from datum.cluster import schedule

    if sum(map(bool, (options.action, options.apply, options.remove_all))) != 1:
        actions = ", ".join(RHYTHMS)
        raise InputError(
            f"schedule: expected one of {actions}, list, pause, resume, remove, --apply, --remove-all"
        )
    named = options.action in ("pause", "resume", "remove")
    if named != bool(options.schedule):
        raise InputError(
            f"schedule {options.action}: expected the name of a schedule after it; see `datum schedule list`"
            if named
            else f"schedule: found {options.schedule!r}, expected no name; --name gives one"
        )
    if options.action not in RHYTHMS and (options.name or options.parameters):
        raise InputError(f"--name and --param: they go with {' or '.join(RHYTHMS)} only")
    settings = _settings(options)
    match options.action:
        case "list":
            schedule.list_schedules(settings)
        case "pause" | "resume":
            schedule.switch(settings, options.schedule, on=options.action == "resume")
        case "remove":
            schedule.remove(settings, options.schedule)
        case None if options.apply:
            schedule.apply_schedule(settings)
        case None:
            schedule.remove(settings)
        case every:
            schedule.schedule(settings, every, options.parameters, options.name)


def _add_runs(commands: Any) -> None:
    command = _command(commands, "runs", _runs, "list runs, or show one until it ends")
    command.add_argument("run", nargs="?", metavar="ID", help="run to show (default: list the latest)")
    command.add_argument(
        "--limit", type=_limit, default=20, metavar="N", help="runs to list (default: %(default)s)"
    )
    command.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="when the run ID has ended, fetch its report and median checkpoint into this folder "
        "(default: do not)",
    )


def _runs(options: argparse.Namespace) -> None:
    from datum.cluster.runs import list_runs, show_run

    if options.run:
        show_run(_settings(options), options.run, options.output)
        return
    if options.output:
        raise InputError("--output: of which run? Give its ID; `datum runs` lists them")
    list_runs(_settings(options), options.limit)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_RUNS:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from 1 to {MOST_RUNS}")
    return int(text)


def _parameters(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--param",
        action="append",
        default=[],
        dest="parameters",
        metavar="NAME=VALUE",
        help="value of a parameter of the pipeline, lists and objects as JSON; may be given again (default: "
        "the setting of the same name, else the pipeline's own)",
    )
