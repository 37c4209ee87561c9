"""Generated images: `images/im_<index>_p<prompt>.png`, and `manifest.jsonl` with a line for each."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from datum.errors import InputError
from datum.formats.json_files import read_json_lines
from datum.outputs import replacing, sha256

MANIFEST = "manifest.jsonl"
IMAGES = "images"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """What a reader that shows pictures takes of a line of the manifest."""

    prompt: str
    file: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratedImage:
    """One line of the manifest."""

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
    """Digest of the pipeline that drew it (`datum.diffusion.checkpoint.model_digest`)."""
    redrawn: int
    """Times that the safety checker painted the image black and the next seed took its place."""


def append_image(folder: Path, image: GeneratedImage) -> None:
    """Adds a line to the manifest of `folder` and waits until it is on disk."""
    with (folder / MANIFEST).open("a", encoding="utf-8") as stream:
        stream.write(_line(image))
        stream.flush()
        os.fsync(stream.fileno())


def write_manifest(folder: Path, images: Sequence[GeneratedImage]) -> None:
    """Replaces the manifest of `folder`, whole or not at all; in the order of the indices."""
    with replacing(folder / MANIFEST) as temporary:
        ordered = sorted(images, key=lambda image: image.index)
        temporary.write_text("".join(map(_line, ordered)), encoding="utf-8")


def surviving_images(folder: Path) -> list[GeneratedImage]:
    """The images of an unfinished output that are on disk as its manifest says; others are passed over."""
    file, images = folder / MANIFEST, {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        # Passed over: the last line of a process killed while writing it, or an image lost since.
        with contextlib.suppress(ValueError, TypeError, OSError):
            image = GeneratedImage(**json.loads(line))
            if sha256(folder / image.file) == image.sha256:
                images[image.index] = image
    return list(images.values())


def read_manifest(folder: Path) -> list[GeneratedImage]:
    """The images that the manifest of a finished output lists, in the order of their indices.

    Raises `InputError` for a folder without a manifest and for a damaged line.
    """
    images = []
    for number, line in enumerate(read_json_lines(folder / MANIFEST), start=1):
        try:
            images.append(GeneratedImage(**line))
        except TypeError:
            raise InputError(
                f"{folder / MANIFEST}, line {number}: is no image record; generate the folder again"
            ) from None
    return sorted(images, key=lambda image: image.index)


def read_drawings(folder: Path) -> list[Drawing]:
    """Prompt and file of every image in the manifest, in its order; raises `InputError` where it lists
    none."""
    manifest, drawings = folder / MANIFEST, []
    for number, line in enumerate(read_json_lines(manifest), start=1):
        prompt, name = line.get("prompt"), line.get("file")
        if not isinstance(prompt, str) or not isinstance(name, str):
            raise InputError(
                f"{manifest}: line {number} has no prompt or no file; run `datum generate` again"
            )
        # Only the base name counts: a manifest cannot point outside its own folder.
        drawings.append(Drawing(prompt=prompt, file=folder / IMAGES / Path(name).name))
    if not drawings:
        raise InputError(f"{manifest}: lists no image; run `datum generate` again")
    return drawings


def verify_images(folder: Path, images: Iterable[GeneratedImage]) -> None:
    """Raises `InputError` for an image of `folder` that is missing or is not the one that its line names."""
    for image in images:
        if not (folder / image.file).is_file():
            raise InputError(f"{folder / image.file}: is missing, but the manifest names it; generate again")
        if sha256(folder / image.file) != image.sha256:
            raise InputError(f"{folder / image.file}: is not the image of the manifest; generate it again")


def _line(image: GeneratedImage) -> str:
    return json.dumps(dataclasses.asdict(image)) + "\n"
