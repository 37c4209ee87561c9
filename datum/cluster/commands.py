"""The `datum` sub-commands of a cluster. Nothing heavy is imported before one of them runs."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datum.cluster.rhythm import RHYTHMS, Rhythm
from datum.cluster.settings import PIPELINES, ClusterSettings, load_cluster_settings
from datum.command_parser import CommandParser, add_command
from datum.errors import BAD_INPUT, InputError
from datum.experiments import EXPERIMENTS
from datum.experiments_table import add_experiment
from datum.telemetry import log

DEFAULT_SETTINGS = Path("manifests/overlays/default/settings.env")
"""Settings that are read without `--settings`, where the command runs in a checkout."""
ACTIONS = ("list", "pause", "resume", "remove")
"""What can be done with schedules."""
MOST_RUNS = 200
"""KFP's largest page."""


def add_cluster_commands(commands: Any) -> None:
    """Adds doctor, manifests, upload, submit, schedule, runs and state to the sub-commands of `datum`."""
    _add_doctor(commands)
    _add_manifests(commands)
    _add_upload(commands)
    _add_submit(commands)
    _add_schedule(commands)
    _add_runs(commands)
    _add_state(commands)


def _command(
    commands: Any, name: str, function: Callable[..., None], summary: str, *, changes: bool = False
) -> CommandParser:
    """A sub-command that calls `function` with the settings of the installation and its other options; one
    that `changes` the cluster does so by a file of settings alone."""

    def run(settings: Path | None, overrides: list[str], **options: Any) -> None:
        file = settings or (DEFAULT_SETTINGS if DEFAULT_SETTINGS.exists() else None)
        if not file and changes:
            raise InputError(
                f"settings: there is no {DEFAULT_SETTINGS} here; run this in the checkout, or name the "
                "installation's file by --settings"
            )
        with contextlib.nullcontext() if file else _saying_built_in():
            function(load_cluster_settings(file, overrides), **options)

    command = add_command(commands, name, run, summary)
    _settings_options(command)
    return command


@contextlib.contextmanager
def _saying_built_in() -> Iterator[None]:
    """Says of what the block shows, or finds wrong, that it is by no file of settings."""
    notice = f"settings: built in, since there is no {DEFAULT_SETTINGS} here; --settings names another file"
    try:
        yield
    except InputError as error:
        raise InputError(f"{error} ({notice})") from None
    except SystemExit:
        log(notice)
        raise
    log(notice)


def _settings_options(command: CommandParser) -> None:
    command.add_path(
        "--settings",
        "FILE",
        f"settings of the installation (default: {DEFAULT_SETTINGS} here; what only looks does without)",
    )
    meaning = "change one setting, such as namespace=team; may be given again"
    command.add_repeated("--set", "KEY=VALUE", "overrides", meaning)


def _add_doctor(commands: Any) -> None:
    summary = "check what a run needs of the cluster, with a remedy for what is missing"
    command = _command(commands, "doctor", _doctor, summary)
    command.add_argument(
        "--inside",
        action="store_true",
        help="where that finds no problem, have Jobs look from inside as well, as a run's first tasks do: at "
        "the store, the disks, a GPU and the base model",
    )


def _doctor(settings: ClusterSettings, inside: bool) -> None:
    from datum.cluster.doctor import doctor, show

    findings = doctor(settings)
    show(findings)
    if any(finding.status == "problem" for finding in findings.values()):
        sys.exit(BAD_INPUT)
    if inside:
        from datum.cluster.inside_job import look_inside

        look_inside(settings)


def _add_manifests(commands: Any) -> None:
    summary = "write the manifests of an overlay, with its settings filled in, for kubectl, Argo CD or Flux"
    command = add_command(commands, "manifests", _manifests, summary)
    _settings_options(command)
    command.add_path("--output", "DIR", "folder to write into", required=True)


def _manifests(settings: Path | None, overrides: list[str], output: Path) -> None:
    from datum.cluster.manifests import write_manifests

    file = settings or DEFAULT_SETTINGS
    # An overlay's settings stand beside its kustomization.
    write_manifests(load_cluster_settings(file, overrides), file.parent, output)


