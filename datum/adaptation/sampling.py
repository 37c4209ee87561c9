"""The training samples: which images, which crops. Each is a pure function of (seed, index), so that a
resumed training sees exactly what an uninterrupted one would have seen."""

import contextlib
import dataclasses
import functools
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from datum.adaptation.photometric import photometric_distortion
from datum.errors import InputError, TemporaryFaultError, explained
from datum.formats.class_statistics import SourceImage
from datum.formats.labeled import LabeledPair
from datum.global_batch import occurring, own
from datum.label_files import read_label
from datum.labels import IGNORE
from datum.photographs import read_image
from datum.rare_classes import rare_classes
from datum.resizing import fitted_size, resize_image, resize_label
from datum.segmentation.preprocess import normalize
from datum.telemetry import log

REDRAWS = 10
"""How often a crop that breaks a rule is drawn again (reference: `RandomCrop`, `UDADataset`)."""

CACHE_BYTES = 128 * 2**20
"""Memory for decoded and resized images in each process; a small data set is decoded once."""

PREFETCHED = 2
"""Batches that each loading process holds ready."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CropRules:
    """How crops are drawn."""

    size: int
    """Side of the square crop in pixels."""
    class_max_ratio: float
    """A source crop in which one class takes this share or more of the labeled pixels is drawn again."""
    rare_min_pixels: float
    """Pixels of a class above which an image is a candidate for it."""
    rare_min_crop_pixels: float
    """Pixels of the sampled class above which a crop is taken."""
    source_scale: tuple[int, int]
    target_scale: tuple[int, int] | None
    target_factor: int = 1
    """Sides of target images become times this where there is no `target_scale`; those of labeled drawings
    too."""
    distorted: bool = False
    """Whether source images go through `photometric_distortion`."""
    labeled_share: float = 0.0
    """Share of the source samples that are labeled drawings, where there are any."""
    target_margins: tuple[float, float, float] | None = None
    """Top, bottom and either side of a target image, as shares of its height, that no pseudo-label counts
    in; None where margins are not those of the image."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """Samples of one training step."""

    source: Tensor
    """float32[batch, 3, crop, crop], normalized."""
    labels: Tensor
    """int64[batch, crop, crop], train ids, 255 for void."""
    classes: Sequence[int]
    """Train ids that occur in `labels`, and in those of the processes that share the batch, void among them,
    in ascending order; known without asking the device."""
    target: Tensor | None
    """float32[batch, 3, crop, crop], normalized; None for source-only training."""
    ignored: Tensor | None = None
    """bool[batch, crop, crop]: margins and padding of the target images; None where margins are not those of
    the image."""


Sample = tuple[np.ndarray, ...]
"""A crop of a source image uint8[height, width, 3], its train ids uint8[height, width] and, where there are
target images, a crop of one, uint8[height, width, 3]; where these have margins, what lies in them,
uint8[height, width]. None is larger than the crop."""


class TrainingSamples(Dataset[Sample]):
    """Sample `index` of the endless sequence of training samples of one seed."""

    def __init__(
        self,
        *,
        source: Sequence[SourceImage],
        target: Sequence[Path],
        rules: CropRules,
        temperature: float | None,
        seed: int,
        labeled: Sequence[LabeledPair] = (),
    ) -> None:
        """`temperature` is that of rare class sampling; without one each source image is as likely as any
        other."""
        self._source, self._target, self._rules, self._seed = source, target, rules, seed
        self._labeled = labeled
        self.classes: list[int] = []
        if temperature is not None:
            self._prepare_classes(temperature)
        self._read_source = _cached(self._load_source, rules.source_scale)
        self._read_target = _cached(self._load_target, rules.target_scale or rules.source_scale)

    def _prepare_classes(self, temperature: float) -> None:
        least = self._rules.rare_min_pixels
        self._rare = rare_classes([image.class_pixels for image in self._source], least, temperature)
        self.classes = self._rare.classes
        if not self.classes:
            raise InputError(
                f"adaptation.rare_class_min_pixels: no class has more than {least:.0f} "
                "pixels in any source image; lower it"
            )
        self.probabilities = self._rare.probabilities
        if passed_over := ", ".join(self._rare.passed_over):
            log(
                f"rare class sampling: no image has more than {least:.0f} pixels "
                f"(adaptation.rare_class_min_pixels) of {passed_over}; no crop is drawn for them"
            )

    @property
    def crop(self) -> int:
        """Side of the crops of a batch; smaller ones are padded to it."""
        return self._rules.size

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self._seed, index])
        source = self._draw_source(rng)
        return (*source, *self._draw_target(rng)) if self._target else source

    def _draw_source(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        # Without labeled drawings no number is drawn for them, and samples are as ever.
        drawn = bool(self._labeled) and rng.random() < self._rules.labeled_share
        draw = self._draw_of_drawings if drawn else self._draw_of_class if self.classes else self._draw_of_all
        image, label, crop = draw(rng)
        flip = _random_flip(rng)
        cropped, labels = image[crop][:, flip], label[crop][:, flip]
        return photometric_distortion(cropped, rng) if drawn or self._rules.distorted else cropped, labels

    def _draw_of_class(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
        """An image, its label and a crop, by rare class sampling."""
        train_id, index = self._rare.draw(rng)
        image, label = self._read_source(index)
        for _ in range(1 + REDRAWS):
            crop = draw_crop(label, self._rules.size, self._rules.class_max_ratio, rng)
            if np.count_nonzero(label[crop] == train_id) > self._rules.rare_min_crop_pixels:
                break
        return image, label, crop

    def _draw_of_all(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
        image, label = self._read_source(int(rng.integers(len(self._source))))
        return image, label, draw_crop(label, self._rules.size, self._rules.class_max_ratio, rng)

    def _draw_of_drawings(
        self, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, tuple[slice, slice]]:
        """Any labeled drawing, as its label map was itself sampled by rare classes, and any crop of it."""
        image, label = self._read_source(len(self._source) + int(rng.integers(len(self._labeled))))
        return image, label, _random_crop(label.shape, self._rules.size, rng)

    def _draw_target(self, rng: np.random.Generator) -> Sample:
        image = self._read_target(int(rng.integers(len(self._target))))
        crop = _random_crop(image.shape[:2], self._rules.size, rng)
        flip, margins = _random_flip(rng), self._rules.target_margins
        parts = (image,) if margins is None else (image, in_margins(image.shape[:2], margins))
        return tuple(part[crop][:, flip] for part in parts)

    def _load_source(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The source image of that index; those after the last are the labeled drawings."""
        drawn = index - len(self._source)
        pair = self._source[index] if drawn < 0 else self._labeled[drawn]
        image, label = read_image(pair.image), read_label(pair.label)
        height, width = label.shape
        factor = self._rules.target_factor
        size = (
            fitted_size((height, width), self._rules.source_scale)
            if drawn < 0
            else (height * factor, width * factor)
        )
        return resize_image(image, size), resize_label(label, size)

    def _load_target(self, index: int) -> np.ndarray:
        image = read_image(self._target[index])
        height, width = image.shape[:2]
        scale, factor = self._rules.target_scale, self._rules.target_factor
        size = fitted_size((height, width), scale) if scale else (height * factor, width * factor)
        return resize_image(image, size)


