"""Gathers all that the report shows of one seed, with both checkpoints evaluated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datum.config import EvaluationSettings
from datum.evaluation.evaluate import evaluate
from datum.formats.metrics import read_metrics
from datum.formats.run_folder import EVALUATIONS, MMCV_EXPORT, write_description
from datum.outputs import place
from datum.provenance import read_provenance
from datum.segmentation.mmcv_export import export_to_mmcv, is_of_references


def evaluate_seed_run(
    *,
    output: Path,
    segmentor: Path,
    one_shot: Path,
    generated: Path | None,
    dataset: Path,
    settings: EvaluationSettings,
    description: Mapping[str, Any],
    export: bool = False,
) -> dict[str, float]:
    """Completes `output`, the folder of one seed's run that `datum report` reads.

    `segmentor` is an output of `datum adapt`, `generated` one of `datum generate` (None for a baseline that
    had none), `description` the content of `run.json`, which is written last; whether there were labeled
    drawings is said by the training's own record. Parts that already lie in `output` stay where they are,
    others are placed there. With `export` the best network is there for the references' programs too,
    where they have its like. Returns the 19-class mIoU of both checkpoints, in percent.
    """
    miou = {}
    for checkpoint, name in EVALUATIONS.items():
        file = segmentor / f"{checkpoint}.safetensors"
        evaluate(checkpoint=file, dataset=dataset, output=output / name, settings=settings)
        miou[f"miou_{checkpoint}"] = read_metrics(output / name)["miou"]["19"]
    best = segmentor / "best.safetensors"
    if export and is_of_references(best):
        export_to_mmcv(checkpoint=best, output=output / MMCV_EXPORT, replaceable=True)
    parts = {"segmentor": segmentor, "one_shot.png": one_shot}
    if generated:
        parts["generated"] = generated
    for name, part in parts.items():
        if part.resolve() != (output / name).resolve():
            place(part.resolve(), output / name)
    record = read_provenance(segmentor) or {}
    labeled = record.get("inputs", {}).get("labeled")
    write_description(output, {**description, **({"labels": "source"} if labeled else {})})
    return miou
