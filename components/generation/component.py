"""Draws images of the new place with class prompts, in shards.

## `generate`
One shard. An image depends on its own seed alone, so shards give the images of an undivided run. Every
image is copied to the state store; tried again, the task draws those that are missing.

- `personalized`: output of `personalize`
- `shard`: which shard, from 1
- `shards`: how many there are
- `source`: URI of the ingested source, whose label maps labeled images are drawn from
- `variant`: further overrides, for an ablation
- `generated`: `images/` and `manifest.jsonl`, and `labeled/` where `generation.labels` is `source`

## `merge_shards`
Verifies the shards of one seed and brings them together.

- `shard_1`: a shard
- `generated`: all images, with one manifest

## Notes
Settings: `generation.*` of [datum/generation_settings.py](../../datum/generation_settings.py): `datum
generate --help` lists them.

With `generation.labels=source` the source data set is fetched, as training does. `generation.controlnet`
may be an s3:// URI of a folder too; labeled images are judged by `generation.judge`, or else by
`adaptation.initial_segmentor`, where one of them is given.
"""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["generation"], install_kfp_package=False)
def generate(
    personalized: dsl.Input[dsl.Model],
    source: str,
    seed: int,
    shard: int,
    shards: int,
    variant: list[str],
    run_name: str,
    resume_from: str,
    installation: dict,
    image: str,
    workspace: str,
    overrides: list[str],
    generated: dsl.Output[dsl.Dataset],
):
    """Draws one shard of the images with class prompts; `variant` overrides settings for an ablation."""
    from components.labeled_drawings import with_labels
    from components.task import located, own_state, task
    from datum.config import load_settings
    from datum.generation.generate import generate

    name = "generated" if shards == 1 else f"shards/{shard}-of-{shards}"
    place = f"{run_name}/{name}"
    with task(generated.path, workspace, place, installation=installation, image=image) as output:
        generate(
            model=located(personalized.path),
            output=output,
            seed=seed,
            shard=(shard, shards),
            state_uri=own_state(installation["state"], resume_from),
            **with_labels(load_settings(installation["profile"], [*overrides, *variant]), source),
        )


@dsl.component(base_image=IMAGES["generation"], install_kfp_package=False)
def merge_shards(
    shard_1: dsl.Input[dsl.Dataset],
    shard_2: dsl.Input[dsl.Dataset],
    run_name: str,
    image: str,
    workspace: str,
    generated: dsl.Output[dsl.Dataset],
    shard_3: dsl.Input[dsl.Dataset] = None,
    shard_4: dsl.Input[dsl.Dataset] = None,
    shard_5: dsl.Input[dsl.Dataset] = None,
    shard_6: dsl.Input[dsl.Dataset] = None,
    shard_7: dsl.Input[dsl.Dataset] = None,
    shard_8: dsl.Input[dsl.Dataset] = None,
):
    """Verifies the shards of one seed and brings them together in one folder."""
    from components.task import located, task
    from datum.generation.shards import merge_shards

    given = [shard_1, shard_2, shard_3, shard_4, shard_5, shard_6, shard_7, shard_8]
    with task(generated.path, workspace, f"{run_name}/generated", image=image) as output:
        merge_shards([located(shard.path) for shard in given if shard], output)
