"""Confusion matrix, IoU and mIoU against definitions spelled out pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datum.labels import CLASS_NAMES, IGNORE, SYNTHIA_13, SYNTHIA_16
from datum.segmentation.iou import confusion_matrix, iou, miou, score

shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=12)
train_ids = st.integers(0, 18)


@st.composite
def labeled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(shapes)
    # Few classes at a time, so that absent, only predicted and never predicted classes are common.
    classes = draw(st.lists(train_ids, min_size=1, max_size=6))
    labels = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*classes, IGNORE])))
    predictions = draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*classes, draw(train_ids)])))
    return labels, predictions


@given(labeled())
@settings(deadline=None, derandomize=True)
def test_the_confusion_matrix_counts_each_labeled_pixel_once(pair: tuple[np.ndarray, np.ndarray]) -> None:
    labels, predictions = pair
    expected = np.zeros((19, 19), dtype=np.int64)
    for label, prediction in zip(labels.ravel(), predictions.ravel()):
        if label != IGNORE:
            expected[label, prediction] += 1
    counted = confusion_matrix(labels, predictions)
    assert counted.dtype == np.int64
    np.testing.assert_array_equal(counted, expected)


@given(labeled())
@settings(deadline=None, derandomize=True)
def test_iou_is_intersection_over_union_of_the_pixel_sets_in_percent(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    labels, predictions = pair
    scores = iou(confusion_matrix(labels, predictions))
    counted = labels != IGNORE
    assert list(scores) == list(CLASS_NAMES)
    for train_id, name in enumerate(CLASS_NAMES):
        truth, predicted = (labels == train_id) & counted, (predictions == train_id) & counted
        union = (truth | predicted).sum()
        if union == 0:
            assert scores[name] is None
        else:
            assert scores[name] == pytest.approx(100 * (truth & predicted).sum() / union, abs=1e-9)


@given(labeled(), st.sampled_from([CLASS_NAMES, SYNTHIA_16, SYNTHIA_13]))
@settings(deadline=None, derandomize=True)
def test_miou_is_the_mean_over_the_classes_that_occur(
    pair: tuple[np.ndarray, np.ndarray], names: tuple[str, ...]
) -> None:
    confusion = confusion_matrix(*pair)
    values = [np.nan if value is None else value for name, value in iou(confusion).items() if name in names]
    if np.isnan(values).all():
        assert miou(confusion, names) is None
    else:
        assert miou(confusion, names) == pytest.approx(np.nanmean(values))


def test_a_class_that_is_only_predicted_scores_0_and_an_absent_one_nothing() -> None:
    labels = np.array([0, 0, 13, IGNORE], dtype=np.uint8)
    predictions = np.array([0, 16, 13, 9], dtype=np.uint8)
    scores = iou(confusion_matrix(labels, predictions))
    assert {name: score for name, score in scores.items() if score is not None} == {
        "road": 50.0,
        "car": 100.0,
        "train": 0.0,
    }


def test_metrics_report_the_three_means_datums_rule_and_the_pixel_accuracy() -> None:
    confusion = np.diag(np.full(19, 3))
    confusion[9, 0] = 3  # half of terrain is taken for road
    result = score(confusion)
    assert result["iou"]["terrain"] == 50.0
    assert result["iou"]["road"] == 50.0
    assert result["miou"] == {
        "19": pytest.approx(1800 / 19),
        "16": pytest.approx(1550 / 16),
        "13": pytest.approx(1250 / 13),
    }
    assert result["miou_19_times_19_over_16"] == pytest.approx(1800 / 16)
    assert result["pixel_accuracy"] == pytest.approx(100 * 57 / 60)
    assert result["confusion_matrix"] == confusion.tolist()


def test_nothing_counted_gives_no_numbers_instead_of_a_division_by_zero() -> None:
    void = np.full((4, 4), IGNORE, dtype=np.uint8)
    result = score(confusion_matrix(void, np.zeros((4, 4), dtype=np.uint8)))
    assert result["miou"] == {"19": None, "16": None, "13": None}
    assert result["pixel_accuracy"] is None


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        (np.zeros(3, np.uint8), np.zeros(4, np.uint8), "shape"),
        (np.zeros(3, np.int64), np.zeros(3, np.uint8), "expected uint8"),
        (np.full(3, 19, np.uint8), np.zeros(3, np.uint8), "labels hold values"),
        (np.zeros(3, np.uint8), np.full(3, IGNORE, np.uint8), "predictions hold values"),
    ],
)
def test_other_shapes_types_and_values_are_refused(
    labels: np.ndarray, predictions: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        confusion_matrix(labels, predictions)
