"""The images of one shard: those that there are, and the others drawn."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Generic, Protocol

from PIL import Image

from datum.errors import InputError
from datum.formats.generated import (
    Drawn,
    RejectedImage,
    append_image,
    append_rejected,
    remove_other_files,
    surviving_images,
    surviving_rejected,
    write_manifest,
)
from datum.generation.kept_images import KeptImages
from datum.instruments import DRAWN, IMAGES, REJECTED, StepClock, add
from datum.outputs import replacing
from datum.stopping import Stopped, stop_asked
from datum.telemetry import Progress, log

MOST_DRAWS = 10
"""Seeds that one image may use up before it is left out: the checker blackens a few in a hundred street
images, so ten in a row are its prompt's or its noise's."""

MOST_REJECTED = 0.01
"""Share of a shard's images that may be left out, one image at least: more mean that something is wrong."""


class Series(Protocol[Drawn]):
    """A sequence of images, of which image `index` depends on nothing but the index."""

    title: str
    """In lines of progress."""
    prompt_setting: str
    """Where the prompts come from."""
    kind: type[Drawn]
    """What the manifest says of an image."""
    count: int
    places: Sequence[str]
    """Folders that its files lie in."""
    manifests: Sequence[str]
    """Files that list images of unfinished work."""

    def prompt(self, index: int) -> str:
        """The prompt of an image."""

    def draw(self, indices: Sequence[int], redrawn: int = 0) -> list[tuple[Image.Image, bool]]:
        """(image, whether the safety checker painted it black) of each index, with the seed that follows
        `redrawn` rejected ones."""

    def write(self, folder: Path, index: int, picture: Image.Image, redrawn: int) -> Drawn:
        """Writes an image that was drawn into `folder`."""

    def is_ours(self, image: Drawn) -> bool:
        """Whether the series has this image, for what its line of the manifest says."""


class Shard(Generic[Drawn]):
    """Every K-th block of a series."""

    def __init__(self, series: Series[Drawn], folder: Path, batch_size: int, shard: tuple[int, int]) -> None:
        self._series, self._folder = series, folder
        self._blocks = _blocks(series.count, batch_size, shard)
        self._indices = {index for block in self._blocks for index in block if index < series.count}
        self._images: list[Drawn] = []
        self._rejected: list[RejectedImage] = []
        self._clock = StepClock()

    def draw(self, kept: KeptImages[Drawn] | None) -> list[Drawn]:
        """Draws what is neither in the folder nor `kept`, writes the manifest, and returns all images."""
        self._take_up()
        if kept:
            kept.restore(self._folder)
            self._take_up()
        there = {image.index for image in self._images} | {image.index for image in self._rejected}
        progress = Progress(self._series.title, len(self._indices), unit="images", done=len(there))
        self._clock.restart()
        for block in self._blocks:
            missing = self._indices.intersection(block) - there
            for image in self._draw_missing(block, missing):
                append_image(self._folder, image)
                self._images.append(image)
                if kept:
                    kept.keep(self._folder, image)
                self._clock.part("saving")
                add(IMAGES)
                if stop_asked():
                    raise Stopped(f"stopped after image {image.index}")
            progress.advance(len(missing))
        if self._rejected and not self._images:
            raise self._too_many_rejected()
        write_manifest(self._folder, self._images, self._rejected)
        return self._images

    def _take_up(self) -> None:
        """Finds the images and rejections that are there, and removes all else: the unfinished work may be of
        another batch size, and so of other images, or have been killed while it wrote one."""
        found = {
            image.index: image
            for manifest in self._series.manifests
            for image in surviving_images(self._folder, self._series.kind, manifest)
            if image.index in self._indices and self._series.is_ours(image)
        }
        self._images = list(found.values())
        self._rejected = [
            image
            for image in surviving_rejected(self._folder)
            if image.index in self._indices and image.prompt == self._series.prompt(image.index)
        ]
        remove_other_files(self._folder, self._images, self._series.places)
        write_manifest(self._folder, self._images, self._rejected)

    def _draw_missing(self, block: range, missing: Collection[int]) -> Iterator[Drawn]:
        """Draws a block, if any of its indices is `missing`, and writes those images, in order."""
        drawn = dict(zip(block, self._series.draw(block))) if missing else {}
        add(DRAWN, len(missing))
        for index in sorted(missing):
            found = self._accepted(drawn[index], index)
            self._clock.part("computing")
            if found is None:
                self._leave_out(index)
                continue
            picture, redrawn = found
            yield self._series.write(self._folder, index, picture, redrawn)

    def _accepted(self, drawn: tuple[Image.Image, bool], index: int) -> tuple[Image.Image, int] | None:
        """(image that the safety checker let through, times it was drawn again); None where it let none.

        It is drawn again on its own, so that it depends on no other image.
        """
        picture, blackened = drawn
        redrawn = 0
        while blackened:
            redrawn += 1
            add(REJECTED, of="safety_checker")
            if redrawn == MOST_DRAWS:
                return None
            picture, blackened = self._series.draw([index], redrawn)[0]
            add(DRAWN)
        return picture, redrawn

    def _leave_out(self, index: int) -> None:
        """Notes an image that the safety checker rejected in every try."""
        image = RejectedImage(index=index, prompt=self._series.prompt(index))
        append_rejected(self._folder, image)
        self._rejected.append(image)
        log(
            f"{self._series.title}: image {index} ({image.prompt!r}) is left out: the safety checker "
            f"rejected it {MOST_DRAWS} times"
        )
        if len(self._rejected) > max(1, MOST_REJECTED * len(self._indices)):
            raise self._too_many_rejected()

    def _too_many_rejected(self) -> InputError:
        return InputError(
            f"{self._series.prompt_setting}: the safety checker rejected {len(self._rejected)} of "
            f"{len(self._indices)} images {MOST_DRAWS} times each, the last one with "
            f"{self._rejected[-1].prompt!r}; expected at most {MOST_REJECTED:.0%} of them; change the "
            "prompt, or use a pipeline without a safety checker"
        )


def write_image(picture: Image.Image, file: Path) -> None:
    """Writes a drawn image or a label as PNG, whole or not at all."""
    with replacing(file) as temporary:
        # Level 6, the default, keeps the GPU waiting six times as long and saves a seventh of the bytes.
        picture.save(temporary, format="PNG", compress_level=1)


def _blocks(count: int, size: int, shard: tuple[int, int]) -> list[range]:
    """The shard's blocks of `size` consecutive indices; the last one of all may reach past `count`."""
    number, total = shard
    starts = range(0, count, size)[number - 1 :: total]
    return [range(start, start + size) for start in starts]
