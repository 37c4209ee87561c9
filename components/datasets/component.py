"""Ingest the source and target data sets, and choose the one-shot images."""

from kfp import dsl

from components.images import IMAGES


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def ingest_source(root: str, benchmark: str, workspace: str, profile: str, overrides: list[str]) -> str:
    """Checks and converts the labelled source data set, or draws one; returns where it lies."""
    from pathlib import Path

    from datum.cluster.tasks import failing_with_status
    from datum.config import load_settings
    from datum.datasets.ingest import ingest_source

    output = Path(workspace) / "datasets" / "source"
    with failing_with_status():
        settings = load_settings(profile, overrides).datasets
        ingest_source(
            "gta" if benchmark == "gta-to-cityscapes" else "synthia",
            Path(root) if root else None,
            output,
            settings=settings,
        )
    return str(output)


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def ingest_target(root: str, workspace: str, profile: str, overrides: list[str]) -> str:
    """Checks and converts the target data set, or draws one; returns where it lies."""
    from pathlib import Path

    from datum.cluster.tasks import failing_with_status
    from datum.config import load_settings
    from datum.datasets.ingest import ingest_target

    output = Path(workspace) / "datasets" / "target"
    with failing_with_status():
        settings = load_settings(profile, overrides).datasets
        ingest_target(Path(root) if root else None, output, settings=settings)
    return str(output)


@dsl.component(base_image=IMAGES["reporting"], install_kfp_package=False)
def select_one_shot(
    target: str,
    seeds: list[int],
    position: int,
    named: list[str],
    workspace: str,
    one_shot: dsl.Output[dsl.Artifact],
):
    """Chooses the one-shot image of the seed at `position` from the target's unlabelled training images."""
    import shutil
    from pathlib import Path

    from datum.cluster.tasks import task
    from datum.datasets.one_shot import one_shot_images
    from datum.outputs import replacing

    # Numbers in lists arrive as floats.
    numbers = [int(seed) for seed in seeds]
    with task(one_shot.path, workspace, f"seed-{numbers[position]}/one_shot.png") as output:
        images = one_shot_images(Path(target), numbers, [Path(name) for name in named])
        # A copy, not a link: the output folder shares nothing with the user's files.
        with replacing(output) as temporary:
            shutil.copy2(images[position], temporary)
