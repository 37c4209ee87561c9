"""The data sets: where their files lie, and what their labels hold; finding them names what is missing.

This is the one rule of what a data set is, which conversion, ingestion, training and evaluation share.
Folders and names are those of the data sets' own downloads, as DATUM and DAFormer expect them:

* GTA: `images/00001.png`, `labels/00001.png`;
* SYNTHIA (RAND_CITYSCAPES): `RGB/0000000.png`, `GT/LABELS/0000000.png`;
* Cityscapes: `leftImg8bit/<split>/<city>/<frame>_leftImg8bit.png`,
  `gtFine/<split>/<city>/<frame>_gtFine_labelIds.png`, splits `train`, `val` and `test`.

Files of other names are passed over, and so is all that is hidden or that systems leave beside files
(`datum.folders`); names that count have to be whole names on every system and in every store.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np

from datum import labels
from datum.errors import InputError
from datum.folders import files_below, is_passed_over, looks_like_an_image, printable, require_portable
from datum.label_files import read_label, read_synthia_label
from datum.methods import DatasetName


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Folders, file names and label space of one data set."""

    title: str
    """The data set's name for a reader."""
    images: str
    """Folder of the images, relative to the root."""
    labels: str
    """Folder of the labels, relative to the root; sub-folders mirror those of `images`."""
    image_suffix: str = ".png"
    """What an image's name adds to its frame."""
    label_suffix: str = ".png"
    """What a label's name adds to the same frame."""
    train_id_suffix: str = "_labelTrainIds.png"
    """What the converted label's name adds to the same frame."""
    companions: tuple[str, ...] = ()
    """What the names of further files of the data set, which nothing here reads, end in."""
    frame_ends_in_digit: bool = True
    """Whether only names whose frame ends in a digit count (DAFormer's rule for GTA and SYNTHIA, which
    keeps converted labels apart from those still to be converted)."""
    splits: tuple[str, ...] = ()
    """Sub-folders of `images` and `labels` that divide the data set; empty where it is undivided."""
    largest_id: int
    """Largest id that a label may hold."""
    to_train_id: np.ndarray
    """uint8[256]: label id -> train id."""
    read_label: Callable[[Path], np.ndarray] = read_label
    """Reads the ids of a label's file."""

    def read_label_ids(self, file: Path) -> np.ndarray:
        """Label ids of a label's file, an integer array [height, width].

        Raises `InputError` for a file that cannot be read and for ids outside the data set's space.
        """
        return self.require_ids(file, self.read_label(file))

    def require_ids(self, file: Path, label_ids: np.ndarray) -> np.ndarray:
        """`label_ids`, what `file` holds; raises `InputError` for ids outside the data set's space."""
        largest = int(label_ids.max())
        if largest > self.largest_id:
            raise InputError(
                f"{file}: found label id {largest}, expected ids of {self.title}, from 0 to "
                f"{self.largest_id}; take the data set's label ids, not train ids or instance ids"
            )
        return label_ids


LAYOUTS: dict[DatasetName, Layout] = {
    "gta": Layout(
        title="GTA",
        images="images",
        labels="labels",
        largest_id=labels.CITYSCAPES_MAX_LABEL_ID,
        to_train_id=labels.LABEL_ID_TO_TRAIN_ID,
    ),
    "synthia": Layout(
        title="SYNTHIA",
        images="RGB",
        labels="GT/LABELS",
        largest_id=labels.SYNTHIA_MAX_LABEL_ID,
        to_train_id=labels.SYNTHIA_ID_TO_TRAIN_ID,
        read_label=read_synthia_label,
    ),
    "cityscapes": Layout(
        title="Cityscapes",
        images="leftImg8bit",
        labels="gtFine",
        image_suffix="_leftImg8bit.png",
        label_suffix="_gtFine_labelIds.png",
        train_id_suffix="_gtFine_labelTrainIds.png",
        companions=("_gtFine_color.png", "_gtFine_instanceIds.png", "_gtFine_instanceTrainIds.png"),
        frame_ends_in_digit=False,
        splits=("train", "val", "test"),
        largest_id=labels.CITYSCAPES_MAX_LABEL_ID,
        to_train_id=labels.LABEL_ID_TO_TRAIN_ID,
    ),
}
"""Every data set by name. To add one: a row here, and what it is adapted to in `datum.methods.BENCHMARKS`."""

CITYSCAPES = LAYOUTS["cityscapes"]
"""Layout of every target data set."""