def _add_upload(commands: Any) -> None:
    summary = "compile the pipelines and upload those that changed as new versions"
    command = _command(commands, "upload", _upload, summary, changes=True)
    # With choices, argparse of Python 3.11 refuses that none is named.
    command.add_argument(
        "pipelines", nargs="*", metavar="PIPELINE", help=f"{', '.join(PIPELINES)} (default: all)"
    )
    command.add_path(
        "--images",
        "FILE",
        "images by stage, as JSON (default: build/images.json if it is there, else registry and tag)",
    )
    command.add_argument(
        "--remove", action="store_true", help="delete the uploaded pipelines with all their versions instead"
    )


def _upload(settings: ClusterSettings, pipelines: list[str], images: Path | None, remove: bool) -> None:
    from datum.cluster.upload import remove_pipelines, upload

    if unknown := [name for name in pipelines if name not in PIPELINES]:
        raise InputError(f"{unknown[0]}: no pipeline of ours, expected {', '.join(PIPELINES)}")
    if remove and pipelines:
        raise InputError(f"{' '.join(pipelines)}: --remove deletes all pipelines; name none")
    if remove:
        remove_pipelines(settings)
    else:
        upload(settings, images, pipelines or PIPELINES)


def _add_submit(commands: Any) -> None:
    command = _command(
        commands, "submit", _submit, "start a run of the latest version of a pipeline", changes=True
    )
    command.add_argument(
        "pipeline",
        nargs="?",
        choices=PIPELINES,
        help="default: reproduction, or the one that makes what the experiment trains on",
    )
    add_experiment(command)
    _parameters(command)
    command.add_argument("--name", help="name of the run (default: the pipeline's and the time)")
    command.add_argument("--wait", action="store_true", help="show the run until it ends")
    command.add_path(
        "--output",
        "DIR",
        "wait, then fetch the report and the median checkpoint into this folder (default: neither)",
    )
    command.add_number(
        "--retries", 0, "with --wait: how often a run that fails is tried again", least=0, most=9
    )
    command.add_argument(
        "--no-cache",
        action="store_false",
        dest="cache",
        help="take no task's result from an earlier run; KFP then lists the run without its version",
    )


def _submit(
    settings: ClusterSettings,
    pipeline: str | None,
    experiment: str | None,
    parameters: list[str],
    **options: Any,
) -> None:
    from datum.cluster.submit import submit

    drawn = not experiment or EXPERIMENTS[experiment].target_images == "generated"
    if experiment:
        parameters = [f"method={experiment}", *parameters]
    submit(settings, pipeline or ("reproduction" if drawn else "training"), parameters, **options)


def _add_schedule(commands: Any) -> None:
    summary = "have the reproduction repeated, without caching"
    command = _command(commands, "schedule", _schedule, summary, changes=True)
    command.add_argument(
        "action",
        nargs="?",
        metavar="RHYTHM|ACTION",
        help=f"how often: {', '.join(RHYTHMS)}, or a cron of six fields in quotes, seconds first, such as "
        "'0 30 2 * * MON,THU'; TZ=ZONE before it says which time zone is meant. Or what to do with a "
        f"schedule: {', '.join(ACTIONS)}",
    )
    command.add_argument("schedule", nargs="?", metavar="NAME", help="schedule to pause, resume or remove")
    _parameters(command)
    command.add_argument("--name", help="name of a schedule that is made (default: datum-reproduction)")
    command.add_argument(
        "--apply",
        action="store_true",
        help="make, replace or remove datum-reproduction, as the setting `schedule` says",
    )
    command.add_argument("--remove-all", action="store_true", help="remove all schedules of datum")


