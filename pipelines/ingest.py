"""Ingest alone: both data sets checked, converted and kept where every later run finds them."""

from types import SimpleNamespace
from typing import Any

from pipelines.dag import Tasks
from pipelines.form import DATA_FIELDS, form_fields, pipeline
from pipelines.resources import Cluster


def ingest(*, cluster: Cluster | None = None) -> Any:
    """The pipeline that ingests the source and the target data set."""

    def body(p: SimpleNamespace) -> None:
        tasks = Tasks(p, seeds=(), cluster=cluster)
        tasks.ingest(tasks.check())

    return pipeline(
        "datum-ingest",
        "Check and convert the source and the target data set.",
        form_fields(cluster, only=DATA_FIELDS),
        body,
        cluster=cluster,
    )
