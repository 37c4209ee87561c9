"""Ingest alone: both data sets checked, converted and kept where every later run finds them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from components.images import IMAGES
from pipelines.dag import Tasks
from pipelines.form import DATA, STORE, WORKSPACE, images, pipeline, with_defaults
from pipelines.resources import Cluster


def ingest(*, cluster: Cluster | None = None) -> Any:
    """The pipeline that ingests the source and the target data set."""

    def body(p: SimpleNamespace) -> None:
        tasks = Tasks(p, seeds=(), cluster=cluster)
        tasks.ingest(tasks.check())

    named = images(cluster.images if cluster else IMAGES, ["reporting"])
    return pipeline(
        "datum-ingest",
        "Check and convert the source and the target data set.",
        with_defaults({**DATA, **STORE, **named, **WORKSPACE}, cluster.defaults if cluster else {}),
        body,
    )
