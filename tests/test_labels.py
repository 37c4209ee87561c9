"""The class table against cityscapesScripts'."""

import numpy as np
from cityscapesscripts.helpers.labels import trainId2label

from datum.labels import CLASSES, IGNORE, LABEL_ID_TO_TRAIN_ID, SYNTHIA_13, SYNTHIA_16, TRAIN_ID_TO_LABEL_ID


def test_names_ids_and_colors_are_those_of_cityscapes_scripts() -> None:
    for segmentation_class in CLASSES:
        theirs = trainId2label[segmentation_class.train_id]
        assert (segmentation_class.name, segmentation_class.label_id) == (theirs.name, theirs.id)
        assert segmentation_class.color == theirs.color


def test_the_maps_between_label_ids_and_train_ids_are_inverse() -> None:
    train_ids = np.arange(len(CLASSES))
    assert (LABEL_ID_TO_TRAIN_ID[TRAIN_ID_TO_LABEL_ID[train_ids]] == train_ids).all()
    assert (LABEL_ID_TO_TRAIN_ID == IGNORE).sum() == 256 - len(CLASSES)


def test_the_synthia_benchmarks_score_16_and_13_classes() -> None:
    assert (len(SYNTHIA_16), len(SYNTHIA_13)) == (16, 13)
