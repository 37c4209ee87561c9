"""The reproduction: from one photograph a seed to the report over all seeds.

```
ingest source ─┐                       ┌─ personalize(seed) ─ generate(seed, shard 1..K) ─ adapt(seed) ─ evaluate(seed) ─┐
ingest target ─┴─ select one-shot (x3) ┼─ ...                                                                          ├─ report
                                       └─ ...  the same for each of the three one-shot seeds                              ┘
```

Seeds and shards are unrolled here, by Python loops, so that every task has a name a person can read and its own retry.
"""  # noqa: E501 - the drawing is wider than the code

from collections.abc import Sequence
from typing import Any

from kfp import dsl

from components.adaptation.component import adapt
from components.datasets.component import ingest_source, ingest_target, select_one_shot
from components.evaluation.component import evaluate
from components.generation.component import generate, merge_shards
from components.personalization.component import personalize
from components.reporting.component import report

MAX_SEEDS = 3
"""Seeds that the report component has inputs for."""
MAX_SHARDS = 8
"""Shards that the merge component has inputs for."""


def reproduction(*, seeds: Sequence[int] = (1, 2, 3), shards: int = 1, baselines: bool = False) -> Any:
    """The pipeline over `seeds` (1 to 3 of them), each generated in `shards` tasks (1 to 8)."""

    @dsl.pipeline(name="datum-reproduction", description="DATUM, from one photograph a seed to the report.")
    def pipeline(
        source: str = "",
        target: str = "",
        named_one_shots: list = [],  # noqa: B006 - kfp reads the default's value
        benchmark: str = "gta-to-cityscapes",
        method: str = "daformer",
        encoder: str = "mit-b5",
        profile: str = "paper",
        overrides: list = [],  # noqa: B006
        workspace: str = "",
        title: str = "",
    ):
        settings = {"workspace": workspace, "profile": profile, "overrides": overrides}
        sources = ingest_source(root=source, benchmark=benchmark, **settings)
        sources.set_display_name("ingest source")
        targets = ingest_target(root=target, **settings)
        targets.set_display_name("ingest target")

        def train_and_evaluate(
            seed: int, name: str, run_name: str, train_method: Any, one_shot: Any, images: dict[str, Any]
        ) -> Any:
            """The run folder of one training: on `images`, the inputs of `adapt` that hold target images."""
            shared = {
                "benchmark": benchmark,
                "method": train_method,
                "encoder": encoder,
                "seed": seed,
                "run_name": run_name,
                **settings,
            }
            trained = adapt(source=sources.output, validation=targets.output, **shared, **images)
            trained.set_display_name(f"{name} · adapt")
            shown = {"one_shot": one_shot, **images}
            tested = evaluate(
                segmentor=trained.output, dataset=targets.output, title=title, **shared, **shown
            )
            tested.set_display_name(f"{name} · evaluate")
            return tested.outputs["run"]

        reported = {}
        for position, seed in enumerate(seeds):
            name = f"seed {seed}"
            selected = select_one_shot(
                target=targets.output,
                seeds=list(seeds),
                position=position,
                named=named_one_shots,
                workspace=workspace,
            )
            selected.set_display_name(f"{name} · select one-shot image")
            one_shot = selected.output
            generated = _personalize_and_generate(seed, name, one_shot, shards, settings)
            reported[f"run_{position + 1}"] = train_and_evaluate(
                seed, name, f"seed-{seed}", method, one_shot, {"generated": generated}
            )
            images_of = {"source-only": {}, "one-image": {"one_shot": one_shot}} if baselines else {}
            for baseline, images in images_of.items():
                reported[f"{baseline.replace('-', '_')}_{position + 1}"] = train_and_evaluate(
                    seed, f"{name} · {baseline}", f"{baseline}/seed-{seed}", baseline, one_shot, images
                )
        report(workspace=workspace, **reported).set_display_name("report")

    return pipeline


def _personalize_and_generate(
    seed: int, name: str, one_shot: Any, shards: int, settings: dict[str, Any]
) -> Any:
    """The tasks from the one-shot image of one seed to all of its generated images."""
    personalized = personalize(one_shot=one_shot, seed=seed, **settings)
    personalized.set_display_name(f"{name} · personalize")
    parts = {}
    for shard in range(1, shards + 1):
        drawn = generate(personalized=personalized.output, seed=seed, shard=shard, shards=shards, **settings)
        drawn.set_display_name(f"{name} · generate {shard}/{shards}")
        parts[f"shard_{shard}"] = drawn.output
    if shards == 1:
        return parts["shard_1"]
    merged = merge_shards(seed=seed, workspace=settings["workspace"], **parts)
    merged.set_display_name(f"{name} · merge shards")
    return merged.output
