"""The folder of one seed's run, read and checked.

    RUN/run.json                  {"seed", "benchmark", "method", "encoder", "profile"} and, optional, "data":
                                  what the data are, where they are not the benchmark's own
    RUN/one_shot.png              the one-shot image
    RUN/generated/                output of `datum generate`: images/, manifest.jsonl
    RUN/segmentor/                output of `datum adapt`
    RUN/evaluation/               output of `datum evaluate` for the checkpoint that the report speaks of
    RUN/evaluation_last/          optional: the same for the other one of best and last checkpoint

A baseline's folder needs `run.json`, `segmentor/` and `evaluation/` alone; that of a method that trains on no
drawn image needs no `generated/`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.labels import CLASS_NAMES
from datum.outputs import sha256

CHECKPOINTS = ("best", "last")
"""Stems of the checkpoints that `datum adapt` leaves: the best on the validation set and the last."""

METHODS_WITHOUT_DRAWINGS = ("source-only", "one-image")
"""Methods that train on no drawn image."""

RUN_KEYS: Mapping[str, type] = {
    "seed": int,
    "benchmark": str,
    "method": str,
    "encoder": str,
    "profile": str,
    "data": str,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generated:
    """One line of a generation manifest."""

    prompt: str
    file: Path


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
    reported: str
    """`best` or `last`: the checkpoint that `evaluation/` scores, found by its SHA-256."""
    scores: Mapping[str, Mapping[str, Any]]
    """`metrics.json` of the reported checkpoint and, where it was evaluated, of the other one."""
    training: Sequence[Mapping[str, Any]]
    """Lines of `segmentor/training.jsonl`."""
    generated: Sequence[Generated]
    """Empty for a baseline, and for a method that trains on no drawn image."""

    @property
    def checkpoint(self) -> Path:
        """File of the reported checkpoint."""
        return self.folder / "segmentor" / f"{self.reported}.safetensors"

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
        for key in ("benchmark", "method", "encoder", "profile", "data"):
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


def _read_run(option: str, folder: Path, *, baseline: bool) -> Run:
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: no such folder, expected the folder of one seed's run")
    about = _read_about(folder / "run.json")
    hashes = {n: sha256(require_file(folder / "segmentor" / f"{n}.safetensors")) for n in CHECKPOINTS}
    for name in ("config.yaml", "provenance.json"):
        require_file(folder / "segmentor" / name)
    if not baseline:
        require_file(folder / "one_shot.png")
    draws = not baseline and about["method"] not in METHODS_WITHOUT_DRAWINGS
    evaluated = _scored(folder / "evaluation", hashes)
    others = _scored(folder / "evaluation_last", hashes) if (folder / "evaluation_last").is_dir() else {}
    return Run(
        folder=folder,
        **about,
        reported=next(iter(evaluated)),
        scores=evaluated | others,
        training=_read_training(folder / "segmentor" / "training.jsonl"),
        generated=_read_manifest(folder / "generated") if draws else [],
    )


def require_file(file: Path) -> Path:
    """`file`; raises `InputError` where it is missing."""
    if not file.is_file():
        raise InputError(f"{file}: missing; run the stage that writes it again")
    return file


def _read_about(file: Path) -> dict[str, Any]:
    about = {"data": "", **_read_json(file)}
    for key, kind in RUN_KEYS.items():
        if type(about.get(key)) is not kind:
            raise InputError(
                f"{file}: found {key} {about.get(key)!r}, expected a value of type {kind.__name__}"
            )
    return {key: about[key] for key in RUN_KEYS}


def _read_scores(file: Path) -> dict[str, Any]:
    scores = _read_json(file)
    complete = (
        {"19", "16", "13"} <= set(scores.get("miou") or ())
        and set(scores.get("iou") or ()) == set(CLASS_NAMES)
        and all(_is_score(v) for v in (*scores["miou"].values(), *scores["iou"].values()))
        and _is_score(scores.get("pixel_accuracy"))
        and isinstance(scores.get("images"), int)
        and isinstance(scores.get("checkpoint_sha256"), str)
    )
    if not complete:
        raise InputError(f"{file}: is not a metrics.json of `datum evaluate`; evaluate the checkpoint again")
    return scores


def _is_score(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and 0 <= value <= 100)


def _scored(evaluation: Path, hashes: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Scores by the checkpoint they are of: both, where the last checkpoint is the best one."""
    file = evaluation / "metrics.json"
    scores = _read_scores(file)
    found = scores["checkpoint_sha256"]
    scored = {name: scores for name in CHECKPOINTS if hashes[name] == found}
    if not scored:
        raise InputError(
            f"{file}: scores a checkpoint with SHA-256 {found[:12]}…, but best.safetensors and "
            "last.safetensors in segmentor/ are others; evaluate the checkpoint again"
        )
    return scored


def _read_training(file: Path) -> list[dict[str, Any]]:
    lines = _read_json_lines(file)
    for number, line in enumerate(lines, start=1):
        numbers = all(isinstance(value, (int, float)) for value in line.values())
        if not numbers or "iteration" not in line:
            raise InputError(
                f"{file}, line {number}: expected an iteration and other numbers; run `datum adapt` again"
            )
    return lines


def _read_manifest(folder: Path) -> list[Generated]:
    manifest = folder / "manifest.jsonl"
    lines = _read_json_lines(manifest)
    if not lines:
        raise InputError(f"{manifest}: lists no image; run `datum generate` again")
    generated = []
    for number, line in enumerate(lines, start=1):
        prompt, name = line.get("prompt"), line.get("file")
        if not isinstance(prompt, str) or not isinstance(name, str):
            raise InputError(
                f"{manifest}: line {number} has no prompt or no file; run `datum generate` again"
            )
        # Only the base name counts: a manifest cannot point outside its own folder.
        generated.append(Generated(prompt=prompt, file=folder / "images" / Path(name).name))
    return generated


def _read_json_lines(file: Path) -> list[dict[str, Any]]:
    text = _read_text(file)
    return [_parse(f"{file}, line {n}", line) for n, line in enumerate(text.splitlines(), start=1)]


def _read_json(file: Path) -> dict[str, Any]:
    return _parse(str(file), _read_text(file))


def _read_text(file: Path) -> str:
    try:
        return require_file(file).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{file}: is not UTF-8 text; run the stage that writes it again") from None


def _parse(where: str, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where}: is not JSON ({error}); run the stage that writes it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{where}: found {type(content).__name__}, expected a JSON object")
    return content
