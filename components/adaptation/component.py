"""Train the segmentation network."""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["adaptation"], install_kfp_package=False)
def adapt(
    source: str,
    validation: str,
    benchmark: str,
    method: str,
    encoder: str,
    seed: int,
    run_name: str,
    workspace: str,
    profile: str,
    overrides: list[str],
    segmentor: dsl.Output[dsl.Model],
    generated: dsl.Input[dsl.Dataset] = None,
    one_shot: dsl.Input[dsl.Artifact] = None,
):
    """Trains to the generated images, to the one-shot image alone, or on the source alone."""
    from pathlib import Path

    from datum.adaptation.train import adapt
    from datum.cluster.tasks import task
    from datum.config import load_settings

    target = generated or one_shot
    with task(segmentor.path, workspace, f"{run_name}/segmentor") as output:
        settings = load_settings(profile, overrides)
        adapt(
            benchmark=benchmark,
            method=method,
            encoder=encoder,
            source=Path(source),
            target=Path(target.path) if target else None,
            validation=Path(validation),
            output=output,
            settings=settings.adaptation,
            evaluation=settings.evaluation,
            seed=seed,
        )
