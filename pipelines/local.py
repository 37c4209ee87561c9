"""The whole pipeline on one machine: no cluster, no containers.

Every task is a process of its own, as on a cluster. What a task has finished stays in the output folder,
so the same command run again does only what is missing.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from components.check import check_settings, check_training, require_both, require_target
from components.installation import on_one_machine
from datum.config import Profile, Settings, to_dict, without_influence
from datum.datasets.convert import check_labels
from datum.datasets.one_shot import one_shot_images, require_one_a_seed
from datum.errors import InputError
from datum.experiments import run_settings
from datum.formats.report_figures import read_figures
from datum.layouts import check_dataset
from datum.methods import BASELINES, BENCHMARKS, METHODS, ONE_SHOT_PROTOCOLS
from datum.one_writer import locked
from datum.outputs import replacing, require_folder, sha256
from datum.photographs import open_one_shot_image
from datum.processors import processors
from datum.room import available_memory
from datum.telemetry import log
from pipelines.cells import WITH_LABELS
from pipelines.cells import cells as four_cells
from pipelines.live_server import live_page_of
from pipelines.local_tasks import Share, TaskFailedError, Tell, kind_of_task, run_tasks, share_of

DESCRIPTION = "run.yaml"
"""File in the output folder with all settings and inputs of the run that it holds."""

MEMORY: Mapping[Profile, int] = {"demo": 3 * 2**29, "paper": 2**35}
"""Bytes that a task is given: of the demo none took more than 1.2 GB, and the paper's ask a cluster for so
much."""

_LARGEST_DESCRIPTION = 2**20
"""Bytes; a run's description takes some 4 kB."""


def run_locally(
    *,
    profile: str,
    overrides: Sequence[str],
    source: Path | None,
    target: Path | None,
    one_shots: Sequence[Path],
    baselines: bool,
    output: Path,
    cells: bool = False,
    experiment: str | None = None,
    one_shot_protocol: str | None = None,
    title: str = "",
    watch: int | None = None,
) -> None:
    """Runs the reproduction pipeline into `output`, or the training pipeline where the settings name other
    target images than drawn ones, or that of the `cells`, and prints the summary table and the report's path.

    `experiment` is a name of `datum.experiments.EXPERIMENTS`, or None; overrides go before it. `source` and
    `target` are data set roots; street scenes are drawn where both are None. `one_shot_protocol`, a name of
    `datum.methods.ONE_SHOT_PROTOCOLS` in place of `one_shots`, brings images, and seeds where the overrides
    name none: one for each repeat of each image. `title` says what the data are, where they are not the
    benchmark's own. `watch` is the port of the run's live page, 0 for a free
    one, None for no page. Raises `InputError` before anything is written where the input is wrong; ends the
    process with a failing task's own exit status.
    """
    if one_shot_protocol:
        one_shots = _require_protocol_alone(one_shot_protocol, target, one_shots)
        overrides = [_seeds_of_protocol(one_shot_protocol), *overrides]
    if cells:
        overrides = [WITH_LABELS, *overrides]
    settings = run_settings(profile, method=experiment or "", overrides=overrides)
    output = output.resolve()
    images = _check(settings, source, target, one_shots, output)
    named = {
        "source": str(source.resolve()) if source else "",
        "target": str(target.resolve()) if target else "",
    }
    arguments = {
        **{f"data_{name}": text for name, text in (named | {"title": title}).items()},
        "data_one_shots": [str(file.resolve()) for file in images],
        "method": experiment or settings.run.method,
        "run_installation": on_one_machine(profile),
        "run_overrides": list(overrides),
        "run_workspace": str(output),
    }
    with live_page_of(output, watch) as tell, _one_run_in(output):
        inputs = {
            **named,
            **{f"one-shot {number} sha256": sha256(file) for number, file in enumerate(images)},
        }
        named_experiment = {"experiment": {"name": experiment}} if experiment else {}
        description = to_dict(settings) | named_experiment | {"inputs": inputs}
        _keep_description(output / DESCRIPTION, description)
        try:
            _run_pipeline(_pipeline(settings, baselines, cells), profile, arguments, tell)
        except TaskFailedError as error:
            log(f"datum: {error}")
            sys.exit(error.status)
    _show_result(output / "report")


@contextlib.contextmanager
def _one_run_in(output: Path) -> Iterator[None]:
    output.mkdir(parents=True, exist_ok=True)
    with locked(output / "run"):
        yield


def _require_protocol_alone(protocol: str, target: Path | None, one_shots: Sequence[Path]) -> list[Path]:
    """What stands for the images of the `protocol`. Raises `InputError` where others are named too, and where
    scenes are drawn."""
    if one_shots:
        raise InputError("--one-shot: names images, and so does --one-shot-protocol; give one of the two")
    require_target(protocol, target)
    return [Path(protocol)]


