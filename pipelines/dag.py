"""The tasks that pipelines are made of: named for a person, given their parameters, placed on a cluster."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from components.adaptation.component import adapt
from components.datasets.component import check_parameters, ingest_source, ingest_target, select_one_shot
from components.evaluation.component import evaluate
from components.generation.component import generate, merge_shards
from components.images import STAGES
from components.personalization.component import personalize
from components.reporting.component import report
from pipelines.resources import Cluster

MAX_SHARDS = 8
"""Shards that the merge component has inputs for."""


class Tasks:
    """Makes the tasks of one pipeline from its `parameters`; without a cluster they run on one machine."""

    def __init__(self, parameters: SimpleNamespace, *, seeds: Sequence[int], cluster: Cluster | None) -> None:
        self._parameters, self._seeds, self._cluster = parameters, list(seeds), cluster
        self._settings = {name: getattr(parameters, name) for name in ("workspace", "profile", "overrides")}
        self._store = {"store_endpoint": parameters.store_endpoint}

    def check(self, *, method: Any = "daformer", variants: Sequence[str] = ()) -> Any:
        """Refuses parameters that cannot work."""
        p = self._parameters
        caches = self._cluster is not None and self._cluster.caches
        names = [f"{stage}_image" for stage in STAGES] if caches else []
        # Not every pipeline has all of these.
        defaults = {"encoder": "mit-b5", "named_one_shots": [], "base_model": "", "pretrained_encoder": ""}
        defaults |= {"state": "", "reports": ""}
        task = check_parameters(
            benchmark=p.benchmark,
            method=method,
            variants=list(variants),
            seeds=self._seeds,
            source=p.source,
            target=p.target,
            datasets=p.datasets,
            images=[getattr(p, name) for name in names if hasattr(p, name)],
            **{name: getattr(p, name, default) for name, default in defaults.items()},
            **self._store,
            **self._settings,
        )
        return self._placed(task, "check", "check parameters")

    def ingest(self, checked: Any) -> tuple[Any, Any]:
        """Where the source and the target data set lie, ready to train on."""
        p = self._parameters
        shared = {"datasets": p.datasets, **self._store, **self._settings}
        source = ingest_source(root=p.source, benchmark=p.benchmark, **shared)
        target = ingest_target(root=p.target, **shared)
        self._placed(source, "ingest", "ingest source").after(checked)
        self._placed(target, "ingest", "ingest target").after(checked)
        return source.output, target.output

    def select(self, seed: int, target: Any) -> Any:
        """The one-shot image of `seed`."""
        task = select_one_shot(
            target=target,
            seeds=self._seeds,
            position=self._seeds.index(seed),
            named=self._parameters.named_one_shots,
            workspace=self._parameters.workspace,
            **self._store,
        )
        return self._placed(task, "select", f"seed {seed} · select one-shot image").output

    def personalize(self, seed: int, one_shot: Any) -> Any:
        """The diffusion model, personalized on the one-shot image."""
        p = self._parameters
        task = personalize(
            one_shot=one_shot,
            seed=seed,
            base_model=p.base_model,
            state=p.state,
            resume_from=p.resume_from,
            **self._store,
            **self._settings,
        )
        return self._placed(task, "personalize", f"seed {seed} · personalize").output

    def generate(
        self,
        seed: int,
        personalized: Any,
        *,
        shards: int,
        name: str,
        run_name: str,
        variant: Sequence[str] = (),
    ) -> Any:
        """All images that the personalized model draws, in `shards` tasks (1 to 8)."""
        p = self._parameters
        parts = {}
        for shard in range(1, shards + 1):
            task = generate(
                personalized=personalized,
                seed=seed,
                shard=shard,
                shards=shards,
                variant=list(variant),
                run_name=run_name,
                state=p.state,
                resume_from=p.resume_from,
                **self._store,
                **self._settings,
            )
            parts[f"shard_{shard}"] = self._placed(
                task, "generate", f"{name} · generate {shard}/{shards}"
            ).output
        if shards == 1:
            return parts["shard_1"]
        merged = merge_shards(run_name=run_name, workspace=p.workspace, **parts)
        return self._placed(merged, "merge", f"{name} · merge shards").output

    def train_and_evaluate(
        self,
        seed: int,
        *,
        data: tuple[Any, Any],
        one_shot: Any,
        images: Mapping[str, Any],
        method: Any,
        name: str,
        run_name: str,
    ) -> Any:
        """The run folder of one training on `images`, the inputs of `adapt` that hold target images."""
        p = self._parameters
        source, target = data
        shared = {
            "benchmark": p.benchmark,
            "method": method,
            "encoder": p.encoder,
            "seed": seed,
            "run_name": run_name,
            **self._store,
            **self._settings,
        }
        trained = adapt(
            source=source,
            validation=target,
            pretrained_encoder=p.pretrained_encoder,
            state=p.state,
            resume_from=p.resume_from,
            **shared,
            **images,
        )
        self._placed(trained, "adapt", f"{name} · adapt")
        shown = {"one_shot": one_shot, **images}
        tested = evaluate(
            segmentor=trained.output, dataset=target, source=p.source, title=p.title, **shared, **shown
        )
        return self._placed(tested, "evaluate", f"{name} · evaluate").outputs["run"]

    def report(self, runs: Sequence[tuple[str, Any]]) -> None:
        """Reports on `runs`: the name of the baseline that a run belongs to, or nothing, and its folder."""
        p = self._parameters
        task = report(
            baselines=[baseline for baseline, _ in runs],
            reports=p.reports,
            state=p.state,
            resume_from=p.resume_from,
            workspace=p.workspace,
            **self._store,
            **{f"run_{number}": run for number, (_, run) in enumerate(runs, start=1)},
        )
        self._placed(task, "report", "report")

    def _placed(self, task: Any, kind: str, name: str) -> Any:
        task.set_display_name(name)
        if self._cluster:
            self._cluster.place(task, kind, self._parameters)
        return task
