"""The folder of one seed's run: `datum.evaluation.seed_run` completes it, the report reads it.

    RUN/run.json                  {"seed", "benchmark", "method", "encoder", "profile"} and, optional, "data":
                                  what the data are, where they are not the benchmark's own; "target_images":
                                  what the method trained on (absent: the method's, or drawn images);
                                  "labels": "source" where it also trained on labeled drawings (absent: none);
                                  "experiment": its name (datum.experiments), where it is one
    RUN/one_shot.png              the one-shot image
    RUN/generated/                output of `datum generate`: images/, manifest.jsonl, labeled/
    RUN/segmentor/                output of `datum adapt`
    RUN/evaluation/               output of `datum evaluate` for the checkpoint that the report speaks of
    RUN/evaluation_last/          optional: the same for the other one of best and last checkpoint
    RUN/mmcv.pth                  optional: the best checkpoint as the references' programs read it

A baseline's folder needs `run.json`, `segmentor/` and `evaluation/` alone; that of a method that trains on no
drawn image needs no `generated/`.
"""

import dataclasses
import functools
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.generated import Drawing, read_drawings
from datum.formats.image_scores import ImageScore, read_image_scores
from datum.formats.json_files import read_json, read_text, require_file
from datum.formats.metrics import METRICS, read_metrics
from datum.formats.training_log import read_training_log
from datum.methods import METHODS, TargetImages
from datum.outputs import sha256, write_json

EVALUATIONS: Mapping[str, str] = {"best": "evaluation", "last": "evaluation_last"}
"""Checkpoint that `datum adapt` leaves -> folder of its evaluation. DATUM reports the best on the validation
set, DAFormer the last."""

CHECKPOINTS = tuple(EVALUATIONS)

MMCV_EXPORT = "mmcv.pth"

DESCRIPTION = "run.json"

DESCRIPTION_KEYS: Mapping[str, type] = {
    "seed": int,
    "benchmark": str,
    "method": str,
    "encoder": str,
    "profile": str,
    "data": str,
    "target_images": str,
    "labels": str,
    "experiment": str,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One seed of one method, with the scores of its checkpoints."""

    folder: Path
    seed: int
    benchmark: str
    method: str
    encoder: str
    profile: str
    data: str
    """What the data are; empty where they are the benchmark's own."""
    target_images: TargetImages
    """Images of the new place that it trained on."""
    labels: str
    """`source` where it also trained on labeled drawings, else `none`."""
    experiment: str
    """Name of the published experiment that it is one seed of; empty where it is none."""
    reported: str
    """`best` or `last`: the checkpoint that `evaluation/` scores, found by its SHA-256."""
    scores: Mapping[str, Mapping[str, Any]]
    """`metrics.json` of the reported checkpoint and, where it was evaluated, of the other one."""
    training: Sequence[Mapping[str, Any]]
    """Lines of `segmentor/training.jsonl`."""
    generated: Sequence[Drawing]
    """Empty for a baseline, and for a method that trains on no drawn image."""
    image_scores: Sequence[ImageScore] = ()
    """What was counted of each image by `evaluation/`; empty where an earlier release wrote it."""

    @property
    def checkpoint(self) -> Path:
        """File of the reported checkpoint."""
        return self.folder / "segmentor" / f"{self.reported}.safetensors"

    @functools.cached_property
    def photograph(self) -> str:
        """SHA-256 of the one-shot image; empty where the run trains without one, or its folder has none."""
        file = self.folder / "one_shot.png"
        return sha256(file) if self.target_images in ("generated", "one-shot") and file.is_file() else ""

    def examples(self) -> dict[str, Path]:
        """Name of each example image -> the path all its three files start with."""
        suffix = "_image.png"
        images = sorted((self.folder / "evaluation" / "examples").glob(f"*{suffix}"))
        return {image.name.removesuffix(suffix): Path(str(image).removesuffix(suffix)) for image in images}


def read_runs(option: str, folders: Sequence[Path], *, baseline: bool) -> list[Run]:
    """The runs of one method, in the order of their seeds; `option` names them in messages.

    Raises `InputError` for a missing or broken part, a seed given twice, and runs that differ in more than
    their seed.
    """
    runs = sorted((_read_run(option, folder, baseline=baseline) for folder in folders), key=lambda r: r.seed)
    first = runs[0]
    for run, following in zip(runs, runs[1:]):
        if run.seed == following.seed:
            raise InputError(
                f"{option} {following.folder}: has seed {run.seed}, as has {run.folder}; give each seed once"
            )
    for run in runs:
        for key in (key for key in DESCRIPTION_KEYS if key != "seed"):
            require_same(option, run, first, key)
    return runs


def require_same(option: str, run: Run, first: Run, key: str) -> None:
    """Raises `InputError` where two runs that are compared differ in the field `key`."""
    found, expected = getattr(run, key), getattr(first, key)
    if found != expected:
        raise InputError(
            f"{option} {run.folder}: found {key} {found!r}, expected {expected!r} as in {first.folder}; "
            "a report compares like with like"
        )


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Writes `run.json`, which comes last: with it the folder is whole."""
    write_json(folder / DESCRIPTION, description)


def _read_run(option: str, folder: Path, *, baseline: bool) -> Run:
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: no such folder, expected the folder of one seed's run")
    description = _read_description(folder / DESCRIPTION)
    hashes = {n: sha256(require_file(folder / "segmentor" / f"{n}.safetensors")) for n in CHECKPOINTS}
    read_text(folder / "segmentor" / "config.yaml")
    read_json(folder / "segmentor" / "provenance.json")
    if not baseline:
        require_file(folder / "one_shot.png")
    draws = not baseline and description["target_images"] == "generated"
    evaluated = _scored(folder / EVALUATIONS["best"], hashes)
    last = folder / EVALUATIONS["last"]
    return Run(
        folder=folder,
        **description,
        reported=next(iter(evaluated)),
        scores=evaluated | (_scored(last, hashes) if last.is_dir() else {}),
        training=read_training_log(folder / "segmentor"),
        generated=read_drawings(folder / "generated") if draws else [],
        image_scores=read_image_scores(folder / EVALUATIONS["best"]),
    )


def _read_description(file: Path) -> dict[str, Any]:
    description = {
        **{"data": "", "target_images": "", "labels": "none", "experiment": ""},
        **read_json(file),
    }
    if not description["target_images"]:
        method = METHODS.get(str(description.get("method")))
        description["target_images"] = (method and method.target) or "generated"
    for key, kind in DESCRIPTION_KEYS.items():
        if type(description.get(key)) is not kind:
            raise InputError(
                f"{file}: found {key} {description.get(key)!r}, expected a value of type {kind.__name__}"
            )
    if description["target_images"] not in typing.get_args(TargetImages):
        raise InputError(
            f"{file}: found target_images {description['target_images']!r}, expected one of "
            f"{', '.join(typing.get_args(TargetImages))}"
        )
    if description["seed"] < 0:
        raise InputError(f"{file}: found seed {description['seed']}, expected 0 or more")
    return {key: description[key] for key in DESCRIPTION_KEYS}


def _scored(evaluation: Path, hashes: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Scores by the checkpoint they are of: both, where the last checkpoint is the best one."""
    scores = read_metrics(evaluation)
    found = scores["checkpoint_sha256"]
    scored = {name: scores for name in CHECKPOINTS if hashes[name] == found}
    if not scored:
        raise InputError(
            f"{evaluation / METRICS}: scores a checkpoint with SHA-256 {found[:12]}…, but best.safetensors "
            "and last.safetensors in segmentor/ are others; evaluate the checkpoint again"
        )
    return scored
