"""Reports over the seeds and publishes the median checkpoint.

## `report`
Writes the page, and copies it with the median checkpoint to `<reports>/<run id>/`, where `datum submit
--output` and `datum runs` find it; `report.json` goes last. Where `model_registry` of the
installation names a Kubeflow model registry, it registers the checkpoint there. Then it removes the state
that the run's tasks kept to resume from, unless `keep_state` is `always`, and tells the webhook, if one is
set, what it found.

- `run_1`: output `run` of an `evaluate` task
- `baselines`: run by run, the name of the baseline that it belongs to, or an empty text
- `page`: `report.html`, shown in the UI under *Visualization*
- `summary`: `report.json`
- `median_checkpoint`: the reported checkpoint of the median seed, with its configuration, scores and one-
  shot image
"""

from kfp import dsl

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
):
    """Reports on all runs; `baselines` names, run by run, the baseline that each belongs to, or nothing."""
    from pathlib import Path

    from components.task import located, publish_report, remove_state, task, tell_report
    from datum.outputs import place
    from datum.reporting.report import report

    given = [run_1, run_2, run_3, run_4, run_5, run_6, run_7, run_8, run_9, run_10, run_11, run_12]
    groups: dict[str, list[Path]] = {}
    for name, run in zip(baselines, given):
        groups.setdefault(name, []).append(located(run.path))
    folder = Path(page.path).with_name("report")
    with task(str(folder), workspace, "report", installation=installation, image=image) as output:
        report(runs=groups.pop(""), output=output, baselines=groups)
        if not workspace:
            published = publish_report(output, installation["reports"], installation["model_registry"])
            if installation["keep_state"] != "always":
                remove_state(installation["state"], resume_from)
            tell_report(output, published)
    made = located(str(folder))
    place(made / "report.html", Path(page.path))
    place(made / "report.json", Path(summary.path))
    place(made / "median_checkpoint", Path(median_checkpoint.path))
