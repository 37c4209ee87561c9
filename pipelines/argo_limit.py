"""Argo's limit: a run's Workflow and the state of its nodes are one object of 1 MiB at most."""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from datum.errors import InputError

BUDGET = 900_000
"""Bytes. KFP offloads nothing, and overrides and places of a run may be longer than the defaults."""

SUBMITTED = 10_000
"""Bytes that KFP's API server adds: labels, annotations, the values of the form."""

NODES_OF_A_TASK = 3_400
"""Bytes of the state of a task's nodes: of a real run of 62 tasks, Argo compresses it to 207 kB."""

_OF_A_WORKFLOW, _OF_A_TASK = 16_000, 720
"""Bytes by which a Workflow is larger than its pipeline, at most (`tests/pipelines/workflows/sizes.json`)."""


def bytes_of_pipeline(parts: Sequence[object]) -> int:
    """Size of a compiled pipeline's `parts`, its specification and what of it is Kubernetes' own, as JSON
    without blanks."""
    return sum(len(json.dumps(part, separators=(",", ":"))) for part in parts)


def bytes_of_run(file: Path) -> int:
    """What a run of the compiled pipeline in `file` takes of the limit, estimated from above."""
    parts = list(yaml.load_all(file.read_text(encoding="utf-8"), yaml.CSafeLoader))
    tasks = len(parts[0]["root"]["dag"]["tasks"])
    return bytes_of_pipeline(parts) + _OF_A_WORKFLOW + SUBMITTED + (_OF_A_TASK + NODES_OF_A_TASK) * tasks


def require_fits(file: Path, seeds: int) -> None:
    """Raises `InputError` for a compiled pipeline over so many `seeds` whose runs Argo could not hold."""
    found = bytes_of_run(file)
    if found > BUDGET:
        raise InputError(
            f"seeds: a run of {file.stem} over {seeds} of them takes {found / 1000:.0f} kB of Argo's limit, "
            f"expected at most {BUDGET / 1000:.0f}; name fewer, and the others in another upload and run, "
            "or upload only a pipeline that holds so many: `datum upload PIPELINE`"
        )
