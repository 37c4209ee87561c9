"""Fine-tunes the base diffusion model on the one-shot image with DreamBooth.

## `personalize`
Writes `checkpoint-<step>/`, each a whole `StableDiffusionPipeline`. Tried again, it goes on from the newest
checkpoint.

- `one_shot`: the photograph
- `base_model`: hub id, `s3://` URI of a diffusers folder, or `streetscenes`; empty takes the profile's
- `personalized`: the checkpoints

## `check_node`
Looks at a node before the run needs it: a GPU that torch computes on, if one is asked for, the disks and
whether `/scratch` holds what is fetched there, `/dev/shm`, and the base model where `personalize` will take
it from. It asks for what training asks for, so that a cluster without room for a training shows it at once;
the run ends with it.

- `base_model`: hub id, `s3://` URI of a diffusers folder, or `streetscenes`; empty takes the profile's,
  `none` looks for none
- `gpu_count`: GPUs that are asked for
- `source`: URI of the source data set, for the room that it takes on `/scratch`; empty where scenes are drawn
- `target`: URI of the target data set, for the same

## Notes
Settings: `personalization.*` of [datum/config.py](../../datum/config.py): `datum personalize --help` lists
them.

A model from the hub needs TCP 443 out of the cluster and, for a gated one, the secret `datum-hub` with the
key `token`.
"""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["personalization"], install_kfp_package=False)
def personalize(
    one_shot: dsl.Input[dsl.Artifact],
    seed: int,
    base_model: str,
    resume_from: str,
    installation: dict,
    image: str,
    workspace: str,
    overrides: list[str],
    personalized: dsl.Output[dsl.Model],
):
    """Fine-tunes the base model on the one-shot image with DreamBooth."""
    from components.task import located, own_state, scratch, task
    from datum.config import load_settings
    from datum.personalization.personalize import personalize
    from datum.transfer import fetch

    place = f"seed-{seed}/personalized"
    with task(personalized.path, workspace, place, installation=installation, image=image) as output:
        if base_model.startswith("s3://"):
            base_model = str(fetch(base_model, scratch()))
        chosen = [f"personalization.base_model={base_model}"] if base_model else []
        personalize(
            image=located(one_shot.path),
            output=output,
            settings=load_settings(installation["profile"], [*overrides, *chosen]).personalization,
            seed=seed,
            state_uri=own_state(installation["state"], resume_from),
        )


@dsl.component(base_image=IMAGES["personalization"], install_kfp_package=False)
def check_node(
    base_model: str,
    gpu_count: int,
    source: str,
    target: str,
    installation: dict,
    overrides: list[str],
    findings: dsl.Output[dsl.Markdown],
):
    """Looks at a node as the trainings will find it: its GPU, its disks, and the way to the base model."""
    from pathlib import Path

    from components.inside import rows_of_node, show_rows
    from components.task import failing_with_status

    with failing_with_status(installation):
        rows = rows_of_node(
            base_model=base_model,
            gpu_count=gpu_count,
            source=source,
            target=target,
            profile=installation["profile"],
            overrides=overrides,
        )
        show_rows(rows, Path(findings.path))
