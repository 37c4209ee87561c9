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
from pipelines.ingest import ingest
from pipelines.reproduction import reproduction
from pipelines.resources import Cluster

SHARDS: Mapping[Profile, int] = {"paper": 4, "demo": 1}
"""Tasks that share the drawing of one seed's images: four GPUs draw the paper's 2,975 in half an hour instead
of two; a laptop's one node gains nothing."""


def compile_all(output: Path, cluster: Cluster) -> list[Path]:
    """Writes one YAML a pipeline into `output`, and returns the files."""
    shards = SHARDS[cluster.profile]
    pipelines = {
        "reproduction": reproduction(shards=shards, cluster=cluster),
        "baselines": baselines(cluster=cluster),
        "ablation": ablation(shards=shards, profile=cluster.profile, cluster=cluster),
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
        images = read_images(options.images) if options.images else IMAGES
        cluster = Cluster(images=images, data_volume=options.data_volume, profile=options.profile)
        compile_all(options.output, cluster)


if __name__ == "__main__":
    main()