def _cached(load: Callable, scale: tuple[int, int]) -> Callable:
    """`load` with its latest results kept, as many as `CACHE_BYTES` hold at `scale` in four bytes a pixel."""
    return functools.lru_cache(maxsize=max(1, CACHE_BYTES // (4 * scale[0] * scale[1])))(load)


def draw_crop(
    label: np.ndarray, size: int, class_max_ratio: float, rng: np.random.Generator
) -> tuple[slice, slice]:
    """(rows, columns) of a random crop of `size`, drawn again up to ten times while one class takes
    `class_max_ratio` or more of its labeled pixels; a ratio of 1 takes any crop."""
    crop = _random_crop(label.shape, size, rng)
    for _ in range(REDRAWS if class_max_ratio < 1 else 0):
        counts = id_counts(label[crop])[:IGNORE]
        if np.count_nonzero(counts) > 1 and counts.max() / counts.sum() < class_max_ratio:
            break
        crop = _random_crop(label.shape, size, rng)
    return crop


def id_counts(label: np.ndarray) -> np.ndarray:
    """int64[256]: how often each id occurs in uint8[height, width] of at most 2^24 pixels. NumPy's bincount
    takes several times as long."""
    return cv2.calcHist([label], [0], None, [256], [0, 256]).ravel().astype(np.int64)


def _random_crop(shape: Sequence[int], size: int, rng: np.random.Generator) -> tuple[slice, slice]:
    top, left = (int(rng.integers(max(side - size, 0) + 1)) for side in shape)
    return slice(top, top + size), slice(left, left + size)


def _random_flip(rng: np.random.Generator) -> slice:
    return slice(None, None, -1 if rng.random() < 0.5 else 1)


def in_margins(size: tuple[int, int], margins: tuple[float, float, float]) -> np.ndarray:
    """uint8[height, width], 1 in the margins of an image of `size` = (height, width): top, bottom and either
    side, as shares of its height."""
    height, width = size
    top, bottom, side = (round(share * height) for share in margins)
    margin = np.ones(size, dtype=np.uint8)
    margin[top : height - bottom, side : width - side] = 0
    return margin


class _Crops(NamedTuple):
    """The crops of a batch as they travel: bytes, which are normalized where the network is."""

    pixels: Tensor
    """uint8[batch, crop, crop, 3], or uint8[batch, crop, crop] of labels."""
    sizes: list[tuple[int, int]]
    """(height, width) of each; what lies beyond is padding."""


def _padded(crops: Sequence[np.ndarray], side: int) -> _Crops:
    pixels = np.full((len(crops), side, side, *crops[0].shape[2:]), IGNORE, dtype=np.uint8)
    for place, crop in zip(pixels, crops):
        place[: crop.shape[0], : crop.shape[1]] = crop
    return _Crops(torch.from_numpy(pixels), [crop.shape[:2] for crop in crops])


def _normalized(crops: _Crops, device: torch.device) -> Tensor:
    """float32[batch, 3, crop, crop] on the device, padded with 0 (the mean color)."""
    pixels = crops.pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
    images = normalize(pixels.to(torch.float32, memory_format=torch.contiguous_format))
    for image, (height, width) in zip(images, crops.sizes):
        if (height, width) != image.shape[1:]:
            image[:, height:].zero_()
            image[:, :, width:].zero_()
    return images


def batches(
    samples: TrainingSamples, *, first: int, last: int, batch_size: int, workers: int, device: torch.device
) -> Iterator[Batch]:
    """Batches of the iterations `first` (included) to `last` (excluded), on `device`; of a batch that several
    processes share, this one's part.

    Raises what went wrong in a loading process as it was raised there. See `telling_of_dead_processes` too.
    """
    numbers = range(first * batch_size, last * batch_size)
    loader = DataLoader(
        _Batches(samples),
        batch_size=None,
        sampler=[own(numbers[i : i + batch_size]) for i in range(0, len(numbers), batch_size)],
        num_workers=workers,
        prefetch_factor=PREFETCHED if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_stopping_to_training,
    )
    for loaded in loader:
        if isinstance(loaded, Exception):
            raise loaded
        (source, labels, *target), classes = loaded
        yield Batch(
            source=_normalized(source, device),
            labels=labels.pixels.to(device, non_blocking=True).long(),
            classes=occurring(classes),
            target=_normalized(target[0], device) if target else None,
            # Padding is neither 0 nor 1, and so ignored too.
            ignored=target[1].pixels.to(device, non_blocking=True) != 0 if len(target) > 1 else None,
        )


class _Batches(Dataset[Any]):
    """The samples of a batch, stacked, and the ids in their labels.

    An error is handed over as it is: PyTorch would raise one of the same
    type whose message is the traceback in the loading process."""

    def __init__(self, samples: TrainingSamples) -> None:
        self._samples = samples

    def __getitem__(self, indices: Sequence[int]) -> Any:
        try:
            samples = zip(*(self._samples[index] for index in indices))
            crops = [_padded(part, self._samples.crop) for part in samples]
            return crops, np.flatnonzero(id_counts(crops[1].pixels.flatten(0, 1).numpy())).tolist()
        except Exception as error:
            if get_worker_info() is None or explained(error) is None:
                raise
            return explained(error)


def _leave_stopping_to_training(worker: int) -> None:
    """A stop of the whole process group is for the training to take: it loads until its state is saved."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def telling_of_dead_processes() -> Iterator[None]:
    """Raises `TemporaryFaultError` where a loading process dies while the block runs: PyTorch raises an error
    of its own wherever the training is at that moment."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        reason = str(error).partition("\n")[0]
        raise TemporaryFaultError(
            f"adaptation.workers: a loading process died ({reason}); where it happens again, set "
            "adaptation.workers=0, or give the machine more memory and /dev/shm more room (docker: "
            "--shm-size)"
        ) from error
