"""Labeled drawings: in `labeled/` of an output of `datum generate`, images and `manifest.jsonl` as
`datum.formats.generated` has them, and `labels/im_<index>_p<train id>_labelTrainIds.png` for each image.

The train id in a drawing's name is that of the class that its label map was sampled for. What the gate drops
is listed in `dropped.jsonl`, and counted in `gate.json`. As there, nothing that is read is taken on trust.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from datum.errors import InputError
from datum.formats.generated import (
    IMAGES,
    MANIFEST,
    GeneratedImage,
    read_records,
    require_digest,
    require_number,
    require_text,
    verify_images,
    write_records,
)
from datum.label_files import read_label, require_same_size
from datum.labels import CLASS_NAMES, IGNORE
from datum.outputs import write_json
from datum.photographs import LARGEST_PIXELS
from datum.processors import processors

LABELED = "labeled"
LABELS = "labels"
DROPPED = "dropped.jsonl"
GATE = "gate.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Condition:
    """Where a drawing's label map was cut out. Raises ValueError for what is none."""

    image: str
    """The source image, relative to the folder of images of its data set."""
    top: int
    left: int
    """Row and column of the crop's first pixel."""

    def __post_init__(self) -> None:
        require_text("image", self.image)
        parts = PurePosixPath(self.image).parts
        if not parts or parts[0] == "/" or ".." in parts or "\0" in self.image:
            raise ValueError(f"image is {self.image!a:.80}, expected a name in its folder")
        for name in ("top", "left"):
            require_number(name, getattr(self, name), LARGEST_PIXELS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledImage(GeneratedImage):
    """One line of `labeled/manifest.jsonl`. Raises ValueError for what none of ours says."""

    label: str
    """Path in `labeled/` of the train ids, 255 for void, of the image's size."""
    label_sha256: str
    """Digest of that file."""
    condition: Condition
    agreement: float | None
    """Share of the labeled pixels that the judge gives the label's class; None where no network judged."""
    agreement_by_class: Mapping[str, float] | None
    """The same of the pixels of each class in the label, by its name."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.condition, dict):  # as JSON has it
            try:
                object.__setattr__(self, "condition", Condition(**self.condition))
            except TypeError:
                raise ValueError("condition is none") from None
        if not isinstance(self.condition, Condition):
            raise ValueError(f"condition is {self.condition!a:.80}, expected where a label map was cut out")
        if self.train_id >= len(CLASS_NAMES):
            raise ValueError(f"file is {self.file!a:.80}, expected a train id below {len(CLASS_NAMES)} in it")
        if self.label != label_name(self.file):
            raise ValueError(f"label is {self.label!a:.80}, expected {label_name(self.file)}")
        require_digest("label_sha256", self.label_sha256)
        if (self.agreement is None) != (self.agreement_by_class is None):
            raise ValueError("agreement and agreement_by_class: one is null and the other is not")
        if self.agreement_by_class is not None:
            _require_share("agreement", self.agreement)
            _require_shares(self.agreement_by_class)

    @property
    def train_id(self) -> int:
        """Of the class that the label map was sampled for."""
        return int(self.file.removesuffix(".png").rpartition("_p")[2])

    def files(self) -> dict[str, str]:
        return {self.file: self.sha256, self.label: self.label_sha256}

    def mean_agreement(self) -> float:
        """Mean over the classes in the label, so that a bicycle counts as much as the road; 0 where no
        network judged."""
        shares = list((self.agreement_by_class or {}).values())
        return sum(shares) / len(shares) if shares else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledPair:
    """What a training takes of a labeled drawing."""

    image: Path
    label: Path
    """PNG of train ids, 255 for void, of the image's size."""
    agreement: float | None


def image_name(index: int, train_id: int) -> str:
    """Path in `labeled/` of a drawing."""
    return f"{IMAGES}/im_{index}_p{train_id}.png"


def label_name(file: str) -> str:
    """Path of the label of the drawing `file`."""
    return f"{LABELS}/{file.removeprefix(f'{IMAGES}/').removesuffix('.png')}_labelTrainIds.png"


def read_labeled_manifest(folder: Path) -> list[LabeledImage]:
    """The drawings that the manifest in `folder`, the `labeled/` of a finished output, lists, in the order of
    their indices; raises `InputError` where it is missing or damaged."""
    return read_records(folder / MANIFEST, LabeledImage)


def read_dropped(folder: Path) -> list[LabeledImage]:
    """The drawings that the gate dropped from `folder`; raises `InputError` as above."""
    return read_records(folder / DROPPED, LabeledImage) if (folder / DROPPED).exists() else []


def read_labeled(output: Path) -> list[LabeledPair]:
    """The labeled drawings in an output of `datum generate`, in the order of their indices.

    Raises `InputError` where there are none, and for a file that is missing, a link, or not the one that the
    manifest names, a label of another size than its image and one with other ids than train ids.
    """
    folder = output / LABELED
    if not (folder / MANIFEST).is_file():
        raise InputError(
            f"{output}: found no {LABELED}/{MANIFEST}, expected labeled drawings; draw them with `datum "
            "generate --set generation.labels=source`"
        )
    images = read_labeled_manifest(folder)
    if not images:
        raise InputError(f"{folder / MANIFEST}: lists no drawing; run `datum generate` again")
    with ThreadPoolExecutor(processors()) as pool:
        return list(pool.map(lambda image: _verified(folder, image), images))


def write_gate(
    folder: Path, kept: Sequence[LabeledImage], dropped: Sequence[LabeledImage], share: float
) -> dict[str, Any]:
    """Writes what the gate kept and dropped, of the worst `share` of each class, removes the files of what it
    dropped, and returns the counts."""
    # In this order, a process that is killed at any point leaves every drawing in one list or in both.
    write_records(folder / DROPPED, dropped)
    write_records(folder / MANIFEST, kept)
    for name in (name for image in dropped for name in image.files()):
        (folder / name).unlink(missing_ok=True)
    counts = gate_counts(kept, dropped)
    write_json(folder / GATE, counts | {"share": share})
    return counts


def gate_counts(kept: Sequence[LabeledImage], dropped: Sequence[LabeledImage]) -> dict[str, Any]:
    """How many drawings the gate kept and dropped, in all and of each sampled class, and the mean agreement
    of every class over all drawings whose labels hold it."""
    by_class = {}
    for train_id, name in enumerate(CLASS_NAMES):
        shares = [
            image.agreement_by_class[name]
            for image in (*kept, *dropped)
            if image.agreement_by_class and name in image.agreement_by_class
        ]
        if shares:
            numbers = [sum(image.train_id == train_id for image in images) for images in (kept, dropped)]
            mean = round(sum(shares) / len(shares), 6)
            by_class[name] = {"kept": numbers[0], "dropped": numbers[1], "agreement": mean}
    return {"kept": len(kept), "dropped": len(dropped), "by_class": by_class}


def _verified(folder: Path, drawing: LabeledImage) -> LabeledPair:
    verify_images(folder, [drawing])
    image, label = folder / drawing.file, folder / drawing.label
    require_same_size(image, label)
    ids = read_label(label)
    if odd := np.setdiff1d(ids, [*range(len(CLASS_NAMES)), IGNORE]).tolist():
        raise InputError(
            f"{label}: found id {odd[0]}, expected train ids 0 to {len(CLASS_NAMES) - 1} and {IGNORE}; "
            "generate it again"
        )
    return LabeledPair(image=image, label=label, agreement=drawing.agreement)


def _require_shares(shares: Any) -> None:
    if not isinstance(shares, Mapping):
        raise ValueError(f"agreement_by_class is {shares!a:.80}, expected shares by class")
    for name, share in shares.items():
        if name not in CLASS_NAMES:
            raise ValueError(f"agreement_by_class names {name!a:.80}, expected a class")
        _require_share(f"agreement_by_class of {name}", share)


def _require_share(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} is {value!a:.80}, expected a share from 0 to 1")
