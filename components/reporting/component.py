"""Reports over the seeds and publishes the median checkpoint.

## `report`
Writes the page, and copies it with the median checkpoint to `<reports>/<run id>/`, where `datum submit
--output` and `datum runs` find it; `report.json` goes last. Where `model_registry` of the
installation names a Kubeflow model registry, it registers the checkpoint there. Then it removes the state
that the run's tasks kept to resume from, unless `keep_state` is `always`, and tells the webhook, if one is
set, what it found.

Each report is also added to the history of reproductions, `<reports>/history/<run id>.json` (on one
machine: the user's own), and judged by those before it: whether it has drifted.

- `run_1`: output `run` of an `evaluate` task
- `baselines`: run by run, the name of the baseline that it belongs to, or an empty text
- `page`: `report.html`, shown in the UI under *Visualization*
- `summary`: `report.json`
- `text`: `report.md`; with the two after it, what KFP's page that compares runs shows
- `metrics`: mIoU, its deviation, and the IoU of each class, the mean over the seeds
- `confusion`: the confusion matrix over all seeds, in percent of each label
- `median_checkpoint`: the reported checkpoint of the median seed, with its configuration, scores and one-
  shot image
- `drifted`: whether the median mIoU is outside the band of earlier runs or below that of the published
  figure, or a class has collapsed in a seed; `report.json` says why
"""

import copy
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl.python_component import PythonComponent

from components.images import IMAGES


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def report(
    run_1: dsl.Input[dsl.Artifact],
    baselines: list[str],
    resume_from: str,
    installation: dict,
    image: str,
    workspace: str,
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Artifact],
    median_checkpoint: dsl.Output[dsl.Model],
    text: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    run_2: dsl.Input[dsl.Artifact] = None,
    run_3: dsl.Input[dsl.Artifact] = None,
    run_4: dsl.Input[dsl.Artifact] = None,
    run_5: dsl.Input[dsl.Artifact] = None,
    run_6: dsl.Input[dsl.Artifact] = None,
    run_7: dsl.Input[dsl.Artifact] = None,
    run_8: dsl.Input[dsl.Artifact] = None,
    run_9: dsl.Input[dsl.Artifact] = None,
    run_10: dsl.Input[dsl.Artifact] = None,
    run_11: dsl.Input[dsl.Artifact] = None,
    run_12: dsl.Input[dsl.Artifact] = None,
) -> NamedTuple("Outputs", [("drifted", bool)]):  # type: ignore[valid-type]
    """Reports on all runs; `baselines` names, run by run, the baseline that each belongs to, or nothing."""
    # In the order of the signature, to which `report_on` may have added some.
    given = [run for name, run in locals().items() if name.startswith("run_")]
    from pathlib import Path

    from components.figures import log_figures
    from components.task import history_of, located, publish_report, remove_state, task, tell_report
    from datum.formats.report_figures import read_figures
    from datum.outputs import place
    from datum.reporting.remember import remember
    from datum.reporting.report import report

    groups: dict[str, list[Path]] = {}
    for name, run in zip(baselines, given):
        groups.setdefault(name, []).append(located(run.path))
    folder = Path(page.path).with_name("report")
    with task(str(folder), workspace, "report", installation=installation, image=image) as output:
        history, run_id = history_of(workspace, installation["reports"])
        report(runs=groups.pop(""), output=output, baselines=groups, history=history, run_id=run_id)
        published = str(output.resolve())
        if not workspace:
            published = publish_report(output, installation["reports"], installation["model_registry"])
        remember(output, history, run=run_id, report=published)
        if not workspace:
            if installation["keep_state"] != "always":
                remove_state(installation["state"], resume_from)
            tell_report(output, published)
    made = located(str(folder))
    place(made / "report.html", Path(page.path))
    place(made / "report.json", Path(summary.path))
    place(made / "report.md", Path(text.path))
    place(made / "median_checkpoint", Path(median_checkpoint.path))
    made_of = read_figures(made)
    log_figures(made_of, metrics, confusion)
    return (bool((made_of.get("drift") or {}).get("drifted")),)


_LAST = "run_12"
"""Last input of `report` for a run."""


def report_on(count: int) -> Any:
    """The component `report` with inputs for so many runs: a task takes no list of artifacts by name, and KFP
    reads the inputs off the source of a function, which has those of a run over three seeds beside their
    baselines."""
    specification = copy.deepcopy(report.component_spec)
    inputs, container = specification.inputs, specification.implementation.container
    known = sum(name.startswith("run_") for name in inputs)
    further = [f"run_{number}" for number in range(known + 1, count + 1)]
    inputs.update({name: copy.deepcopy(inputs[_LAST]) for name in further})
    declared = f"    {_LAST}: dsl.Input[dsl.Artifact] = None,\n"
    lines = "".join([declared, *(declared.replace(_LAST, name) for name in further)])
    container.command = [part.replace(declared, lines) for part in container.command]
    return PythonComponent(component_spec=specification, python_func=report.python_func)
