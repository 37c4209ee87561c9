"""What the tests on a real cluster share: `make test-cluster`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real_cluster.live_cluster import ON_THIS_MACHINE, ROOT, LiveCluster

OUTAGE = float(os.environ.get("OUTAGE", "120"))
"""Seconds for which a fault lasts that passes; the README's promise was tried with 600 and 1,200."""


@pytest.fixture(scope="session")
def before() -> dict[str, Any]:
    """The objects of others as they were before the first deployment of this session, filled by it."""
    return {}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, before: dict[str, Any]) -> LiveCluster:
    """The cluster of the current kube context, with `OVERLAY` installed, and pipelines of the tests' size."""
    live = LiveCluster(os.environ.get("OVERLAY", "default"), tmp_path_factory.mktemp("cluster"))
    # The images are there by an earlier `make deploy`, and so is what it has changed.
    live.make("undeploy")
    before.update(live.objects_of_others())
    live.make("deploy")
    live.datum("upload")
    return live


@pytest.fixture(scope="session")
def undisturbed(cluster: LiveCluster) -> dict[str, Any]:
    """The figures of a run that nobody disturbs, and that takes nothing from the cache."""
    return cluster.figures(cluster.submit("reproduction", "--no-cache", "--name=undisturbed"))


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the same run and its baselines, made by `datum run` on this machine."""
    output = tmp_path_factory.mktemp("local") / "run"
    chosen = [f"--set={name}={value}" for name, value in ON_THIS_MACHINE.items()]
    command = [sys.executable, "-m", "datum", "run", *chosen, "--baselines", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True)
    return output / "report"