TRAIN_IMAGES = f"{CITYSCAPES.images}/train"
"""Folder of the target's training images, which one-shot images are chosen from, relative to the root."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """An image and its label; paths are relative to the root, with forward slashes."""

    split: str
    """The split that the pair belongs to, empty where the data set is undivided."""
    frame: str
    """What both names share, relative to the split: `00001`, `aachen/aachen_000000_000019`."""
    image: str
    label: str
    train_ids: str
    """The converted label."""


@dataclasses.dataclass(frozen=True)
class Listing:
    """A data set in a store, as its root: the URI, and the names of the files below it."""

    uri: str
    names: Collection[str]

    def __str__(self) -> str:
        return self.uri


EVALUATED = "val"
"""The split of a target that networks are evaluated on."""

Root = Path | Listing
"""Where a data set lies: all functions below take either, and name files below it in what they raise."""


def layout_of(name: str) -> Layout:
    """The layout of the data set `name`; raises `InputError` for an unknown name."""
    for known, layout in LAYOUTS.items():
        if name == known:
            return layout
    raise InputError(f"data set {name!r}: unknown, expected one of {', '.join(LAYOUTS)}")


def find_train_images(root: Root) -> list[str]:
    """Paths of a target's training images, relative to `root`, sorted; raises `InputError` for none."""
    return [pair.image for pair in find_frames("cityscapes", root, split="train")]


def find_frames(dataset: str, root: Root, *, split: str = "") -> list[Pair]:
    """Every image with the place of its label, sorted by path, whether or not there is a label.

    Raises `InputError` for a missing folder of images, and where there is no image.
    """
    layout = _layout_at(dataset, root)
    frames = _frames(layout, root, _join(layout.images, split), layout.image_suffix)
    return [_pair(layout, split, frame) for frame in sorted(frames)]


def find_pairs(dataset: str, root: Root, *, split: str | None = None) -> list[Pair]:
    """Every image with its label, sorted by path.

    Without `split`, the splits are those that have a folder of labels: the target's training images may
    come without. Raises `InputError` for a missing or empty folder, an image without its label and a label
    without its image.
    """
    layout = _layout_at(dataset, root)
    if split is not None or not layout.splits:
        splits = [split or ""]
    else:
        splits = [n for n in layout.splits if _files_below(root, _join(layout.labels, n)) is not None]
    if not splits:
        raise InputError(
            f"{_join(root, layout.labels)}: found no folder {' or '.join(layout.splits)}; {_expected(layout)}"
        )
    return [pair for name in splits for pair in _pairs_of_split(layout, root, name)]


def check_dataset(dataset: DatasetName, root: Root) -> tuple[list[str], list[Pair]]:
    """(files, pairs): the images and labels that a run reads, and the pairs that the labels belong to.

    Raises `InputError` that names what `root` lacks: a folder, any image, or one file of a pair. A target
    needs images alone in its split `train`, which one-shot images are chosen from, and pairs in `val`. What
    the files hold is looked at by `datum.datasets.convert`.
    """
    divided = bool(LAYOUTS[dataset].splits)
    images = find_train_images(root) if divided else []
    pairs = find_pairs(dataset, root, split=EVALUATED if divided else None)
    return images + [file for pair in pairs for file in (pair.image, pair.label)], pairs


def describe_passed_over(dataset: DatasetName, root: Root, pairs: Iterable[Pair]) -> str:
    """A line on the files beside those of `pairs` that their owner may take for a part of the data set:
    `00003.PNG`, `00001 copy.png`; empty where there are none."""
    layout = layout_of(dataset)
    splits = {pair.split for pair in pairs}
    found: list[str] = []
    for folder, suffixes in (
        (layout.images, [layout.image_suffix]),
        (layout.labels, [layout.label_suffix, layout.train_id_suffix, *layout.companions]),
    ):
        for place in (_join(folder, split) for split in sorted(splits)):
            # A converted label has no digit at its frame's end where labels have one.
            found += [
                _join(place, name)
                for name in sorted(_files_below(root, place) or ())
                if looks_like_an_image(name)
                and not _counts(layout, name, suffixes[0])
                and not any(name.endswith(suffix) for suffix in suffixes[1:])
            ]
    if not found:
        return ""
    files = "1 file is" if len(found) == 1 else f"{len(found)} files are"
    expected = " and ".join(
        f"{folder}/{_pattern(layout, suffix)}"
        for folder, suffix in ((layout.images, layout.image_suffix), (layout.labels, layout.label_suffix))
    )
    return f"{root}: {files} passed over, such as {printable(found[0])}: {layout.title}'s are {expected}"


