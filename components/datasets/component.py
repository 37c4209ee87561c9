"""Check a run's parameters, ingest the source and target data sets, and choose the one-shot images."""

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
    installation: dict,
    workspace: str,
    findings: dsl.Output[dsl.Markdown],
):
    """Refuses a run that cannot work, before anything is downloaded and any GPU is asked for."""
    from pathlib import Path

    from components.check import check_run
    from components.task import failing_with_status

    with failing_with_status(installation):
        check_run(
            page=Path(findings.path),
            in_cluster=not workspace,
            draws=draws,
            benchmark=benchmark,
            method=method,
            encoder=encoder,
            overrides=overrides,
            variants=variants,
            # Numbers in lists arrive as floats.
            seeds=[int(seed) for seed in seeds],
            named=named_one_shots,
            source=source,
            target=target,
            base_model=base_model,
            pretrained_encoder=pretrained_encoder,
            inputs=[] if pretrained_encoder == "random" else [pretrained_encoder],
            resume_from=resume_from,
            title=title,
            installation=installation,
        )


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def ingest_source(
    root: str,
    benchmark: str,
    installation: dict,
    workspace: str,
    overrides: list[str],
) -> str:
    """Checks and converts the labelled source data set, or draws one; returns where it lies."""
    from pathlib import Path

    from components.task import failing_with_status, scratch
    from datum.config import load_settings
    from datum.datasets.remote import ingest_uri
    from datum.datasets.working_copy import ingest_dataset
    from datum.methods import BENCHMARKS

    dataset = BENCHMARKS[benchmark].source
    with failing_with_status(installation):
        settings = load_settings(installation["profile"], overrides).datasets
        if not workspace:
            return ingest_uri(dataset, root, installation["datasets"], scratch(), settings=settings)
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
