"""Runs that nobody disturbs."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.real_cluster.live_cluster import LiveCluster, report_figures, wait_for

UNCACHED = frozenset({"check parameters", "check node", "ingest source", "ingest target", "report"})
"""Tasks that look at the world outside of their inputs."""


def test_the_reproduction_has_the_figures_of_a_local_run(undisturbed: dict[str, Any], local: Path) -> None:
    assert undisturbed.items() <= report_figures(local).items()


def test_the_baselines_have_the_figures_of_a_local_run(cluster: LiveCluster, local: Path) -> None:
    figures = cluster.figures(cluster.submit("baselines"))
    del figures["median checkpoint"]  # of the reproduction there
    assert len(figures) == 2
    assert figures.items() <= report_figures(local).items()


FOR_THE_ABLATION = {
    "adaptation.iterations": 20,
    "adaptation.validate_every": 20,
    # Its variants draw with the checkpoints of the demo profile.
    "personalization.steps": 60,
    "personalization.checkpoint_every": 20,
    "generation.checkpoint_step": 40,
}


@pytest.mark.parametrize("pipeline", ["ingest", "ablation"])
def test_the_other_pipelines_run_to_their_end(cluster: LiveCluster, pipeline: str) -> None:
    assert "succeeded after" in cluster.finish(cluster.submit(pipeline, **FOR_THE_ABLATION))


def test_a_second_run_takes_what_it_can_from_the_cache(
    cluster: LiveCluster, undisturbed: dict[str, Any]
) -> None:
    # The one before it sets no caching options, so this one fills the cache where it is empty.
    assert cluster.figures(cluster.submit()) == undisturbed
    run = cluster.submit("reproduction", "--name=cached")
    assert cluster.figures(run) == undisturbed
    names = {pod["metadata"]["name"] for pod in cluster.pods(run)}
    assert len(names) == len(UNCACHED), names


def test_the_log_of_a_task_is_shown(cluster: LiveCluster) -> None:
    run = cluster.submit("reproduction", "--no-cache")
    assert "written, read and removed" in cluster.reach(run, "check parameters", r".*removed.*")[0]
    cluster.datum("runs", run, "--logs", "check parameters", "--follow")
    cluster.datum("runs", run, "--terminate")
    # KFP calls a run failed where Argo was between two tries of a task just then.
    state = re.compile(rf" (?:canceled|failed) .*{run}")
    wait_for("the run has ended", lambda: state.search(cluster.datum("runs")))


def test_refused_parameters_end_a_run_at_its_first_task(cluster: LiveCluster) -> None:
    run = cluster.submit("reproduction", **{"generation.checkpoint_step": 3})
    said = cluster.finish(run, status=2)
    assert "generation.checkpoint_step=3: personalization writes no such checkpoint" in said
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in cluster.pods(run)} == {
        "reporting"
    }


def test_a_schedule_starts_a_run(cluster: LiveCluster) -> None:
    def new() -> set[str]:
        return set(re.findall(r"  ([0-9a-f-]{36})  ", cluster.datum("runs"))) - seen

    seen: set[str] = set()
    seen = new()
    soon = (datetime.now().minute + 2) % 60
    try:
        cluster.datum("schedule", f"0 {soon} * * * *", "--name", "datum-tests")
        (run,) = wait_for("a run of the schedule", new)
        cluster.reach(run, "check parameters", "go together")
        cluster.datum("runs", run, "--terminate")
    finally:
        cluster.datum("schedule", "remove", "datum-tests")
