"""When a reproduction has drifted: on simulated histories, and case by case."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from datum.formats.history import ReproducedSeed, Reproduction
from datum.reporting.drift import COMPARED, LEAST_RUNS, WINDOW, band_of, drift_sentences, judge_drift

HISTORIES = 300
"""Simulated, of each length."""
DROP = 3.0
"""Points of mIoU."""


def reproduction(number: int, scores: Sequence[float], **changed: Any) -> Reproduction:
    """The run that ended as the `number`-th, with a seed for each of `scores`."""
    seeds = [
        ReproducedSeed(seed=n, miou=score, iou={"train": 60.0, "truck": 55.0, "bus": 70.0, "car": 90.0})
        for n, score in enumerate(scores, start=1)
    ]
    return dataclasses.replace(
        Reproduction(
            run=f"run-{number}",
            finished=float(number),
            report="",
            about=dict.fromkeys(COMPARED, "x"),
            settings={"adaptation.iterations": 40_000},
            versions={},
            miou=sorted(scores)[(len(scores) - 1) // 2],
            seeds=seeds,
            reasons=(),
        ),
        **changed,
    )


def drifted(history: Sequence[Reproduction], run: Reproduction) -> bool:
    return bool(judge_drift(run, history, None)["drifted"])


@pytest.mark.parametrize(("seeds", "deviation"), [(3, 0.3), (3, 1.1), (5, 1.1), (2, 0.8)])
def test_false_alarms_are_rare_and_a_drop_is_found_within_two_runs(seeds: int, deviation: float) -> None:
    random = np.random.default_rng(seeds)
    alarms, found = [], []
    for runs in (LEAST_RUNS, 10, WINDOW):
        for _ in range(HISTORIES):
            scores = random.normal(66, deviation, (runs + 2, seeds))
            past = [reproduction(n, list(row)) for n, row in enumerate(scores[:runs])]
            alarms.append(drifted(past, reproduction(runs, list(scores[runs]))))
            first = reproduction(runs, list(scores[runs] - DROP))
            second = reproduction(runs + 1, list(scores[runs + 1] - DROP))
            found.append(drifted(past, first) or drifted([*past, first], second))
    assert np.mean(alarms) < 0.02
    assert np.mean(found) > 0.95


@pytest.mark.parametrize("deviation", [1.5, 2.5])
def test_seeds_that_scatter_widely_do_not_raise_alarms(deviation: float) -> None:
    # MIC's users got 70.2, 72.2, 74.7 and 76.0 with four seeds.
    random = np.random.default_rng(1)
    alarms = []
    for _ in range(3 * HISTORIES):
        scores = random.normal(66, deviation, (11, 3))
        past = [reproduction(n, list(row)) for n, row in enumerate(scores[:10])]
        alarms.append(drifted(past, reproduction(10, list(scores[10]))))
    assert np.mean(alarms) < 0.02


def test_runs_that_are_equal_to_the_last_bit_have_a_band_all_the_same() -> None:
    past = [reproduction(n, [66.0, 66.0, 66.0]) for n in range(8)]
    assert band_of(past) == pytest.approx((63.5, 68.5))
    assert not drifted(past, reproduction(8, [64.0, 64.0, 64.0]))
    found = judge_drift(reproduction(8, [63.0, 63.0, 63.0]), past, None)
    assert found["reasons"] == ["the median mIoU 63.00 is outside the band of 8 earlier runs, 63.50 to 68.50"]
    # Better by as much is another result too.
    assert drifted(past, reproduction(8, [69.0, 69.0, 69.0]))


def test_two_runs_that_are_low_together_have_drifted() -> None:
    past = [reproduction(n, [66.0]) for n in range(8)]
    first, second = reproduction(8, [64.0]), reproduction(9, [64.0])
    assert not drifted(past, first)
    (reason,) = judge_drift(second, [*past, first], None)["reasons"]
    assert reason.startswith("the median mIoU of this run and the one before, 64.00 together")


def test_too_few_runs_have_no_band_and_that_is_said() -> None:
    past = [reproduction(n, [66.0]) for n in range(LEAST_RUNS - 1)]
    found = judge_drift(reproduction(9, [10.0]), past, None)
    assert found["band"] is None and not found["drifted"]
    assert drift_sentences(found) == [
        (
            "",
            "Whether it drifts from earlier runs cannot be told yet: 5 earlier runs of the same are known, a "
            "band takes 6.",
        )
    ]
    assert drift_sentences(None) == []
    ((_, of_one),) = drift_sentences(found | {"earlier_runs": 1})
    assert of_one.endswith(": 1 earlier run of the same is known, a band takes 6.")


@pytest.mark.parametrize(
    "other",
    [
        {"about": dict.fromkeys(COMPARED, "y")},
        {"settings": {"adaptation.iterations": 20}},
        {"finished": 100.0},
        {"run": "run-9"},
    ],
    ids=["another method", "another setting", "later", "itself"],
)
def test_only_earlier_runs_of_the_same_make_the_band(other: dict[str, Any]) -> None:
    past = [reproduction(n, [66.0], **other) for n in range(LEAST_RUNS)]
    assert judge_drift(reproduction(9, [10.0]), past, None)["earlier_runs"] == 0


def test_a_setting_that_a_release_adds_begins_no_new_history() -> None:
    past = [reproduction(n, [66.0]) for n in range(LEAST_RUNS)]
    added = {"adaptation.iterations": 40_000, "adaptation.new": True}
    assert drifted(past, reproduction(9, [50.0], settings=added))


def test_a_level_that_lasts_becomes_the_band() -> None:
    runs = [reproduction(n, [66.0]) for n in range(20)]
    for n in range(20, 40):
        runs.append(reproduction(n, [60.0]))
    assert not drifted(runs, reproduction(40, [60.0]))


def test_a_result_below_the_published_band_has_drifted_without_any_history() -> None:
    published = {"verdict": "below", "found": 64.0, "miou": 68.3, "counts_from": 65.8}
    found = judge_drift(reproduction(0, [64.0]), [], published)
    assert found["reasons"] == [
        "the mean mIoU 64.00 is below the band of the published 68.3, which begins at 65.8"
    ]
    assert not judge_drift(reproduction(0, [66.0]), [], published | {"verdict": "inside"})["drifted"]


def with_train(run: Reproduction, *scores: float | None) -> Reproduction:
    seeds = [
        dataclasses.replace(seed, iou={**seed.iou, "train": score}) for seed, score in zip(run.seeds, scores)
    ]
    return dataclasses.replace(run, seeds=seeds)


@pytest.mark.parametrize(
    ("scores", "reasons"),
    [
        ((60.0, 58.0, 2.0), ["train collapsed in seed 3: 2.0, usually 60.0"]),
        ((60.0, 58.0, None), ["train collapsed in seed 3: 0.0, usually 60.0"]),
        ((60.0, 58.0, 30.0), []),
        ((0.0, 0.0, 0.0), [f"train collapsed in seed {n}: 0.0, usually 60.0" for n in (1, 2, 3)]),
    ],
)
def test_a_class_that_is_lost_in_a_seed_is_named(
    scores: tuple[float | None, ...], reasons: list[str]
) -> None:
    past = [reproduction(n, [66.0, 66.0, 66.0]) for n in range(2)]
    run = with_train(reproduction(5, [66.0, 66.0, 66.0]), *scores)
    assert judge_drift(run, past, None)["reasons"] == reasons


def test_a_class_that_never_scores_or_does_not_occur_has_not_collapsed() -> None:
    for usual in (5.0, None):
        past = [with_train(reproduction(n, [66.0] * 3), usual, usual, usual) for n in range(8)]
        run = with_train(reproduction(9, [66.0] * 3), 0.0 if usual else None, usual, usual)
        assert judge_drift(run, past, None)["reasons"] == []
