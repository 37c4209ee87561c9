"""Generated images: `images/im_<index>_p<prompt>.png`, `manifest.jsonl` with a line for each, and, where the
safety checker let some pass in no try, `rejected.jsonl` with a line for each of those.

What is read here may have been written by anyone: no record leads out of its folder, and none is taken on
trust.
"""

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from datum.errors import InputError
from datum.formats.json_files import parse_json, require_file
from datum.outputs import replacing, sha256

MANIFEST = "manifest.jsonl"
REJECTED = "rejected.jsonl"
IMAGES = "images"

LONGEST_LINE = 2**16
"""Bytes of a line; a prompt has some hundred."""

MOST_IMAGES = 10**7
"""Indices are below it."""

_FILE = re.compile(rf"{IMAGES}/im_(\d{{1,7}})_p\d{{1,7}}\.png")
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """What a reader that shows pictures takes of a line of the manifest."""

    prompt: str
    file: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One line of the manifest. Raises ValueError for what none of ours says."""

    index: int
    """Index in the whole data set, from 0."""
    prompt: str
    """Prompt that drew it."""
    seed: int
    """Seed of the CPU generator that drew its noise: the pipeline called with this prompt and
    `torch.Generator().manual_seed(seed)` draws it again."""
    file: str
    """Path in the output."""
    sha256: str
    """Digest of that file."""
    model: str
    """Digest of the pipeline that drew it (`datum.diffusion.base_model.model_digest`)."""
    redrawn: int
    """Times that the safety checker painted the image black and the next seed took its place."""

    def __post_init__(self) -> None:
        for name, most in (("index", MOST_IMAGES), ("seed", 2**32), ("redrawn", MOST_IMAGES)):
            require_number(name, getattr(self, name), most)
        require_text("prompt", self.prompt)
        require_image_name(self.file, self.index)
        for name in ("sha256", "model"):
            require_digest(name, getattr(self, name))

    def files(self) -> dict[str, str]:
        """SHA-256 of what was drawn, by its path in the output."""
        return {self.file: self.sha256}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RejectedImage:
    """One line of `rejected.jsonl`: an image that is left out. Raises ValueError as above."""

    index: int
    """Index in the whole data set."""
    prompt: str
    """Prompt that drew it."""

    def __post_init__(self) -> None:
        require_number("index", self.index, MOST_IMAGES)
        require_text("prompt", self.prompt)


Drawn = TypeVar("Drawn", bound=GeneratedImage)
"""Drawn images, with labels (`datum.formats.labeled`) or without."""

Record = TypeVar("Record", bound=GeneratedImage | RejectedImage)


def append_image(folder: Path, image: GeneratedImage) -> None:
    """Adds a line to the manifest of `folder` and waits until it is on disk."""
    _append(folder / MANIFEST, image)


def append_rejected(folder: Path, image: RejectedImage) -> None:
    """The same for an image that is left out."""
    _append(folder / REJECTED, image)


def write_manifest(folder: Path, images: Sequence[GeneratedImage], rejected: Sequence[RejectedImage]) -> None:
    """Replaces the manifest of `folder`, and the list of images left out where there are any, each whole or
    not at all; in the order of the indices."""
    write_records(folder / MANIFEST, images)
    if rejected:
        write_records(folder / REJECTED, rejected)
    else:
        (folder / REJECTED).unlink(missing_ok=True)


def surviving_images(folder: Path, kind: type[Drawn], manifest: str = MANIFEST) -> list[Drawn]:
    """The images of an unfinished output that are on disk as its manifest says; others are passed over."""
    images = {}
    for record in _surviving(folder / manifest, kind):
        with contextlib.suppress(OSError):
            files = {folder / name: digest for name, digest in record.files().items()}
            if all(not file.is_symlink() and sha256(file) == digest for file, digest in files.items()):
                images[record.index] = record
    return list(images.values())


def surviving_rejected(folder: Path) -> list[RejectedImage]:
    """The images of an unfinished output that are known to be left out."""
    return list({record.index: record for record in _surviving(folder / REJECTED, RejectedImage)}.values())


def remove_other_files(
    folder: Path, images: Collection[GeneratedImage], places: Iterable[str] = (IMAGES,)
) -> None:
    """Removes from the folders `places` of an unfinished output what is none of `images`: what a killed
    process was writing, and what was drawn for another share of the images. Makes those that are missing."""
    named = {folder / name for image in images for name in image.files()}
    for place in (folder / name for name in places):
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(exist_ok=True)
        for file in place.iterdir():
            if file not in named:
                file.unlink()


def read_manifest(folder: Path) -> list[GeneratedImage]:
    """The images that the manifest of a finished output lists, in the order of their indices.

    Raises `InputError` for a folder without a manifest, for a damaged line and for an index named twice.
    """
    return read_records(folder / MANIFEST, GeneratedImage)


def read_rejected(folder: Path) -> list[RejectedImage]:
    """The images that a finished output leaves out; raises `InputError` as above."""
    return read_records(folder / REJECTED, RejectedImage) if (folder / REJECTED).exists() else []


def read_drawings(folder: Path) -> list[Drawing]:
    """Prompt and file of every image in the manifest, in its order; raises `InputError` where it lists
    none."""
    manifest, drawings = require_file(folder / MANIFEST), []
    for number, line in enumerate(_lines(manifest), start=1):
        try:
            fields = _fields(line)
            require_text("prompt", fields.get("prompt"))
            require_image_name(fields.get("file"))
        except ValueError as error:
            raise _damaged(manifest, number, error) from None
        drawings.append(Drawing(prompt=fields["prompt"], file=folder / fields["file"]))
    if not drawings:
        raise InputError(f"{manifest}: lists no image; run `datum generate` again")
    return drawings


def verify_images(folder: Path, images: Iterable[GeneratedImage]) -> None:
    """Raises `InputError` for an image of `folder` that is missing or is not the one that its line names."""
    files = {name: digest for image in images for name, digest in image.files().items()}
    for file, digest in ((folder / name, digest) for name, digest in files.items()):
        if file.is_symlink():
            raise InputError(f"{file}: is a link, expected the image itself; copy it here or generate again")
        if not file.is_file():
            raise InputError(f"{file}: is missing, but the manifest names it; generate again")
        if sha256(file) != digest:
            raise InputError(f"{file}: is not the image of the manifest; generate it again")


def require_image_name(file: Any, index: int | None = None) -> None:
    """Raises ValueError where `file` is not the name of a drawn image, that of `index` where one is given."""
    match = _FILE.fullmatch(file) if isinstance(file, str) else None
    if not match or (index is not None and int(match[1]) != index):
        number = "<index>" if index is None else index
        raise ValueError(f"file is {file!a:.80}, expected {IMAGES}/im_{number}_p<prompt>.png")


def require_digest(name: str, value: Any) -> None:
    """Raises ValueError, which begins with `name`, where `value` is no SHA-256."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise ValueError(f"{name} is {value!a:.80}, expected a SHA-256 in hexadecimal")


