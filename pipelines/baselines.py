"""The baselines alone: what the same training reaches without any drawn image.

`source-only` never sees the new place; `one-image` trains itself on the one-shot image. The report shows
one-image, and source-only beside it.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from datum.methods import BASELINES, METHODS
from pipelines.dag import Tasks
from pipelines.form import DIFFUSION_FIELDS, form_fields, pipeline
from pipelines.reproduction import train_baselines
from pipelines.resources import Cluster


def baselines(*, seeds: Sequence[int] = (1, 2, 3), cluster: Cluster | None = None) -> Any:
    """The pipeline over `seeds`."""

    def body(p: SimpleNamespace) -> None:
        tasks = Tasks(p, seeds=seeds, cluster=cluster)
        data = tasks.ingest(tasks.check(method="one-image"))
        runs = []
        for seed in seeds:
            runs += train_baselines(tasks, seed, data, tasks.select(seed, data[1]), BASELINES)
        tasks.report([("" if METHODS[name].target == "one-shot" else name, run) for name, run in runs])

    return pipeline(
        "datum-baselines",
        "Training on the source alone and on the one-shot image alone, without drawn images.",
        form_fields(cluster, without=DIFFUSION_FIELDS),
        body,
        cluster=cluster,
    )
