"""A run as the commands look at it: its tasks by the pipeline's spec, their states by its Workflow."""

from collections.abc import Mapping
from typing import Any

from datum.cluster.client import Kfp
from datum.cluster.kubernetes_access import KubernetesAccess
from datum.cluster.run_arguments import pipeline_spec
from datum.cluster.watched import Task, Watched
from datum.cluster.workflow import WorkflowReader
from datum.errors import InputError


class RunView:
    """One run, looked at as often as `look` is called. Raises `InputError` where KFP knows no such run."""

    def __init__(self, kfp: Kfp, run_id: str) -> None:
        self.kfp, self.run_id = kfp, run_id
        run = self.run()
        self.spec = _spec(kfp, run)
        """The pipeline of the run; empty where its version has been deleted."""
        self.watched = Watched(
            run.display_name, kfp.page(f"runs/details/{run_id}"), _tasks(self.spec), state=run.state
        )
        self.kubernetes = KubernetesAccess.find(kfp.settings)
        self._reader = WorkflowReader(kfp, self.kubernetes)

    def run(self) -> Any:
        """What KFP says of the run now."""
        return get_run(self.kfp, self.run_id)

    def look(self) -> None:
        """Brings `watched` to what is known now."""
        run = self.run()
        self.watched.update(run, self._reader.look(run))


def get_run(kfp: Kfp, run_id: str) -> Any:
    """What KFP says of a run now; raises `InputError` where it knows none."""
    run = kfp.find(kfp.runs.get_run, run_id=run_id)
    if run is None:
        raise InputError(f"no run {run_id}; `datum runs` lists them")
    return run


def _spec(kfp: Kfp, run: Any) -> Mapping[str, Any]:
    if run.pipeline_spec:
        return dict(run.pipeline_spec)
    reference = run.pipeline_version_reference
    version = kfp.find(
        kfp.pipelines.get_pipeline_version,
        pipeline_id=reference.pipeline_id,
        pipeline_version_id=reference.pipeline_version_id,
    )
    return version.pipeline_spec if version else {}


def _tasks(spec: Mapping[str, Any]) -> list[Task]:
    """The tasks, each after those that it depends on, otherwise by name."""
    specs = pipeline_spec(spec).get("root", {}).get("dag", {}).get("tasks", {})
    depths: dict[str, int] = {}

    def depth(key: str) -> int:
        if key not in depths:
            depths[key] = 1 + max(map(depth, specs[key].get("dependentTasks", ())), default=0)
        return depths[key]

    tasks = [Task(key, specs[key]["taskInfo"]["name"]) for key in specs]
    return sorted(tasks, key=lambda task: (depth(task.key), task.name))
