"""What the runs took: time, GPU hours, images per second and memory, by method and stage."""

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datum.formats.run_folder import EVALUATIONS, Run
from datum.formats.training_log import LARGEST
from datum.provenance import read_provenance

STAGES: Mapping[str, str] = {
    "personalize": "personalize",
    "generate": "draw",
    "adapt": "train",
    "evaluate": "test",
}
"""Stages in the order of the DAG, and what the page calls them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Work:
    """What one stage of one run took; None or 0 where nothing says so."""

    stage: str
    device: str
    seconds: float | None
    gpus: int | None
    images_per_second: float | None
    peak_memory: int


def cost_figures(
    runs: Sequence[Run], baselines: Mapping[str, Sequence[Run]], name: str
) -> list[dict[str, Any]]:
    """What `report.json` says: a row for each stage of the method `name` and of each baseline, over its
    seeds.

    `seconds` and `gpu_hours` are sums, `images_per_second` the median and `peak_memory` (bytes) the largest;
    null where not every seed's record says so. Work that several methods share counts for the first.
    """
    rows, counted = [], set[tuple[str, str]]()
    for method, group in {name: runs, **baselines}.items():
        works = [work for run in group for work in _works(run, counted)]
        for stage in STAGES:
            if of_stage := [work for work in works if work.stage == stage]:
                rows.append({"method": method, "stage": stage, **_together(of_stage)})
    return rows


def cost_totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """A row of the sums: `seconds` and `gpu_hours`, None where one of the `rows` does not know them; the
    other figures have no sum."""
    sums = {key: _sum([row[key] for row in rows]) for key in ("seconds", "gpu_hours")}
    return {**sums, "images_per_second": None, "peak_memory": None}


def _together(works: Sequence[_Work]) -> dict[str, Any]:
    hours = [
        None if work.seconds is None or work.gpus is None else work.gpus * work.seconds / 3600
        for work in works
    ]
    rates = [work.images_per_second for work in works if work.images_per_second is not None]
    return {
        "seeds": len(works),
        "device": ", ".join(sorted({work.device for work in works if work.device})),
        "seconds": _sum([work.seconds for work in works]),
        "gpu_hours": _sum(hours),
        "images_per_second": statistics.median(rates) if rates else None,
        "peak_memory": max(work.peak_memory for work in works) or None,
    }


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if values and len(known) == len(values) else None


def _works(run: Run, counted: set[tuple[str, str]]) -> Iterator[_Work]:
    """The work of each stage of `run` that is not `counted` yet."""
    generated = (read_provenance(run.folder / "generated") or {}) if run.generated else {}
    personalized = _dict(_dict(generated.get("made_from")).get("model"))
    tested = [read_provenance(run.folder / folder) for folder in EVALUATIONS.values()]
    trained = read_provenance(run.folder / "segmentor") or {}
    records = {
        "personalize": [personalized] if personalized else [],
        "generate": [generated] if generated else [],
        "adapt": [trained] if trained else [],
        "evaluate": [record for record in tested if record],
    }
    images = {
        "generate": len(run.generated),
        "evaluate": len(records["evaluate"]) * run.scores[run.reported]["images"],
    }
    for stage, found in records.items():
        new = [record for record in found if _key(stage, record) not in counted]
        counted.update(_key(stage, record) for record in new)
        if new and (work := _work(stage, new, images.get(stage, 0))):
            yield _trained(work, run) if stage == "adapt" else work


def _key(stage: str, record: Mapping[str, Any]) -> tuple[str, str]:
    return stage, repr(record.get("started"))


def _work(stage: str, records: Sequence[Mapping[str, Any]], images: int) -> _Work:
    """What finished outputs took together; each may have been made in several parts (shards)."""
    parts = [_dict(part) for record in records for part in _list(record.get("parts")) or [record]]
    # Earlier releases recorded neither memory nor when a work began.
    known = all(_is_figure(part, "peak_memory", "started", "finished") for part in parts)
    seconds = sum(part["finished"] - part["started"] for part in parts) if known else None
    processes = _processes(records[0])
    return _Work(
        stage=stage,
        device=str(parts[0].get("device") or ""),
        seconds=seconds,
        gpus=processes if known and parts[0].get("gpu") else 0 if known else None,
        images_per_second=images / seconds if images and seconds else None,
        peak_memory=max(part["peak_memory"] for part in parts) if known else 0,
    )


def _trained(work: _Work, run: Run) -> _Work:
    """What a training's log says goes before its record, which knows the first of its processes alone."""
    seconds, rates, memory = (
        [line[key] for line in run.training if key in line]
        for key in ("seconds", "images_per_second", "peak_memory")
    )
    return dataclasses.replace(
        work,
        seconds=max(seconds) if seconds else work.seconds,
        images_per_second=statistics.median(rates) if rates else None,
        peak_memory=int(max(memory)) if memory else work.peak_memory,
    )


def _processes(record: Mapping[str, Any]) -> int:
    """Processes of a training, each of which has a GPU; 1 of other stages."""
    processes = _dict(_dict(record.get("settings")).get("adaptation")).get("processes")
    return processes if type(processes) is int and processes > 0 else 1


def _is_figure(part: Mapping[str, Any], *keys: str) -> bool:
    # A record may have been written by anyone.
    return all(type(part.get(key)) in (int, float) and 0 <= part[key] <= LARGEST for key in keys)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
