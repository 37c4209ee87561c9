"""Draw images of the new place, in shards, and bring the shards together."""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["generation"], install_kfp_package=False)
def generate(
    personalized: dsl.Input[dsl.Model],
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
    from components.task import located, own_state, task
    from datum.config import load_settings
    from datum.generation.generate import generate

    name = "generated" if shards == 1 else f"shards/{shard}-of-{shards}"
    place = f"{run_name}/{name}"
    with task(generated.path, workspace, place, installation=installation, image=image) as output:
        generate(
            model=located(personalized.path),
            output=output,
            settings=load_settings(installation["profile"], [*overrides, *variant]).generation,
            seed=seed,
            shard=(shard, shards),
            state_uri=own_state(installation["state"], resume_from),
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
