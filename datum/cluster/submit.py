"""Starting a run of an uploaded pipeline."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from datum.cluster.client import Kfp, name_filter
from datum.cluster.published import require_fetchable
from datum.cluster.run_arguments import pipeline_spec, run_arguments, without_cache
from datum.cluster.settings import ClusterSettings
from datum.cluster.start import start_run
from datum.cluster.upload import latest_version
from datum.cluster.watch import finish
from datum.errors import InputError
from datum.telemetry import log


def submit(
    settings: ClusterSettings,
    pipeline: str,
    parameters: Sequence[str],
    *,
    name: str | None,
    cache: bool,
    wait: bool,
    output: Path | None,
    retries: int,
) -> None:
    """Starts a run of the latest version of `pipeline`; prints its id and page.

    With `wait` or `output` it shows the run until it ends, and tries one that fails again up to `retries`
    times; into `output` go the report and the median checkpoint. Raises `InputError` before anything is
    started where the input is wrong, and where KFP did not say whether it started the run. Ends the process
    with status 1 where the run fails.
    """
    if retries and not (wait or output):
        raise InputError("--retries: nobody would see the run fail; add --wait")
    kfp = Kfp(settings)
    version = latest_version(kfp, pipeline)
    values = run_arguments(settings, version.pipeline_spec, parameters)
    if output:
        tasks = pipeline_spec(version.pipeline_spec)["root"]["dag"]["tasks"].values()
        if not any(task["taskInfo"]["name"] == "report" for task in tasks):
            raise InputError(f"--output: {pipeline} writes no report; leave out --output")
        require_fetchable(settings, output)
    name = name or f"{pipeline} {datetime.now():%Y-%m-%d %H:%M:%S}"
    run = start_run(kfp, name, run_request(kfp, version, values, cache))
    log(f"{name}: started, version {version.display_name}")
    print(f"{run.run_id}  {kfp.page(f'runs/details/{run.run_id}')}", flush=True)
    if not settings.kfp_host:
        log(f"`datum runs {run.run_id} --open` opens its page")
    if wait or output:
        finish(kfp, run.run_id, output, retries)


def run_request(kfp: Kfp, version: Any, values: dict[str, Any], cache: bool) -> dict[str, Any]:
    """What a run and a recurring run have in common in a request to KFP.

    Without `cache` the pipeline itself is sent, with caching switched off: KFP has no such switch for a run
    of an uploaded version.
    """
    import kfp_server_api as api

    reference = api.V2beta1PipelineVersionReference(
        pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
    )
    named, sent = {"pipeline_version_reference": reference}, without_cache(version.pipeline_spec)
    root = kfp.settings.pipeline_root or None
    return {
        **(named if cache else {"pipeline_spec": sent}),
        "experiment_id": experiment_id(kfp),
        "service_account": kfp.settings.service_account,
        "runtime_config": api.V2beta1RuntimeConfig(parameters=values, pipeline_root=root),
    }


def experiment_id(kfp: Kfp) -> str:
    """Id of the experiment of the settings, which is created where it is missing."""
    import kfp_server_api as api

    name = kfp.settings.experiment
    experiment = find_experiment(kfp) or kfp.create(
        kfp.experiments.create_experiment,
        lambda: find_experiment(kfp),
        unique=True,
        experiment=api.V2beta1Experiment(display_name=name, **kfp.namespace),
    )
    return str(experiment.experiment_id)


def find_experiment(kfp: Kfp) -> Any:
    """KFP's experiment of the settings, or None."""
    named = name_filter(kfp.settings.experiment)
    return kfp.first(kfp.experiments, "experiments", filter=named, **kfp.namespace)


def latest_runs(kfp: Kfp, limit: int) -> list[Any]:
    """The `limit` latest runs of the settings' experiment, the newest first."""
    experiment = find_experiment(kfp)
    if not experiment:
        return []
    latest: dict[str, Any] = {"sort_by": "created_at desc", "page_size": limit}
    answer = kfp.read(kfp.runs.list_runs, experiment_id=experiment.experiment_id, **latest)
    return list(answer.runs or [])
