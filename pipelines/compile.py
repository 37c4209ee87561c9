"""Compiles the pipelines to YAML: `python -m pipelines.compile --output FOLDER`."""

import argparse
import json
import typing
from collections.abc import Mapping
from pathlib import Path

from kfp import compiler

from components.images import IMAGES, STAGES
from datum.config import Profile
from datum.errors import InputError, exit_status
from pipelines.ablation import ablation
from pipelines.baselines import baselines
from pipelines.form_defaults import FormDefaults
from pipelines.ingest import ingest
from pipelines.reproduction import reproduction
from pipelines.resources import Cluster

SHARDS: Mapping[Profile, int] = {"paper": 4, "demo": 1}
"""Tasks that share the drawing of one seed's images: four GPUs draw the paper's 2,975 in half an hour instead
of two; a laptop's one node gains nothing."""


def compile_all(
    output: Path,
    *,
    images: Mapping[str, str] | None = None,
    data_volume: str = "",
    profile: Profile = "paper",
    form: FormDefaults | None = None,
    sets_run_as_non_root: bool = True,
) -> list[Path]:
    """Writes one YAML a pipeline into `output`, and returns the files.

    `images` maps each stage to its image (default: the tags that `make images` builds). With `data_volume`,
    a PersistentVolumeClaim, data sets may be paths below /data. What tasks ask of the cluster is for
    `profile`; `form` fills the form. `sets_run_as_non_root` is for KFP 2.16 and newer.
    """
    cluster = Cluster(
        images=images or IMAGES,
        data_volume=data_volume,
        profile=profile,
        form=form,
        sets_run_as_non_root=sets_run_as_non_root,
    )
    pipelines = {
        "reproduction": reproduction(shards=SHARDS[profile], baselines=False, cluster=cluster),
        "baselines": baselines(cluster=cluster),
        "ablation": ablation(shards=SHARDS[profile], profile=profile, cluster=cluster),
        "ingest": ingest(cluster=cluster),
    }
    output.mkdir(parents=True, exist_ok=True)
    files = []
    for name, pipeline in pipelines.items():
        files.append(output / f"{name}.yaml")
        compiler.Compiler().compile(pipeline, str(files[-1]))
    return files


def read_images(file: Path) -> dict[str, str]:
    """The images recorded by `make push` or `make images`; raises `InputError` for a file that is none."""
    try:
        images = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--images {file}: cannot be read ({error}); run `make images` or `make push`"
        ) from None
    missing = [stage for stage in STAGES if not isinstance(images, dict) or not images.get(stage)]
    if missing:
        raise InputError(f"--images {file}: names no image of {', '.join(missing)}; run `make images` again")
    return {stage: images[stage] for stage in STAGES}


def main() -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder that the YAML files go to")
    parser.add_argument("--images", type=Path, help="build/images.json (default: the tags of `make images`)")
    parser.add_argument("--data-volume", default="", help="claim with data sets, mounted at /data")
    parser.add_argument("--profile", choices=typing.get_args(Profile), default="paper")
    options = parser.parse_args()
    with exit_status():
        compile_all(
            options.output,
            images=read_images(options.images) if options.images else None,
            data_volume=options.data_volume,
            profile=options.profile,
        )


if __name__ == "__main__":
    main()
