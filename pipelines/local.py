"""The whole pipeline on one machine, through kfp.local: no cluster, no containers.

Every task is a process of its own, as on a cluster. What a task has finished stays in the output folder,
so the same command run again does only what is missing.
"""

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import yaml

from components.check import check_settings, require_both
from components.task import STATUS_FILE
from datum.config import WAYS_OF_WORKING, Settings, load_settings, to_dict
from datum.datasets.convert import check_labels
from datum.datasets.one_shot import one_shot_images, require_one_a_seed
from datum.errors import InputError
from datum.formats.report_figures import read_figures
from datum.layouts import check_dataset
from datum.methods import BENCHMARKS
from datum.outputs import replacing, require_room
from datum.photographs import open_one_shot_image
from datum.telemetry import log

DESCRIPTION = "run.yaml"
"""File in the output folder with all settings and inputs of the run that it holds."""


def run_locally(
    *,
    profile: str,
    overrides: Sequence[str],
    source: Path | None,
    target: Path | None,
    one_shots: Sequence[Path],
    baselines: bool,
    output: Path,
) -> None:
    """Runs the reproduction pipeline into `output` and prints the summary table and the report's path.

    `source` and `target` are data set roots; street scenes are drawn where both are None. Raises
    `InputError` before anything is written where the input is wrong; ends the process with a failing
    task's own exit status.
    """
    settings = load_settings(profile, overrides)
    output = output.resolve()
    images = _check(settings, source, target, one_shots, output)
    given = {"source": source, "target": target, **{f"one-shot {i}": file for i, file in enumerate(images)}}
    inputs = {name: str(path.resolve()) for name, path in given.items() if path}
    _keep_description(output / DESCRIPTION, to_dict(settings) | {"inputs": inputs})
    arguments = {
        "source": inputs.get("source", ""),
        "target": inputs.get("target", ""),
        "named_one_shots": [str(file.resolve()) for file in images],
        "benchmark": settings.run.benchmark,
        "method": settings.run.method,
        "encoder": settings.run.encoder,
        "profile": profile,
        "overrides": list(overrides),
        "workspace": str(output),
    }
    with tempfile.TemporaryDirectory(prefix="datum-") as scratch:
        status_file = Path(scratch) / "status"
        os.environ[STATUS_FILE] = str(status_file)
        try:
            _run_pipeline(settings, baselines, arguments, Path(scratch) / "pipeline")
        except RuntimeError as error:
            status = int(status_file.read_text()) if status_file.exists() else 1
            log(f"datum: {_without_colors(str(error))}")
            sys.exit(status)
    _show_result(output / "report")


def _check(
    settings: Settings, source: Path | None, target: Path | None, one_shots: Sequence[Path], output: Path
) -> list[Path]:
    """Checks what can be before the first task starts, so that bad input costs no time.

    Labels are read in the first run into `output` alone; the data sets' working copies vouch for them later.
    Returns the one-shot images, where they are known by now: drawn scenes are yet to be drawn.
    """
    from pipelines.dag import MAX_SHARDS
    from pipelines.reproduction import MAX_SEEDS

    require_room(output)
    if output.exists() and not output.is_dir():
        raise InputError(f"--output {output}: is a file, expected a folder or nothing; name another")
    require_both(source, target)
    seeds = settings.run.seeds
    if not 1 <= len(seeds) <= MAX_SEEDS or len(set(seeds)) != len(seeds):
        raise InputError(f"run.seeds: found {list(seeds)}, expected 1 to {MAX_SEEDS} different seeds")
    if not 1 <= settings.run.shards <= MAX_SHARDS:
        raise InputError(f"run.shards: found {settings.run.shards}, expected 1 to {MAX_SHARDS}")
    if one_shots:
        require_one_a_seed(seeds, one_shots)
    check_settings(settings)
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
    before, now = (_flat(found) for found in (yaml.safe_load(file.read_text(encoding="utf-8")), description))
    changed = [
        f"{key} {before.get(key)} -> {now.get(key)}"
        for key in before | now
        if before.get(key) != now.get(key) and key.partition(".")[2] not in WAYS_OF_WORKING
    ]
    if changed:
        raise InputError(
            f"--output {file.parent}: holds a run with other settings ({'; '.join(changed)}); "
            "name another folder, or remove this one"
        )


def _flat(description: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    return {
        f"{stage}.{key}": value for stage, section in description.items() for key, value in section.items()
    }


def _run_pipeline(
    settings: Settings, baselines: bool, arguments: Mapping[str, object], pipeline_root: Path
) -> None:
    from kfp import local

    from pipelines.reproduction import reproduction

    # Lightweight components run in this environment; the image only counts on a cluster.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="kfp.local")
    warnings.filterwarnings("ignore", message="Task .* have no effect in the current local runner")
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(pipeline_root))
    pipeline = reproduction(seeds=settings.run.seeds, shards=settings.run.shards, baselines=baselines)
    tasks = pipeline.pipeline_spec.root.dag.tasks
    names = {name: spec.task_info.name for name, spec in tasks.items()}
    root = logging.getLogger()
    headings = _TaskHeadings(names)
    root.addFilter(headings)
    try:
        with contextlib.redirect_stdout(_TaskOutput(sys.stdout)):
            pipeline(**arguments)
    finally:
        root.removeFilter(headings)


class _TaskHeadings(logging.Filter):
    """Turns kfp.local's log into one heading a task, with the name of the DAG and how many are done."""

    def __init__(self, names: dict[str, str]) -> None:
        super().__init__()
        self._names, self._started = names, 0

    def filter(self, record: logging.LogRecord) -> bool:
        message = _without_colors(record.getMessage())
        if match := re.match(r"Executing task '(.+)'", message):
            self._started += 1
            log(f"[{self._started}/{len(self._names)}] {self._names.get(match[1], match[1])}")
        # That a task failed is said at the end, after the task's own line.
        return record.levelno >= logging.WARNING and "finished with status" not in message


class _TaskOutput(io.TextIOBase):
    """Passes on what tasks print, less what kfp's executor prints about itself."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream, self._line = stream, ""
        self._depth: int | None = None
        """Brackets that are open in the executor's input; None outside of it."""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if self._is_of_a_task(line.strip()):
                # Not print(): kfp.local patches it, to indent.
                self._stream.write(line + "\n")
                self._stream.flush()
        return len(text)

    def _is_of_a_task(self, line: str) -> bool:
        if self._depth is not None:
            # The executor's input is indented JSON.
            self._depth += line.endswith(("{", "[")) - line.startswith(("}", "]"))
            self._depth = self._depth if self._depth > 0 else None
            return False
        if line.startswith("[KFP Executor"):
            self._depth = 0 if line.endswith("Got executor_input:") else None
            return False
        return line.strip("-") != ""


def _without_colors(text: str) -> str:
    return re.sub(r"\x1b\[\d+m", "", text)


def _show_result(report: Path) -> None:
    from datum.reporting.report import summary_table

    print(summary_table(read_figures(report)))
    print(f"\n{report / 'report.html'}")