def _schedule(
    settings: ClusterSettings,
    action: str | None,
    schedule: str | None,
    parameters: list[str],
    name: str | None,
    apply: bool,
    remove_all: bool,
) -> None:
    from datum.cluster import schedule as schedules
    from datum.cluster.client import Kfp

    if sum(map(bool, (action, apply, remove_all))) != 1:
        names = ", ".join((*RHYTHMS, "a cron", *ACTIONS))
        raise InputError(f"schedule: expected one of {names}, --apply, --remove-all")
    named = action in ("pause", "resume", "remove")
    if named != bool(schedule):
        raise InputError(
            f"schedule {action}: expected the name of a schedule after it; see `datum schedule list`"
            if named
            else f"schedule: found {schedule!r}, expected no name; --name gives one"
        )
    made = bool(action) and action not in ACTIONS
    if not made and (name or parameters):
        raise InputError("--name and --param: they go with a rhythm only")
    rhythm = Rhythm.parse(str(action)) if made else None
    kfp = Kfp(settings)
    match action:
        case "list":
            schedules.list_schedules(kfp)
        case "pause" | "resume":
            schedules.switch(kfp, str(schedule), on=action == "resume")
        case "remove":
            schedules.remove(kfp, schedule)
        case None if apply:
            schedules.apply_schedule(kfp)
        case _ if rhythm:
            schedules.schedule(kfp, rhythm, parameters, name)
        case _:
            schedules.remove(kfp)


def _add_runs(commands: Any) -> None:
    command = _command(commands, "runs", _runs, "list runs, or show one until it ends")
    command.add_argument("run", nargs="?", metavar="ID", help="run to show (default: list the latest)")
    command.add_number("--limit", 20, "runs to list", most=MOST_RUNS)
    command.add_path(
        "--output",
        "DIR",
        "when the run ID has ended, fetch its report and median checkpoint into this folder "
        "(default: do not)",
    )
    actions = command.add_mutually_exclusive_group()
    actions.add_argument(
        "--logs",
        nargs="?",
        const="",
        metavar="TASK",
        help="print what this task of the run has written, all its tries (default: what failed, else what "
        "is at work)",
    )
    actions.add_argument("--terminate", action="store_true", help="end the run; what it has saved stays")
    actions.add_argument(
        "--retry",
        action="store_true",
        help="have KFP go on with a run that failed: only the failed tasks run again, from their state; "
        "where KFP cannot, a new run goes on from it",
    )
    actions.add_argument(
        "--open", action="store_true", help="serve KFP's page of the run on this machine, and open it"
    )
    command.add_argument("--follow", action="store_true", help="with --logs: go on until the task has ended")


def _runs(
    settings: ClusterSettings,
    run: str | None,
    limit: int,
    output: Path | None,
    logs: str | None,
    follow: bool,
    **actions: bool,
) -> None:
    from datum.cluster import runs

    chosen = "logs" if logs is not None else next((name for name, given in actions.items() if given), "")
    if output and chosen:
        raise InputError(f"--output and --{chosen}: give one of the two")
    if follow and logs is None:
        raise InputError("--follow: goes with --logs")
    if not run:
        if output or chosen:
            raise InputError(f"--{chosen or 'output'}: of which run? Give its ID; `datum runs` lists them")
        runs.list_runs(settings, limit)
        return
    match chosen:
        case "logs":
            runs.show_logs(settings, run, str(logs), follow=follow)
        case "terminate":
            runs.terminate_run(settings, run)
        case "retry":
            runs.retry_run(settings, run)
        case "open":
            runs.open_page(settings, run)
        case _:
            runs.show_run(settings, run, output)


def _add_state(commands: Any) -> None:
    command = _command(commands, "state", _state, "list or remove what runs keep in the store to resume from")
    command.add_argument("action", choices=("list", "remove"), help="what to do")
    command.add_argument("runs", nargs="*", metavar="ID", help="runs whose state is removed")
    command.add_number("--older-than", 0, "in place of ids: those that ended more than so many days ago")


def _state(settings: ClusterSettings, action: str, runs: list[str], older_than: int) -> None:
    from datum.cluster.kept_state import list_state, remove_old_states, remove_states

    if (bool(runs) + bool(older_than) != 1) if action == "remove" else (runs or older_than):
        raise InputError(
            f"state {action}: expected "
            + ("the ids of runs after it, or --older-than" if action == "remove" else "nothing after it")
        )
    if older_than:
        remove_old_states(settings, older_than)
    elif runs:
        remove_states(settings, runs)
    else:
        list_state(settings)


def _parameters(command: CommandParser) -> None:
    command.add_repeated(
        "--param",
        "NAME=VALUE",
        "parameters",
        "value of a parameter of the pipeline, lists and objects as JSON; may be given again (default: "
        "the setting of the same name, else the pipeline's own)",
    )
