"""Faults that pass are waited out, for a time."""

import time

import pytest

from datum import patience
from datum.errors import InputError, TemporaryFaultError
from datum.patience import persevere


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def failing(times: int, error: Exception) -> list[Exception]:
    return [error] * times


def test_a_fault_that_passes_is_waited_out_and_each_try_is_said(
    no_pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    faults = failing(9, TemporaryFaultError("s3://bucket: out of reach"))

    def attempt() -> str:
        if faults:
            raise faults.pop()
        return "stored"

    assert persevere("save state", attempt, until=time.monotonic() + 1000) == "stored"
    assert no_pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 9
    assert said[0].startswith("save state: s3://bucket: out of reach; try 1, again in 1s")


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATUM_PATIENCE", "0")
    monkeypatch.setattr(patience, "_started", time.monotonic() - 1)

    def attempt() -> None:
        raise TemporaryFaultError("out of reach")

    with pytest.raises(TemporaryFaultError, match="out of reach"):
        persevere("save state", attempt)


def test_wrong_input_is_not_tried_again(no_pauses: list[float]) -> None:
    def attempt() -> None:
        raise InputError("no such bucket")

    with pytest.raises(InputError, match="no such bucket"):
        persevere("save state", attempt)
    assert no_pauses == []
