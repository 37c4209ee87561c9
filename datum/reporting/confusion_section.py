"""Which classes are taken for which: the confusion matrices of all seeds of a method together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datum.formats.run_folder import Run
from datum.labels import CLASS_NAMES

MOST = 6
"""Confusions that are named beside the matrix."""


def confusion_figures(runs: Sequence[Run]) -> dict[str, Any]:
    """What `report.json` says of the reported checkpoints of `runs`: `counts` of pixels by label (rows) and
    prediction (columns), both in the order of `classes`; and the `most` frequent confusions, in percent of
    the pixels that are labeled as the class."""
    matrices = [run.scores[run.reported]["confusion_matrix"] for run in runs]
    counts = np.asarray(matrices, dtype=np.int64).sum(axis=0).tolist()
    shares = confusion_shares(counts)
    wrong = [
        (share, CLASS_NAMES[label], CLASS_NAMES[prediction])
        for label, row in enumerate(shares)
        for prediction, share in enumerate(row or ())
        if label != prediction and share > 0
    ]
    wrong.sort(key=lambda entry: (-entry[0], entry[1:]))
    return {
        "classes": list(CLASS_NAMES),
        "counts": counts,
        "most": [
            {"class": label, "taken_for": prediction, "percent": share}
            for share, label, prediction in wrong[:MOST]
        ],
    }


def confusion_shares(counts: Sequence[Sequence[int]]) -> list[list[float] | None]:
    """Each row of `counts` in percent of its sum; None for a class that is labeled nowhere."""
    return [[100 * count / sum(row) for count in row] if sum(row) else None for row in counts]


def confusion_rows(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the page's table: the class, and its cells (share, whether it is right, predicted class);
    None where it is labeled nowhere."""
    names = figures["classes"]
    return [
        {
            "name": name,
            "cells": shares and [(share, other == name, other) for share, other in zip(shares, names)],
        }
        for name, shares in zip(names, confusion_shares(figures["counts"]))
    ]
