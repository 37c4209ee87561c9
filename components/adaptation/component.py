"""Trains the segmentation network from labeled source images to the drawn ones.

## `adapt`
Self-training on the drawn images, on the one-shot image alone (`one-image`), or training on the source
alone (`source-only`). Tried again, it goes on from the last saved iteration and ends with the same weights.

- `source`: URI of the ingested source
- `validation`: URI of the ingested target, of which the val split is fetched
- `generated`: the drawn images, for `daformer`
- `one_shot`: the photograph, for `one-image`
- `segmentor`: `best.safetensors`, `last.safetensors`, `config.yaml`, `training.jsonl`, `provenance.json`

## Notes
Settings: `adaptation.*` and `evaluation.*` of [datum/config.py](../../datum/config.py): `datum adapt --help`
lists them.

DAFormer's training takes 16 hours on an RTX 2080 Ti and 9.7 GB of its memory. The source data set is
fetched to `/scratch`, or to the installation's `data_cache`.
"""

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
        settings = load_settings(installation["profile"], [*overrides, f"run.method={method}"])
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
