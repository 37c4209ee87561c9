"""Training alone: on all target images, on the one-shot image, or on none, without drawn images.

```
check ─┬─ ingest source ─┐
       └─ ingest target ─┴─ select one-shot ─ adapt(seed) ─ evaluate(seed) ─ report
```

The method, or the experiment, says which images of the new place a training sees: source-only none, one-image
the one-shot image; daformer and the like train on all of the target with run.target_images=all.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from components.target_images import WITHOUT_DRAWING
from pipelines.dag import Tasks
from pipelines.form import form_fields, pipeline
from pipelines.reproduction import train_baselines
from pipelines.resources import Cluster


def without_drawing(
    *,
    seeds: Sequence[int] = (1, 2, 3),
    baselines: Sequence[str] = (),
    cluster: Cluster | None = None,
) -> Any:
    """The pipeline over `seeds`, beside `baselines`."""

    def body(p: SimpleNamespace) -> None:
        tasks = Tasks(p, seeds=seeds, cluster=cluster)
        data = tasks.ingest(tasks.check())
        runs = []
        for seed in seeds:
            one_shot = tasks.select(seed, data[1])
            shared = {"data": data, "one_shot": one_shot, "images": {"one_shot": one_shot}}
            trained = tasks.train_and_evaluate(seed, name=f"seed {seed}", run_name=f"seed-{seed}", **shared)
            runs.append(("", trained))
            runs += train_baselines(tasks, seed, data, one_shot, baselines)
        tasks.report(runs)

    return pipeline(
        "datum-training",
        "Training on all target images, on the one-shot image alone or on the source alone, by method or "
        "experiment.",
        form_fields(cluster, without=("method_base_model",), method=WITHOUT_DRAWING),
        body,
        cluster=cluster,
    )
