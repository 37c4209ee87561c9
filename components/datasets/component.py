"""Checks a run's parameters, brings both data sets into the form that training reads, and chooses the one-
shot images.

## `check_parameters`
Refuses a run that cannot work, in one line, before data are moved and a GPU is asked for: settings, their
combinations, URIs. On a cluster it looks around with the real secret and network: it says what the run needs
of the store, writes, reads and removes an object in each place of it, compares the clock with the store's,
connects to KFP's metadata store, and writes to the disks. One table of it is in its log and in `findings`.

- `variants`: overrides of an ablation, each of which must go with the others
- `named_one_shots`: named one-shot images
- `source`: URI of the source data set
- `target`: URI of the target data set
- `base_model`: diffusion model
- `title`: what the data are, for the report
- `gpu_count`: GPUs of a training, which share each batch evenly
- `draws`: whether the run personalizes and draws, for what it needs of the store

## `ingest_source`
The labeled source data set, checked and converted (train ids and class statistics, byte for byte
DAFormer's), or street scenes drawn. Published once below `datasets`; the same input is not converted again.
Images that trainings of the method read smaller are stored as these resize them, losslessly, and so are their
labels: GTA's 1914x1052 pixels as the 1280x704 that DAFormer's make of them. HRDA's read them larger, and
labeled drawings are made from them in full size.

- `root`: `s3://…`, a path of the mounted volume, or empty for drawn scenes
- `variant`: further overrides, by which the pipeline draws whatever its form says
- `Output`: URI of the ingested data set, which ends in a digest of its content

## `ingest_target`
The same for the target, in Cityscapes' layout. Labels of its training split are left behind.

- `root`: `s3://…`, a path of the mounted volume, or empty for drawn scenes
- `Output`: URI of the ingested data set

## `select_one_shot`
Chooses the one-shot image of one seed; fetches that image alone.

- `target`: URI of the ingested target
- `position`: which of them, from 0
- `named`: images named by the user, one per seed; empty draws by the seed
- `one_shot`: the photograph (PNG)

## Notes
Settings: `datasets.*` of [datum/config.py](../../datum/config.py), for drawn scenes.

GTA's images and labels take 57 GB. A volume mounted at `/data` is read in place.
"""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def check_parameters(
    benchmark: str,
    method: str,
    encoder: str,
    overrides: list[str],
    variants: list[str],
    seeds: list[int],
    draws: bool,
    named_one_shots: list[str],
    source: str,
    target: str,
    base_model: str,
    pretrained_encoder: str,
    resume_from: str,
    title: str,
    gpu_count: int,
    installation: dict,
    workspace: str,
    findings: dsl.Output[dsl.Markdown],
):
    """Refuses a run that cannot work, before anything is downloaded and any GPU is asked for."""
    from pathlib import Path

    from components.check import check_run
    from components.installation import on_gpus
    from components.task import failing_with_status

    with failing_with_status(installation):
        check_run(
            page=Path(findings.path),
            in_cluster=not workspace,
            draws=draws,
            benchmark=benchmark,
            method=method,
            encoder=encoder,
            overrides=[*on_gpus(gpu_count), *overrides],
            variants=variants,
            # Numbers in lists arrive as floats.
            seeds=[int(seed) for seed in seeds],
            named=named_one_shots,
            source=source,
            target=target,
            base_model=base_model,
            pretrained_encoder=pretrained_encoder,
            inputs=[pretrained_encoder],
            resume_from=resume_from,
            title=title,
            installation=installation,
        )


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def ingest_source(
    root: str,
    benchmark: str,
    method: str,
    variant: list[str],
    installation: dict,
    workspace: str,
    overrides: list[str],
) -> str:
    """Checks and converts the labelled source data set, or draws one; returns where it lies."""
    from pathlib import Path

    from components.task import failing_with_status, scratch
    from datum.datasets.remote import ingest_uri
    from datum.datasets.working_copy import ingest_dataset
    from datum.experiments import run_settings
    from datum.formats.source_scale import ingestion_scale
    from datum.methods import BENCHMARKS

    with failing_with_status(installation):
        profile, fields = installation["profile"], {"benchmark": benchmark, "method": method}
        run = run_settings(profile, **fields, overrides=[*overrides, *variant])
        settings, dataset = run.datasets, BENCHMARKS[run.run.benchmark].source
        if not workspace:
            place, scale = installation["datasets"], ingestion_scale(run)
            return ingest_uri(dataset, root, place, scratch(), settings=settings, scale=scale)
        output = Path(workspace) / "datasets" / "source"
        ingest_dataset(dataset, Path(root) if root else None, output, settings=settings)
        return str(output)


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def ingest_target(root: str, installation: dict, workspace: str, overrides: list[str]) -> str:
    """Checks and converts the target data set, or draws one; returns where it lies."""
    from pathlib import Path

    from components.task import failing_with_status, scratch
    from datum.config import load_settings
    from datum.datasets.remote import ingest_uri
    from datum.datasets.working_copy import ingest_dataset

    with failing_with_status(installation):
        settings = load_settings(installation["profile"], overrides).datasets
        if not workspace:
            return ingest_uri("cityscapes", root, installation["datasets"], scratch(), settings=settings)
        output = Path(workspace) / "datasets" / "target"
        ingest_dataset("cityscapes", Path(root) if root else None, output, settings=settings)
        return str(output)


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def select_one_shot(
    target: str,
    seeds: list[int],
    position: int,
    named: list[str],
    installation: dict,
    workspace: str,
    one_shot: dsl.Output[dsl.Artifact],
):
    """Chooses the one-shot image of the seed at `position` from the target's unlabelled training images."""
    import shutil

    from components.task import scratch, task
    from datum.datasets.remote import one_shot_image
    from datum.outputs import replacing

    # Numbers in lists arrive as floats.
    numbers = [int(seed) for seed in seeds]
    place = f"seed-{numbers[position]}/one_shot.png"
    with task(one_shot.path, workspace, place, installation=installation) as output:
        image = one_shot_image(target, numbers, position, named, scratch())
        # A copy, not a link: the output folder shares nothing with the user's files.
        with replacing(output) as temporary:
            shutil.copy2(image, temporary)
