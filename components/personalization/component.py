"""Personalize the base diffusion model on the one-shot image."""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["personalization"], install_kfp_package=False)
def personalize(
    one_shot: dsl.Input[dsl.Artifact],
    seed: int,
    base_model: str,
    state: str,
    resume_from: str,
    store_endpoint: str,
    image: str,
    workspace: str,
    profile: str,
    overrides: list[str],
    personalized: dsl.Output[dsl.Model],
):
    """Fine-tunes the base model on the one-shot image with DreamBooth."""
    from components.task import located, own_state, scratch, task
    from datum.config import load_settings
    from datum.personalization.personalize import personalize
    from datum.transfer import fetch

    with task(
        personalized.path, workspace, f"seed-{seed}/personalized", store_endpoint, image=image
    ) as output:
        if base_model.startswith("s3://"):
            base_model = str(fetch(base_model, scratch()))
        chosen = [f"personalization.base_model={base_model}"] if base_model else []
        personalize(
            image=located(one_shot.path),
            output=output,
            settings=load_settings(profile, [*overrides, *chosen]).personalization,
            seed=seed,
            state_uri=own_state(state, resume_from),
        )
