"""Report over the seeds and publish the median checkpoint."""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def report(
    run_1: dsl.Input[dsl.Artifact],
    workspace: str,
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Artifact],
    median_checkpoint: dsl.Output[dsl.Model],
    run_2: dsl.Input[dsl.Artifact] = None,
    run_3: dsl.Input[dsl.Artifact] = None,
    source_only_1: dsl.Input[dsl.Artifact] = None,
    source_only_2: dsl.Input[dsl.Artifact] = None,
    source_only_3: dsl.Input[dsl.Artifact] = None,
    one_image_1: dsl.Input[dsl.Artifact] = None,
    one_image_2: dsl.Input[dsl.Artifact] = None,
    one_image_3: dsl.Input[dsl.Artifact] = None,
):
    """Writes the report of all seeds, beside the baselines, and copies the median checkpoint out."""
    from pathlib import Path

    from datum.cluster.tasks import task
    from datum.outputs import place
    from datum.reporting.report import report

    runs = [Path(run.path).resolve() for run in (run_1, run_2, run_3) if run]
    baselines = {
        "source-only": [
            Path(run.path).resolve() for run in (source_only_1, source_only_2, source_only_3) if run
        ],
        "one-image": [Path(run.path).resolve() for run in (one_image_1, one_image_2, one_image_3) if run],
    }
    folder = Path(page.path).with_name("report")
    with task(str(folder), workspace, "report") as output:
        report(
            runs=runs, output=output, baselines={name: given for name, given in baselines.items() if given}
        )
    place(folder / "report.html", Path(page.path))
    place(folder / "report.json", Path(summary.path))
    place(folder / "median_checkpoint", Path(median_checkpoint.path))
