"""What decides a result, and what is only recorded."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from datum.config import PAPER
from datum.outputs import write_json
from datum.provenance import PROVENANCE, Provenance, read_provenance, record_of


def provenance(**changed: Any) -> Provenance:
    inputs = {"encoder": "0123", "named": {"validation": changed.pop("validation", "/data")}}
    return Provenance(
        stage="adapt",
        settings={
            "adaptation": dataclasses.replace(PAPER.adaptation, **changed),
            "evaluation": PAPER.evaluation,
        },
        inputs=inputs,
        seed=1,
        arguments={"method": "daformer"},
    )


FINISHED: dict[str, str] = {}
"""Digests of no files, which make a record one of finished work."""


@pytest.mark.parametrize(
    "change",
    [
        {"workers": 0},
        {"log_every": 7},
        {"save_every": 7},
        {"pretrained_encoder": "elsewhere/mit_b5.pth"},
        {"validation": "/elsewhere"},
    ],
)
def test_what_does_not_decide_the_result_is_recorded_and_not_compared(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    write_json(tmp_path / PROVENANCE, provenance().record(outputs=FINISHED))
    assert provenance(**change).made(tmp_path)
    assert provenance(**change).digest() == provenance().digest()
    record = provenance(**change).record()
    assert (record["settings"]["adaptation"] | record["inputs"]["named"]).items() >= change.items()


def test_unfinished_work_goes_on_with_another_interval_of_validation(tmp_path: Path) -> None:
    write_json(tmp_path / PROVENANCE, provenance().record())
    assert provenance(validate_every=7).goes_on_from(tmp_path)
    assert provenance(validate_every=7).digest() == provenance().digest()
    assert not provenance(validate_every=7).made(tmp_path)


@pytest.mark.parametrize("change", [{"iterations": 7}, {"learning_rate": 1.0}, {"batch_size": 7}])
def test_what_decides_the_result_makes_another_one(tmp_path: Path, change: dict[str, float]) -> None:
    write_json(tmp_path / PROVENANCE, provenance().record(outputs=FINISHED))
    assert provenance().made(tmp_path)
    other = provenance(**change)
    assert not other.made(tmp_path) and not other.goes_on_from(tmp_path)
    assert other.digest() != provenance().digest()
    [(key, value)] = change.items()
    assert f"settings.adaptation.{key} " in other.differences(tmp_path) and str(value) in other.differences(
        tmp_path
    )


def test_a_folder_without_a_readable_record_was_made_by_nothing(tmp_path: Path) -> None:
    assert not provenance().made(tmp_path)
    for text in ("", "[1]", "{", "[" * 100_000):
        (tmp_path / PROVENANCE).write_text(text)
        assert read_provenance(tmp_path) is None and not provenance().made(tmp_path)


def test_code_machine_and_times_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATUM_IMAGE", "registry.example.org/datum/adaptation@sha256:01")
    record = provenance().record(started=1.0, outputs={"a": "00"})
    assert record["datum_version"] and record["versions"]["torch"] and record["device"]
    assert record["image"] == "registry.example.org/datum/adaptation@sha256:01"
    assert record["started"] == 1.0 < record["finished"] and record["outputs"] == {"a": "00"}
    assert set(record) >= {"git_commit", "made_from"}


def test_the_record_of_an_input_keeps_the_digests_that_are_asked_for(tmp_path: Path) -> None:
    write_json(
        tmp_path / PROVENANCE, provenance().record(outputs={"a.json": "00", "b/c.bin": "01", "d": "02"})
    )
    assert record_of(tmp_path, "a.json", "b/*")["outputs"] == {"a.json": "00", "b/c.bin": "01"}
    assert record_of(tmp_path / "nowhere", "*") == {}
