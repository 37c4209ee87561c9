"""Personalize the base diffusion model on the one-shot image."""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["personalization"], install_kfp_package=False)
def personalize(
    one_shot: dsl.Input[dsl.Artifact],
    seed: int,
    workspace: str,
    profile: str,
    overrides: list[str],
    personalized: dsl.Output[dsl.Model],
):
    """Fine-tunes the base model on the one-shot image with DreamBooth."""
    from pathlib import Path

    from datum.cluster.tasks import task
    from datum.config import load_settings
    from datum.personalization.train import personalize

    with task(personalized.path, workspace, f"seed-{seed}/personalized") as output:
        settings = load_settings(profile, overrides).personalization
        personalize(image=Path(one_shot.path), output=output, settings=settings, seed=seed)
