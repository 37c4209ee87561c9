"""The four cells: what drawn images are worth, what labels in them are, and what both are together.

Each seed draws once, with and without labels, and trains the network in each of four ways. One-image stands
beside them, and self-training on all target images as the line that no drawing is expected to pass.

| | without labeled drawings | with them |
|---|---|---|
| source-only | none | labeled |
| the method, on drawn images | unlabeled | both |
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from datum.experiments import ALL_IMAGES
from pipelines.dag import Tasks
from pipelines.form import form_fields, pipeline
from pipelines.resources import Cluster

WITH_LABELS = "generation.labels=source"
"""The setting that each seed draws by, whatever the form says."""

MOST_SEEDS = 5
"""Seeds that a cluster's pipeline is compiled for at most, the first of an installation's: a run over more is
more than Argo holds."""


def cells(*, seeds: Sequence[int], shards: int = 1, cluster: Cluster | None = None) -> Any:
    """The pipeline over `seeds`, each generated in `shards` tasks (1 to 8)."""

    def body(p: SimpleNamespace) -> None:
        tasks = Tasks(p, seeds=seeds, cluster=cluster)
        data = tasks.ingest(tasks.check(variants=[WITH_LABELS]), variant=[WITH_LABELS])
        runs = []
        for seed in seeds:
            one_shot = tasks.select(seed, data[1])
            drawn = tasks.generate(
                seed,
                tasks.personalize(seed, one_shot),
                source=data[0],
                shards=shards,
                name=f"seed {seed}",
                run_name=f"seed-{seed}",
                variant=[WITH_LABELS],
            )
            for name, training in _trainings(drawn, one_shot).items():
                shown = f"seed {seed} · {name}" if name else f"seed {seed}"
                folder = f"{name.replace(' ', '-')}/seed-{seed}" if name else f"seed-{seed}"
                shared = {"data": data, "one_shot": one_shot, "name": shown, "run_name": folder}
                runs.append((name, tasks.train_and_evaluate(seed, **shared, **training)))
        tasks.report(runs)

    return pipeline(
        "datum-cells",
        "What drawn images, and labels in them, are worth: source-only and self-training, with and without "
        "labeled drawings, beside one image and all target images.",
        form_fields(cluster),
        body,
        cluster=cluster,
    )


def _trainings(drawn: Any, one_shot: Any) -> dict[str, dict[str, Any]]:
    """What the trainings of a seed differ in, by the names that the report shows them under; the empty name
    is that of the run's own method, with all that was drawn."""
    return {
        "": {"images": {"generated": drawn, "labeled": True}},
        "unlabeled drawings": {"images": {"generated": drawn}},
        "labeled drawings": {"images": {"generated": drawn, "labeled": True}, "baseline": "source-only"},
        "source-only": {"images": {}, "baseline": "source-only"},
        "one-image": {"images": {"one_shot": one_shot}, "baseline": "one-image"},
        ALL_IMAGES: {"images": {}, "baseline": ALL_IMAGES},
    }


TRAININGS = len(_trainings(None, None))
"""Trainings of a seed."""
