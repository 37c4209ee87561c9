"""What decides a result, and what is only recorded."""

import hashlib
import json
from pathlib import Path

import pytest

from datum.config import PAPER, to_dict
from datum.outputs import write_json
from datum.provenance import PROVENANCE, Provenance, read_provenance

OF_0_1 = {
    "stage": "adapt",
    "datum_version": "0.1.0",
    "method": "daformer",
    "seed": 1,
    "inputs": {"validation": None, "encoder": "0123"},
    "settings": {"adaptation": to_dict(PAPER.adaptation), "evaluation": to_dict(PAPER.evaluation)},
}
"""A record as datum 0.1 wrote it."""


def provenance(**changed: object) -> Provenance:
    settings = to_dict(PAPER.adaptation) | changed
    return Provenance(
        stage="adapt",
        settings={"adaptation": settings, "evaluation": to_dict(PAPER.evaluation)},
        inputs=OF_0_1["inputs"],  # type: ignore[arg-type]
        seed=1,
        arguments={"method": "daformer"},
    )


@pytest.mark.parametrize("change", [{"workers": 0}, {"log_every": 7}, {"save_every": 7}])
def test_a_way_of_working_is_recorded_and_not_compared(tmp_path: Path, change: dict[str, int]) -> None:
    write_json(tmp_path / PROVENANCE, provenance().record())
    assert provenance(**change).made(tmp_path)
    assert provenance(**change).digest() == provenance().digest()
    assert provenance(**change).record()["settings"]["adaptation"].items() >= change.items()


@pytest.mark.parametrize("change", [{"iterations": 7}, {"validate_every": 7}, {"learning_rate": 1.0}])
def test_what_decides_the_result_makes_another_one(tmp_path: Path, change: dict[str, float]) -> None:
    write_json(tmp_path / PROVENANCE, provenance().record())
    assert provenance().made(tmp_path)
    assert not provenance(**change).made(tmp_path)
    assert provenance(**change).digest() != provenance().digest()


def test_what_datum_0_1_left_is_gone_on_with(tmp_path: Path) -> None:
    write_json(tmp_path / PROVENANCE, OF_0_1)
    assert provenance().made(tmp_path)
    digest = hashlib.sha256(json.dumps(OF_0_1, sort_keys=True).encode()).hexdigest()[:16]
    assert provenance().digest_of_0_1() == digest


def test_a_folder_without_a_readable_record_was_made_by_nothing(tmp_path: Path) -> None:
    assert not provenance().made(tmp_path)
    for text in ("", "[1]", "{"):
        (tmp_path / PROVENANCE).write_text(text)
        assert read_provenance(tmp_path) is None and not provenance().made(tmp_path)


def test_versions_are_recorded(tmp_path: Path) -> None:
    record = provenance().record()
    assert record["datum_version"] and record["versions"]["torch"]
