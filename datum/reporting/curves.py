"""`datum curves`: the learning curves of trainings, from their logs, also while they are at work."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.errors import InputError, TemporaryFaultError, one_line, shortened
from datum.formats.training_log import TRAINING_LOG, trainings_so_far
from datum.outputs import replacing
from datum.reporting.templates import rendered
from datum.reporting.training_section import CURVES, curves_part

Trainings = Mapping[str, Sequence[Mapping[str, Any]]]
"""Name of a training -> the lines of its log."""

_EXPERIMENT = "datum"
"""MLflow's experiment; each training is a run of its name in it."""


def curves(
    *, run: Path, output: Path | None = None, tensorboard: Path | None = None, mlflow: str | None = None
) -> str:
    """Writes a page with the curves of all trainings at or below the folder `run` to `output` (else
    `curves.html` in it), and what is logged to the stores of TensorBoard and MLflow where named. Returns
    a table with the last figures of each, and where the page is.

    Raises `InputError` where nothing is logged, and where a library that is asked for is not installed.
    """
    if not run.is_dir():
        raise InputError(f"RUN {run}: no such folder, expected an output of `datum adapt` or `datum run`")
    trainings = trainings_so_far(run)
    if not any(trainings.values()):
        raise InputError(
            f"RUN {run}: holds no {TRAINING_LOG} with a line, expected an output of `datum adapt` or "
            "`datum run`; wait until a training has logged"
        )
    output = output or run / "curves.html"
    if not output.parent.is_dir() or output.is_dir():
        raise InputError(f"--output {output}: expected a file in a folder that is there")
    # What is missing is said before anything is written.
    writers = [_tensorboard_writer(tensorboard)] if tensorboard else []
    writers += [_mlflow_writer(mlflow)] if mlflow else []
    page = rendered("curves.html", title=run.resolve().name, curves_part=curves_part(trainings))
    with replacing(output) as temporary:
        temporary.write_bytes(page.encode("utf-8", errors="replace"))
    for write in writers:
        write(trainings)
    return "\n".join([*_table(trainings), "", str(output)])


def _table(trainings: Trainings) -> list[str]:
    """Columns of the last value of each curve that any training has."""
    shown = [curve for curve in CURVES if any(curve.points(lines) for lines in trainings.values())]
    rows = [["training", "iteration", *(curve.caption for curve in shown)]]
    for name, lines in trainings.items():
        points = [curve.points(lines) for curve in shown]
        last = max((line["iteration"] for line in lines), default=0)
        rows.append([name, str(last), *(f"{each[-1][1]:.4g}" if each else "-" for each in points)])
    # A column a training: captions are long.
    columns = list(zip(*rows))
    widths = [max(len(column[i]) for column in columns) for i in range(len(rows))]
    return [
        "  ".join([column[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(column[1:], widths[1:]))])
        for column in columns
    ]


def _figures(line: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in line.items() if key != "iteration"}


def _tensorboard_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise _missing("--tensorboard", "tensorboard") from None
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"--tensorboard {folder}: holds something already, and TensorBoard would show it beside these; "
            "name another folder, or remove it"
        )

    def write(trainings: Trainings) -> None:
        for name, lines in trainings.items():
            with SummaryWriter(str(folder / name)) as writer:
                for line in lines:
                    for key, value in _figures(line).items():
                        writer.add_scalar(f"training/{key}", value, line["iteration"])

    return write


def _mlflow_writer(uri: str) -> Any:
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise _missing("--mlflow", "mlflow") from None

    def write(trainings: Trainings) -> None:
        try:
            client = MlflowClient(tracking_uri=uri)
            found = client.get_experiment_by_name(_EXPERIMENT)
            experiment = found.experiment_id if found else client.create_experiment(_EXPERIMENT)
            for name, lines in trainings.items():
                run_id = client.create_run(experiment, run_name=name).info.run_id
                metrics = [
                    Metric(key, value, round(1000 * line.get("seconds", 0)), line["iteration"])
                    for line in lines
                    for key, value in _figures(line).items()
                ]
                for start in range(0, len(metrics), 1000):  # as many as the server takes at once
                    client.log_batch(run_id, metrics=metrics[start : start + 1000])
                client.set_terminated(run_id)
        except MlflowException as error:
            kind = TemporaryFaultError if uri.startswith("http") else InputError
            raise kind(f"--mlflow {uri}: {one_line(shortened(str(error), 400))}") from None

    return write


def _missing(option: str, extra: str) -> InputError:
    return InputError(
        f"{option}: the library {extra} is not installed; install it with pip install 'datum[{extra}]'"
    )
