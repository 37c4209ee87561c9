"""The tasks that pipelines are made of: named for a person, given their parameters, placed on a cluster."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from components.adaptation.component import adapt
from components.datasets.component import check_parameters, ingest_source, ingest_target, select_one_shot
from components.evaluation.component import evaluate
from components.generation.component import generate, merge_shards
from components.personalization.component import check_node, personalize
from components.reporting.component import report_on
from datum.config import PAPER
from pipelines.resources import Cluster

MAX_SHARDS = 8
"""Shards that the merge component has inputs for."""


class Tasks:
    """Makes the tasks of one pipeline from its `parameters`; without a cluster they run on one machine."""

    def __init__(self, parameters: SimpleNamespace, *, seeds: Sequence[int], cluster: Cluster | None) -> None:
        self._parameters, self._seeds, self._cluster = parameters, list(seeds), cluster

    def check(self, *, method: Any = PAPER.run.method, variants: Sequence[str] = ()) -> Any:
        """Refuses parameters that cannot work, and a cluster that does not hold what the run needs; `method`
        is that of a pipeline whose form has none."""
        form = vars(self._parameters)
        # Not every pipeline has all of these.
        defaults = {"method": method, "named_one_shots": []}
        defaults |= dict.fromkeys(("encoder", "base_model", "pretrained_encoder", "resume_from", "title"), "")
        checked = self._task(
            check_parameters,
            "check",
            "check parameters",
            variants=list(variants),
            seeds=self._seeds,
            draws="base_model" in form,
            **{name: default for name, default in defaults.items() if name not in form},
        )
        if self._cluster and self._seeds:
            # The run ends with it: where one task fails, Argo begins no further one.
            named = {} if "base_model" in form else {"base_model": "none"}
            self._task(check_node, "node", "check node", **named).after(checked)
        return checked

    def ingest(self, checked: Any, *, variant: Sequence[str] = ()) -> tuple[Any, Any]:
        """Where the source and the target data set lie, ready to train on, and to draw from by `variant`."""
        p = self._parameters
        # Not every pipeline has a field of the method, which may name an experiment.
        method = getattr(p, "method", PAPER.run.method)
        named = {"root": p.source, "method": method, "variant": list(variant)}
        source = self._task(ingest_source, "ingest", "ingest source", **named).after(checked)
        target = self._task(ingest_target, "ingest", "ingest target", root=p.target).after(checked)
        return source.output, target.output

    def select(self, seed: int, target: Any) -> Any:
        """The one-shot image of `seed`."""
        return self._task(
            select_one_shot,
            "select",
            f"seed {seed} · select one-shot image",
            target=target,
            seeds=self._seeds,
            position=self._seeds.index(seed),
            named=self._parameters.named_one_shots,
        ).output

    def personalize(self, seed: int, one_shot: Any) -> Any:
        """The diffusion model, personalized on the one-shot image."""
        name = f"seed {seed} · personalize"
        return self._task(personalize, "personalize", name, one_shot=one_shot, seed=seed).output

    def generate(
        self,
        seed: int,
        personalized: Any,
        *,
        source: Any,
        shards: int,
        name: str,
        run_name: str,
        variant: Sequence[str] = (),
    ) -> Any:
        """All images that the personalized model draws, those with labels from label maps of `source`, in
        `shards` tasks (1 to 8)."""
        parts = {
            f"shard_{shard}": self._task(
                generate,
                "generate",
                f"{name} · generate {shard}/{shards}",
                personalized=personalized,
                source=source,
                seed=seed,
                shard=shard,
                shards=shards,
                variant=list(variant),
                run_name=run_name,
            ).output
            for shard in range(1, shards + 1)
        }
        if shards == 1:
            return parts["shard_1"]
        return self._task(merge_shards, "merge", f"{name} · merge shards", run_name=run_name, **parts).output

    def train_and_evaluate(
        self,
        seed: int,
        *,
        data: tuple[Any, Any],
        one_shot: Any,
        images: Mapping[str, Any],
        baseline: str = "",
        name: str,
        run_name: str,
    ) -> Any:
        """The run folder of one training on `images`, the inputs of `adapt` that say what is trained on; a
        `baseline` is trained in place of the run's method."""
        source, target = data
        method = getattr(self._parameters, "method", baseline)
        shared = {"method": method, "baseline": baseline, "seed": seed, "run_name": run_name}
        given = {"source": source, "validation": target, **shared, **images}
        trained = self._task(adapt, "adapt", f"{name} · adapt", **given)
        # The report shows what was drawn.
        drawn = images.get("generated")
        tested = self._task(
            evaluate,
            "evaluate",
            f"{name} · evaluate",
            segmentor=trained.output,
            dataset=target,
            one_shot=one_shot,
            **({"generated": drawn} if drawn else {}),
            **shared,
        )
        return tested.outputs["run"]

    def report(self, runs: Sequence[tuple[str, Any]]) -> None:
        """Reports on `runs`: the name of the baseline that a run belongs to, or nothing, and its folder."""
        folders = {f"run_{number}": run for number, (_, run) in enumerate(runs, start=1)}
        component = report_on(len(runs))
        self._task(component, "report", "report", baselines=[baseline for baseline, _ in runs], **folders)

    def _task(self, component: Any, kind: str, name: str, **given: Any) -> Any:
        """A task of `component` with the inputs `given`; the others are the fields of the form that are named
        alike."""
        fields = {
            key: field
            for key, field in vars(self._parameters).items()
            if key in component.component_spec.inputs
        }
        if "image" in component.component_spec.inputs:
            given["image"] = self._cluster.image_of(kind) if self._cluster else ""
        if "gpu_count" in component.component_spec.inputs:
            # Of a pipeline that trains.
            given["gpu_count"] = self._cluster.gpus_of("adapt") if self._cluster and self._seeds else 0
        task = component(**{**fields, **given})
        task.set_display_name(name)
        if self._cluster:
            self._cluster.place(task, kind, name)
        return task
