"""Compiles the pipelines to YAML: `python -m pipelines.compile --output FOLDER`."""

import argparse
import json
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kfp import compiler

from components.images import IMAGES, STAGES
from datum.config import Profile
from datum.errors import InputError, exit_status
from pipelines.ablation import ablation
from pipelines.argo_limit import require_fits
from pipelines.baselines import baselines
from pipelines.cells import MOST_SEEDS, cells
from pipelines.form_defaults import FormDefaults
from pipelines.ingest import ingest
from pipelines.reproduction import reproduction, require_seeds
from pipelines.resources import Cluster
from pipelines.without_drawing import without_drawing

SHARDS: Mapping[Profile, int] = {"paper": 4, "demo": 1}
"""Tasks that share the drawing of one seed's images, at most: four GPUs draw the paper's 2,975 in half an
hour instead of two; a laptop's one node gains nothing."""

DRAWING = 12
"""Tasks that draw at once for all seeds together: of more than three, each has fewer shards."""

DRAWING_CELLS = 6
"""The same of the cells, whose runs are the largest."""


def compile_all(output: Path, cluster: Cluster, names: Collection[str] | None = None) -> list[Path]:
    """Writes one YAML for each pipeline, or for each of `names`, into `output`, and returns the files.

    Raises `InputError` for seeds that no report can be over, and for more than Argo could hold a run of.
    """
    profile, seeds = cluster.form.profile, cluster.form.seeds
    require_seeds("seeds", seeds)
    shards, few = SHARDS[profile], seeds[:MOST_SEEDS]
    each = max(1, min(shards, DRAWING // len(seeds)))
    pipelines = {
        "reproduction": reproduction(seeds=seeds, shards=each, cluster=cluster),
        "training": without_drawing(seeds=seeds, cluster=cluster),
        "baselines": baselines(seeds=seeds, cluster=cluster),
        "ablation": ablation(seed=seeds[0], shards=shards, profile=profile, cluster=cluster),
        "ingest": ingest(cluster=cluster),
        "cells": cells(seeds=few, shards=max(1, min(shards, DRAWING_CELLS // len(few))), cluster=cluster),
    }
    output.mkdir(parents=True, exist_ok=True)
    files = []
    for name in [name for name in pipelines if names is None or name in names]:
        files.append(output / f"{name}.yaml")
        compile_pipeline(pipelines[name], files[-1])
        require_fits(files[-1], len(seeds))
    return files


def compile_pipeline(pipeline: Any, file: Path) -> None:
    """Writes the YAML of `pipeline`, the same bytes each time."""
    compiler.Compiler().compile(pipeline, str(file))
    # kfp's comment at the top writes defaults with their keys in any order.
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("#")), encoding="utf-8")


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
        form = FormDefaults(profile=options.profile, gpu_count=int(options.profile == "paper"))
        cluster = Cluster(images=images, data_volume=options.data_volume, form=form)
        compile_all(options.output, cluster)


if __name__ == "__main__":
    main()
