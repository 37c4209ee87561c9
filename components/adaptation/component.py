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
    pretrained_encoder: str,
    seed: int,
    run_name: str,
    resume_from: str,
    installation: dict,
    image: str,
    workspace: str,
    overrides: list[str],
    segmentor: dsl.Output[dsl.Model],
    generated: dsl.Input[dsl.Dataset] = None,
    one_shot: dsl.Input[dsl.Artifact] = None,
):
    """Trains to the generated images, to the one-shot image alone, or on the source alone."""
    from components.task import located, own_state, scratch, task
    from datum.adaptation.adapt import adapt
    from datum.config import load_settings
    from datum.datasets.remote import fetch_validation
    from datum.transfer import fetch

    target = generated or one_shot
    place = f"{run_name}/segmentor"
    with task(segmentor.path, workspace, place, installation=installation, image=image) as output:
        if pretrained_encoder:
            random = pretrained_encoder == "random"
            pretrained = pretrained_encoder if random else fetch(pretrained_encoder, scratch())
            overrides = [*overrides, f"adaptation.pretrained_encoder={pretrained}"]
        settings = load_settings(installation["profile"], overrides)
        adapt(
            benchmark=benchmark,
            method=method,
            encoder=encoder,
            source=fetch(source, scratch()),
            target=located(target.path) if target else None,
            validation=fetch_validation(validation, scratch()),
            output=output,
            settings=settings.adaptation,
            evaluation=settings.evaluation,
            seed=seed,
            state_uri=own_state(installation["state"], resume_from),
        )