def require_number(name: str, value: Any, most: int) -> None:
    """The same for a whole number from 0 to below `most`."""
    if type(value) is not int or not 0 <= value < most:
        raise ValueError(f"{name} is {value!a:.80}, expected a whole number from 0")


def require_text(name: str, value: Any) -> None:
    """The same for a text."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!a:.80}, expected a text")


def _append(file: Path, record: GeneratedImage | RejectedImage) -> None:
    with file.open("a", encoding="utf-8") as stream:
        stream.write(_line(record))
        stream.flush()
        os.fsync(stream.fileno())


def write_records(file: Path, records: Sequence[GeneratedImage | RejectedImage]) -> None:
    """Replaces `file` by a line for each record, in the order of the indices, whole or not at all."""
    ordered = sorted(records, key=lambda record: record.index)
    with replacing(file) as temporary:
        temporary.write_text("".join(_line(record) for record in ordered), encoding="utf-8")


def _line(record: GeneratedImage | RejectedImage) -> str:
    return json.dumps(dataclasses.asdict(record)) + "\n"


def _lines(file: Path) -> Iterator[bytes]:
    """Line after line, one that is too long in pieces, of which none is a record."""
    with file.open("rb") as stream:
        while line := stream.readline(LONGEST_LINE):
            yield line


def _fields(line: bytes) -> dict[str, Any]:
    try:
        return parse_json("line", line.decode())
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except InputError as error:
        raise ValueError(str(error).removeprefix("line: ")) from None


def _record(kind: type[Record], line: bytes) -> Record:
    fields = _fields(line)
    try:
        return kind(**fields)
    except TypeError:
        raise ValueError("is no image record") from None


def _surviving(file: Path, kind: type[Record]) -> Iterator[Record]:
    """The records of an unfinished output's `file`.

    Passed over: the last line of a process killed while writing it, and what nobody of ours wrote.
    """
    if file.is_file():
        for line in _lines(file):
            with contextlib.suppress(ValueError):
                yield _record(kind, line)


def read_records(file: Path, kind: type[Record]) -> list[Record]:
    """The records in `file`, in the order of their indices; raises `InputError` as `read_manifest` does."""
    records: dict[int, Record] = {}
    for number, line in enumerate(_lines(require_file(file)), start=1):
        try:
            record = _record(kind, line)
            if record.index in records:
                raise ValueError(f"names image {record.index} again")
        except ValueError as error:
            raise _damaged(file, number, error) from None
        records[record.index] = record
    return [records[index] for index in sorted(records)]


def _damaged(file: Path, number: int, error: ValueError) -> InputError:
    return InputError(f"{file}, line {number}: {error}; generate the folder again")
