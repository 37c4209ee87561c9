"""The 19 Cityscapes evaluation classes and the label spaces that map onto them.

Three kinds of number name a class:

* a *label id* is what a data set's label PNG holds (Cityscapes and GTA share one space, 0 to 34;
  SYNTHIA has its own, 0 to 22);
* a *train id* is the class's row in the network's output, 0 to 18 in the order of `CLASSES`;
* `IGNORE` (255) stands for void wherever train ids are stored.

Sources: cityscapesScripts `helpers/labels.py` for names, ids and colors; DAFormer's
`tools/convert_datasets/{gta,synthia,cityscapes}.py` for the maps.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

IGNORE = 255
"""Train id of void pixels: no loss is taken there and no metric counts them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentationClass:
    """One of the 19 evaluation classes."""

    name: str
    train_id: int
    label_id: int
    """Id in Cityscapes' and GTA's label PNGs."""
    synthia_id: int
    """Id in SYNTHIA's (RAND_CITYSCAPES) label PNGs."""
    color: tuple[int, int, int]
    """RGB, 0 to 255, of the Cityscapes palette."""
    thing: bool
    """Countable object (DAFormer's thing classes: 6, 7 and 11 to 18)."""


def _table() -> tuple[SegmentationClass, ...]:
    rows = (
        # name, label id, SYNTHIA id, color, thing
        ("road", 7, 3, (128, 64, 128), False),
        ("sidewalk", 8, 4, (244, 35, 232), False),
        ("building", 11, 2, (70, 70, 70), False),
        ("wall", 12, 21, (102, 102, 156), False),
        ("fence", 13, 5, (190, 153, 153), False),
        ("pole", 17, 7, (153, 153, 153), False),
        ("traffic light", 19, 15, (250, 170, 30), True),
        ("traffic sign", 20, 9, (220, 220, 0), True),
        ("vegetation", 21, 6, (107, 142, 35), False),
        ("terrain", 22, 16, (152, 251, 152), False),
        ("sky", 23, 1, (70, 130, 180), False),
        ("person", 24, 10, (220, 20, 60), True),
        ("rider", 25, 17, (255, 0, 0), True),
        ("car", 26, 8, (0, 0, 142), True),
        ("truck", 27, 18, (0, 0, 70), True),
        ("bus", 28, 19, (0, 60, 100), True),
        ("train", 31, 20, (0, 80, 100), True),
        ("motorcycle", 32, 12, (0, 0, 230), True),
        ("bicycle", 33, 11, (119, 11, 32), True),
    )
    return tuple(
        SegmentationClass(
            name=name, train_id=train_id, label_id=label_id, synthia_id=synthia_id, color=color, thing=thing
        )
        for train_id, (name, label_id, synthia_id, color, thing) in enumerate(rows)
    )


CLASSES: tuple[SegmentationClass, ...] = _table()
"""All classes, in the order of their train ids."""

CLASS_NAMES: tuple[str, ...] = tuple(c.name for c in CLASSES)

LABEL_ID: Mapping[str, int] = {c.name: c.label_id for c in CLASSES}
"""Cityscapes label id of each class name."""

VOID_LABEL_ID = 0
"""Cityscapes label id `unlabeled`, written where nothing is labeled."""

SYNTHIA_16: tuple[str, ...] = tuple(n for n in CLASS_NAMES if n not in ("terrain", "truck", "train"))
"""The 16 classes that the SYNTHIA benchmark scores."""

SYNTHIA_13: tuple[str, ...] = tuple(n for n in SYNTHIA_16 if n not in ("wall", "fence", "pole"))
"""The 13 classes of the older SYNTHIA benchmark."""

SCORED_CLASSES: Mapping[str, tuple[str, ...]] = {"19": CLASS_NAMES, "16": SYNTHIA_16, "13": SYNTHIA_13}
"""Classes that there is a mean over, by their number."""

CITYSCAPES_MAX_LABEL_ID = 34
"""Largest label id in Cityscapes and GTA label PNGs (34 is GTA's license plate, -1 in Cityscapes)."""

SYNTHIA_MAX_LABEL_ID = 22
"""Largest label id in SYNTHIA's label PNGs."""


def _lookup(pairs: Mapping[int, int], default: int) -> np.ndarray:
    table = np.full(256, default, dtype=np.uint8)
    for source, destination in pairs.items():
        table[source] = destination
    table.setflags(write=False)
    return table


LABEL_ID_TO_TRAIN_ID: np.ndarray = _lookup({c.label_id: c.train_id for c in CLASSES}, IGNORE)
"""uint8[256]: Cityscapes or GTA label id -> train id, `IGNORE` for every other id."""

SYNTHIA_ID_TO_TRAIN_ID: np.ndarray = _lookup({c.synthia_id: c.train_id for c in CLASSES}, IGNORE)
"""uint8[256]: SYNTHIA label id -> train id, `IGNORE` for every other id."""

TRAIN_ID_TO_LABEL_ID: np.ndarray = _lookup({c.train_id: c.label_id for c in CLASSES}, VOID_LABEL_ID)
"""uint8[256]: train id -> Cityscapes label id, `VOID_LABEL_ID` for `IGNORE`."""


def _palette() -> np.ndarray:
    colors = np.zeros((256, 3), dtype=np.uint8)
    for c in CLASSES:
        colors[c.train_id] = c.color
    colors.setflags(write=False)
    return colors


TRAIN_ID_TO_COLOR: np.ndarray = _palette()
"""uint8[256, 3]: train id -> RGB of the Cityscapes palette, black for `IGNORE`."""
