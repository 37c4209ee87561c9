"""The ablation: what the personalization step, the number of images and the prompts are worth.

One model is personalized a seed. Each variant draws its own images from it and trains on them, with one
setting changed; the report shows the profile's own settings, and each variant beside them.
"""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from datum.config import PROFILES, Profile
from pipelines.dag import Tasks
from pipelines.form import form_fields, pipeline
from pipelines.resources import Cluster


def variants(profile: Profile) -> dict[str, str]:
    """Name of each variant -> the setting that it changes, for the sizes of `profile`.

    Steps: every other checkpoint that personalization writes. Images: a third and a tenth of the profile's
    number. Prompt: the instance prompt in place of one prompt a class (the paper compares both).
    """
    settings = PROFILES[profile]
    training, drawing = settings.personalization, settings.generation
    steps = range(training.checkpoint_every, training.steps + 1, training.checkpoint_every)
    counts = (drawing.count // 10, drawing.count // 3)
    return {
        **{
            f"{step} steps": f"generation.checkpoint_step={step}"
            for step in steps
            if step != drawing.checkpoint_step
        },
        **{f"{count} images": f"generation.count={count}" for count in counts},
        "generic prompt": f"generation.prompt_template={training.instance_prompt}",
    }


def ablation(
    *,
    seed: int = 1,
    shards: int = 1,
    profile: Profile = "paper",
    changes: Mapping[str, str] | None = None,
    cluster: Cluster | None = None,
) -> Any:
    """The pipeline over the `changes` (name -> override; those of `profile` if None) of one seed."""
    changed = variants(profile) if changes is None else changes

    def body(p: SimpleNamespace) -> None:
        tasks = Tasks(p, seeds=[seed], cluster=cluster)
        data = tasks.ingest(tasks.check(variants=list(changed.values())))
        one_shot = tasks.select(seed, data[1])
        personalized = tasks.personalize(seed, one_shot)

        def run(variant: Sequence[str], **names: Any) -> Any:
            drawing = {"source": data[0], "shards": shards, "variant": variant}
            generated = tasks.generate(seed, personalized, **drawing, **names)
            images = {"generated": generated, "labeled": True}
            shared = {"data": data, "one_shot": one_shot, "images": images}
            return tasks.train_and_evaluate(seed, **shared, **names)

        runs = [("", run([], name=f"seed {seed}", run_name=f"seed-{seed}"))]
        for name, change in changed.items():
            run_name = f"{name.replace(' ', '-')}/seed-{seed}"
            runs.append((name, run([change], name=name, run_name=run_name)))
        tasks.report(runs)

    return pipeline(
        "datum-ablation",
        "What the personalization step, the number of images and the prompts are worth.",
        form_fields(cluster),
        body,
        cluster=cluster,
    )
