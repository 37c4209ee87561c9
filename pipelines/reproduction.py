"""The reproduction: from one photograph a seed to the report over all seeds.

```
check ─┬─ ingest source ─┐                       ┌─ personalize(seed) ─ generate(seed, shard 1..K) ─ adapt(seed) ─ evaluate(seed) ─┐
       └─ ingest target ─┴─ select one-shot (x3) ┼─ ...                                                                          ├─ report
                                                 └─ ...  the same for each of the three one-shot seeds                              ┘
```

Seeds and shards are unrolled here, by Python loops, so that every task has a name a person can read and its own retry.
"""  # noqa: E501 - the drawing is wider than the code

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from datum.errors import InputError
from datum.methods import BASELINES, METHODS
from pipelines.dag import Tasks
from pipelines.form import form_fields, pipeline
from pipelines.resources import Cluster


def require_seeds(where: str, seeds: Sequence[int]) -> None:
    """Raises `InputError` for `seeds`, of the setting `where`, that no report can be over."""
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"{where}: found {list(seeds)}, expected one or more different seeds")


def reproduction(
    *,
    seeds: Sequence[int] = (1, 2, 3),
    shards: int = 1,
    baselines: bool = False,
    cluster: Cluster | None = None,
) -> Any:
    """The pipeline over `seeds`, each generated in `shards` tasks (1 to 8)."""

    def body(p: SimpleNamespace) -> None:
        tasks = Tasks(p, seeds=seeds, cluster=cluster)
        data = tasks.ingest(tasks.check())
        runs = []
        for seed in seeds:
            names: dict[str, Any] = {"name": f"seed {seed}", "run_name": f"seed-{seed}"}
            one_shot = tasks.select(seed, data[1])
            personalized = tasks.personalize(seed, one_shot)
            generated = tasks.generate(seed, personalized, source=data[0], shards=shards, **names)
            images = {"generated": generated, "labeled": True}
            shared = {"data": data, "one_shot": one_shot, "images": images}
            runs.append(("", tasks.train_and_evaluate(seed, **shared, **names)))
            if baselines:
                runs += train_baselines(tasks, seed, data, one_shot, BASELINES)
        tasks.report(runs)

    return pipeline(
        "datum-reproduction",
        "DATUM, from one photograph a seed to the report over all seeds.",
        form_fields(cluster),
        body,
        cluster=cluster,
    )


def train_baselines(
    tasks: Tasks, seed: int, data: tuple[Any, Any], one_shot: Any, baselines: Sequence[str]
) -> list[tuple[str, Any]]:
    """The runs of one seed of `baselines`, methods without drawn images."""
    return [
        (
            baseline,
            tasks.train_and_evaluate(
                seed,
                data=data,
                one_shot=one_shot,
                images={"one_shot": one_shot} if METHODS[baseline].target == "one-shot" else {},
                baseline=baseline,
                name=f"seed {seed} · {baseline}",
                run_name=f"{baseline}/seed-{seed}",
            ),
        )
        for baseline in baselines
    ]
