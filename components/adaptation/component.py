"""Trains the segmentation network from labeled source images to the drawn ones.

## `adapt`
Self-training on the drawn images, on the one-shot image alone, or on all target images, or training on the
source alone. Tried again, it goes on from the last saved iteration and ends with the same weights.

- `source`: URI of the ingested source
- `validation`: URI of the ingested target, of which the val split is fetched
- `method`: a method, or the name of an experiment (`datum experiments`)
- `baseline`: the method that is trained in place of it, for comparison; empty trains the run's own
- `generated`: the drawn images, where these are trained on
- `labeled`: whether the labeled ones among them, if there are any, are a second labeled source
- `one_shot`: the photograph, where it is
- `gpu_count`: GPUs that share each batch, where there are several
- `segmentor`: `best.safetensors`, `last.safetensors`, `config.yaml`, `training.jsonl`, `provenance.json`,
  and `pictures/` of what is mixed

## Notes
Settings: `adaptation.*`, `evaluation.*` and `run.target_images` of
[datum/config.py](../../datum/config.py): `datum adapt --help` lists them.

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
    baseline: str,
    pretrained_encoder: str,
    seed: int,
    run_name: str,
    resume_from: str,
    gpu_count: int,
    installation: dict,
    image: str,
    workspace: str,
    overrides: list[str],
    segmentor: dsl.Output[dsl.Model],
    generated: dsl.Input[dsl.Dataset] = None,
    labeled: bool = False,
    one_shot: dsl.Input[dsl.Artifact] = None,
):
    """Trains to the images of the new place that the run's settings name, or on the source alone."""
    from components.installation import on_gpus
    from components.labeled_drawings import labeled_in
    from components.task import located, own_state, scratch, task
    from datum.adaptation.adapt import adapt
    from datum.datasets.remote import fetch_target, fetch_validation
    from datum.experiments import run_settings
    from datum.transfer import fetch

    place = f"{run_name}/segmentor"
    with task(segmentor.path, workspace, place, installation=installation, image=image) as output:
        if pretrained_encoder:
            if pretrained_encoder.startswith("s3://"):
                pretrained_encoder = str(fetch(pretrained_encoder, scratch()))
            overrides = [*overrides, f"adaptation.pretrained_encoder={pretrained_encoder}"]
        overrides = [*on_gpus(gpu_count), *overrides]
        fields = {"benchmark": benchmark, "method": method, "encoder": encoder, "baseline": baseline}
        settings = run_settings(installation["profile"], **fields, overrides=overrides)
        run, artifacts = settings.run, {"generated": generated, "one-shot": one_shot}
        images = artifacts.get(run.target_images)
        everything = fetch_target(validation, scratch()) if run.target_images == "all" else None
        adapt(
            benchmark=run.benchmark,
            method=run.method,
            encoder=run.encoder,
            source=fetch(source, scratch()),
            target=located(images.path) if images else everything,
            labeled=labeled_in(generated) if labeled else None,
            validation=everything or fetch_validation(validation, scratch()),
            output=output,
            settings=settings.adaptation,
            evaluation=settings.evaluation,
            seed=seed,
            state_uri=own_state(installation["state"], resume_from),
        )