def _seeds_of_protocol(protocol: str) -> str:
    """The override that names a seed for each repeat of each image of the `protocol`."""
    published = ONE_SHOT_PROTOCOLS[protocol]
    return f"run.seeds={list(range(1, len(published.images) * published.repeats + 1))}"


def _check(
    settings: Settings, source: Path | None, target: Path | None, one_shots: Sequence[Path], output: Path
) -> list[Path]:
    """Checks what can be before the first task starts, so that bad input costs no time.

    Labels are read in the first run into `output` alone; the data sets' working copies vouch for them later.
    Returns the one-shot images, where they are known by now: drawn scenes are yet to be drawn.
    """
    from pipelines.dag import MAX_SHARDS
    from pipelines.reproduction import require_seeds

    require_folder(output)
    require_both(source, target)
    seeds = settings.run.seeds
    require_seeds("run.seeds", seeds)
    if not 1 <= settings.run.shards <= MAX_SHARDS:
        raise InputError(f"run.shards: found {settings.run.shards}, expected 1 to {MAX_SHARDS}")
    if one_shots:
        require_one_a_seed(seeds, one_shots)
    check_settings(settings)
    check_training(settings, downloads=True)
    if source and target:
        benchmark = BENCHMARKS[settings.run.benchmark]
        check_dataset(benchmark.source, source)
        check_dataset(benchmark.target, target)
        images = one_shot_images(target, seeds, one_shots)
        if not (output / "datasets").exists():
            check_labels(benchmark.source, source)
            check_labels(benchmark.target, target)
        return images
    for file in one_shots:
        open_one_shot_image(file)
    return list(one_shots)


def _keep_description(file: Path, description: Mapping[str, Mapping[str, object]]) -> None:
    """Writes what is run to `file`, or raises `InputError` where the folder holds another run."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_text(yaml.safe_dump(description, sort_keys=False), encoding="utf-8")
        return
    before, now = _flat(_read_description(file)), _flat(description)
    # Another place of the same data set is none of other content: the ingestion looks at that.
    passed_over = without_influence() | {"inputs.source", "inputs.target"}
    changed = [
        f"{key} {before.get(key)} -> {now.get(key)}"
        for key in before | now
        if before.get(key) != now.get(key) and key not in passed_over
    ]
    if changed:
        raise InputError(
            f"--output {file.parent}: holds a run with other settings ({'; '.join(changed)}); "
            "name another folder, or remove this one"
        )


def _read_description(file: Path) -> dict[str, dict[str, object]]:
    expected = f"expected the settings of the run in this folder; name another --output than {file.parent}"
    try:
        if file.stat().st_size > _LARGEST_DESCRIPTION:
            raise InputError(f"{file}: is larger than any that this command writes, {expected}")
        text = file.read_text(encoding="utf-8")
        # Aliases could stand for more than the memory holds; this command writes none.
        aliases = any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader))
        description = None if aliases else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        description = None
    if not isinstance(description, dict) or not all(
        isinstance(section, dict) and all(isinstance(key, str) for key in section)
        for section in description.values()
    ):
        raise InputError(f"{file}: cannot be read, {expected}")
    return description


def _flat(description: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    return {
        f"{stage}.{key}": value for stage, section in description.items() for key, value in section.items()
    }


def _pipeline(settings: Settings, baselines: bool, cells: bool) -> Any:
    """The pipeline that makes what the settings ask for."""
    from pipelines.reproduction import reproduction
    from pipelines.without_drawing import without_drawing

    seeds, shards, images = settings.run.seeds, settings.run.shards, settings.run.target_images
    if cells:
        return four_cells(seeds=seeds, shards=shards)
    if images == "generated":
        return reproduction(seeds=seeds, shards=shards, baselines=baselines)
    # A baseline on the same images would be nothing to compare with.
    others = [name for name in BASELINES if METHODS[name].target != images] if baselines else []
    return without_drawing(seeds=seeds, baselines=others)


def _run_pipeline(pipeline: Any, profile: str, arguments: Mapping[str, object], tell: Tell) -> None:
    tasks = pipeline.pipeline_spec.root.dag.tasks
    kinds = Counter(kind_of_task(name) for name in tasks)
    share = _share(profile, most=max(kinds.values()))
    log(f"tasks: {share.at_once} at once at most, {share.threads} threads each")
    run_tasks(pipeline.pipeline_spec, arguments, share, tell)


def _share(profile: str, *, most: int) -> Share:
    """How tasks, of which at most so many could run at once, share this machine."""
    from datum.device import choose_device

    return share_of(
        processors=processors(),
        memory=available_memory(),
        each=MEMORY[cast("Profile", profile)],
        most=most,
        gpu=choose_device().type != "cpu",
    )


def _show_result(report: Path) -> None:
    from datum.reporting.report import summary_table

    print(summary_table(read_figures(report)))
    print(f"\n{report / 'report.html'}")