def _layout_at(dataset: str, root: Root) -> Layout:
    """The layout of `dataset`; raises `InputError` for an unknown one and for a `root` that is no folder."""
    layout = layout_of(dataset)
    if isinstance(root, Path) and not root.is_dir():
        found = "is a file" if root.exists() else "no such folder"
        raise InputError(f"{root}: {found}; {_expected(layout)}")
    return layout


def _pairs_of_split(layout: Layout, root: Root, split: str) -> list[Pair]:
    images, labels_ = _join(layout.images, split), _join(layout.labels, split)
    image_frames = _frames(layout, root, images, layout.image_suffix)
    label_frames = _frames(layout, root, labels_, layout.label_suffix)
    if lonely := image_frames - label_frames or label_frames - image_frames:
        pair = _pair(layout, split, min(lonely))
        folder, present, what, missing = (
            (images, pair.image, "label", pair.label)
            if pair.frame in image_frames
            else (labels_, pair.label, "image", pair.image)
        )
        rest = f" ({len(lonely)} files of {_join(root, folder)} lack theirs)" if len(lonely) > 1 else ""
        raise InputError(
            f"{_join(root, present)}: its {what} is missing, expected {_join(root, missing)}{rest}; "
            "complete the data set or remove the file"
        )
    if split == EVALUATED:
        _require_unique_names(root, images, image_frames)
    return sorted((_pair(layout, split, frame) for frame in label_frames), key=lambda pair: pair.label)


def _require_unique_names(root: Root, folder: str, frames: Iterable[str]) -> None:
    """Raises `InputError` where two frames have one name: predictions of all cities lie in one folder."""
    named: dict[str, str] = {}
    for frame in sorted(frames):
        other = named.setdefault(frame.rpartition("/")[2].casefold(), frame)
        if other != frame:
            raise InputError(
                f"{_join(root, folder, frame)}: has the same name as {_join(root, folder, other)}; rename "
                "one of them and its label"
            )


def _pair(layout: Layout, split: str, frame: str) -> Pair:
    return Pair(
        split=split,
        frame=frame,
        image=_join(layout.images, split, frame + layout.image_suffix),
        label=_join(layout.labels, split, frame + layout.label_suffix),
        train_ids=_join(layout.labels, split, frame + layout.train_id_suffix),
    )


def _frames(layout: Layout, root: Root, folder: str, suffix: str) -> set[str]:
    """Frames that have a file in `folder`, at any depth."""
    files = _files_below(root, folder)
    if files is None:
        raise InputError(f"{_join(root, folder)}: no such folder; {_expected(layout)}")
    counted = [name for name in files if _counts(layout, name, suffix)]
    if not counted:
        raise InputError(
            f"{_join(root, folder)}: found no file named {_pattern(layout, suffix)}, expected at least one; "
            f"{_expected(layout)}"
        )
    require_portable(_join(root, folder), counted)
    return {name.removesuffix(suffix) for name in counted}


def _counts(layout: Layout, name: str, suffix: str) -> bool:
    frame = name.removesuffix(suffix)
    return (
        name.endswith(suffix)
        and not frame.endswith("/")
        and frame != ""
        and (frame[-1].isdigit() or not layout.frame_ends_in_digit)
    )


def _pattern(layout: Layout, suffix: str) -> str:
    return f"*{'<digit>' if layout.frame_ends_in_digit else ''}{suffix}"


def _files_below(root: Root, folder: str) -> list[str] | None:
    """Files in `folder` at any depth, relative to it, less what is hidden; None where it is missing."""
    if isinstance(root, Listing):
        below = f"{folder}/"
        names = [name.removeprefix(below) for name in root.names if name.startswith(below)]
        return [name for name in names if not is_passed_over(name)] if names else None
    return files_below(root / folder) if (root / folder).is_dir() else None


def _expected(layout: Layout) -> str:
    below = "/<split>/<city>" if layout.splits else ""
    return (
        f"expected {layout.title}'s layout, {layout.images}{below} and {layout.labels}{below}; check the path"
    )


def _join(*parts: Root | str) -> str:
    """A path of those `parts` that are not empty."""
    return "/".join(str(part).rstrip("/") for part in parts if part).removeprefix("./")
