"""`datum predict`: labels photographs and videos of one's own with a trained network."""

import contextlib
import itertools
import shutil
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from datum.config import EvaluationSettings, require_counts
from datum.contents import Checked, digest_of_set, read_digests
from datum.device import choose_device
from datum.errors import InputError
from datum.formats.predictions import (
    Prediction,
    append_prediction,
    digest_of_output,
    surviving_predictions,
    write_predictions,
)
from datum.outputs import building, is_complete, set_aside_outdated, sha256
from datum.photographs import PHOTOGRAPH_MODES, read_image, require_photograph
from datum.prediction.footage import Footage, find_footage
from datum.prediction.painting import LABEL_IDS, encoded, painted, picture_suffix
from datum.prediction.videos import WRITTEN_SUFFIX, Frame, Video, VideoWriter, video_frames
from datum.provenance import NAMED, Provenance, record_of
from datum.segmentation.checkpoints import checkpoint_file, open_checkpoint
from datum.segmentation.inference import NotFiniteError, batches_of_one_size, predict_with
from datum.segmentation.segmentor import Segmentor
from datum.telemetry import Progress, log
from datum.threads import ahead, in_order

WORKERS = 4
"""Photographs that are read, and as many predictions that are written, beside the network's work."""

_FRAMES = 8
"""Pictures of a video that are decoded before they are asked for, and that wait to be written."""
_INPUTS = "inputs_sha256"


def predict(
    *,
    checkpoint: Path,
    inputs: Sequence[str],
    output: Path,
    settings: EvaluationSettings,
    kinds: Sequence[str],
    device: str = "auto",
) -> str:
    """Predicts everything that `inputs` name (`datum.prediction.footage`) with `checkpoint`; returns a line
    that says what was done.

    `output` holds `<kind>/<name><ending>` for each of `kinds` (`datum.prediction.painting`) and a line for
    each input in `predictions.jsonl` (`datum.formats.predictions`). Killed and started again, it goes on with
    what is missing; a video begins anew.

    Raises `InputError` before anything is written for a checkpoint that cannot be opened and for inputs that
    cannot be read. What shows as damaged only when it is decoded does not keep the others from being
    predicted: it is named at the end, and the output stays unfinished until it is mended or removed.
    """
    require_counts("evaluation", settings)
    where = _device(device)
    file = checkpoint_file(checkpoint, "CHECKPOINT")
    footage = find_footage(inputs, output)
    digests = _digests(footage)
    provenance = Provenance(
        stage="predict",
        settings=settings,
        inputs={
            "checkpoint_sha256": sha256(file),
            _INPUTS: digest_of_set(digests),
            NAMED: {"checkpoint": str(checkpoint), "inputs": list(inputs)},
        },
        arguments={"kinds": sorted(kinds)},
        made_from={"checkpoint": record_of(file.parent, file.name)},
        changing_inputs=(_INPUTS,),
    )
    set_aside_outdated(output, provenance)
    if not is_complete(output, provenance):
        opened = open_checkpoint(checkpoint, "CHECKPOINT")
        log(f"predict: {opened}; on {where}")
        with building(output, provenance) as folder:
            work = _Work(folder, opened.segmentor.to(where), settings, sorted(kinds), digests)
            try:
                broken = work.run(footage)
            except NotFiniteError as error:
                shutil.rmtree(folder)
                raise InputError(f"CHECKPOINT {file}: {error}") from None
            if broken:
                more = f" (and {len(broken) - 1} more: {', '.join(list(broken)[1:4])})" if broken[1:] else ""
                raise InputError(
                    f"{broken[0]}{more}; the other {len(footage) - len(broken)} inputs are predicted in "
                    f"{folder}: mend or remove it and run the command again, which goes on from there"
                )
    return f"predicted {_counted(footage)}: {output}"


def _counted(footage: Sequence[Footage]) -> str:
    """`500 images and 1 video`."""
    videos = sum(one.video is not None for one in footage)
    counts = {"image": len(footage) - videos, "video": videos}
    return " and ".join(f"{n} {word}{'s' if n > 1 else ''}" for word, n in counts.items() if n)


def _device(name: str) -> torch.device:
    try:
        device = choose_device(name)
        torch.empty(1, device=device)
        return device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"--device {name}: cannot be used ({reason}), expected auto, cpu, cuda or cuda:N"
        ) from None


def _digests(footage: Sequence[Footage]) -> dict[str, str]:
    """Name -> SHA-256 of the content of all footage. Raises `InputError` for a photograph that is damaged or
    has other colors than a photograph."""

    def checked(one: Footage) -> Checked:
        return Checked(
            names=(str(one.file),),
            # A JPEG's pixels are decoded once, when it is predicted.
            check=lambda data: require_photograph(one.file, data[0], PHOTOGRAPH_MODES, decoded=False),
        )

    # An absolute path joined to a folder is that path.
    found = read_digests("check photographs", Path("/"), [checked(one) for one in footage if not one.video])
    return {one.name: found.get(str(one.file)) or sha256(one.file) for one in footage}


class _Work:
    """Predictions of one output on their way: read ahead, predicted here, painted and written behind."""

    def __init__(
        self,
        folder: Path,
        segmentor: Segmentor,
        settings: EvaluationSettings,
        kinds: Sequence[str],
        digests: Mapping[str, str],
    ) -> None:
        self._folder, self._segmentor, self._settings = folder, segmentor, settings
        self._kinds, self._digests = kinds, digests
        self._done: dict[str, Prediction] = {}
        self._broken: list[str] = []

    def run(self, footage: Sequence[Footage]) -> list[str]:
        """Predicts what is not done; what is wrong with each of those that turned out to be damaged."""
        places = {str(one.file): list(self._places(one).values()) for one in footage}
        known = surviving_predictions(self._folder, places)
        current = {str(one.file): self._digests[one.name] for one in footage}
        self._done = {name: line for name, line in known.items() if line.sha256 == current[name]}
        self._photographs([one for one in footage if not one.video])
        for one in footage:
            if one.video and str(one.file) not in self._done:
                self._video(one, one.video)
        if not self._broken:
            _remove_others(self._folder, {name for names in places.values() for name in names})
            write_predictions(self._folder, [self._done[name] for name in places])
        return self._broken

    def _places(self, one: Footage) -> dict[str, str]:
        """Kind -> file or folder of a prediction, relative to the output."""
        return {
            kind: f"{kind}/{one.name}{_ending(kind, is_video=one.video is not None)}" for kind in self._kinds
        }

    def _photographs(self, photographs: Sequence[Footage]) -> None:
        by_size = sorted(photographs, key=lambda one: (one.size, one.name))
        # Which photographs share a pass does not depend on what is done: the result is the same to the bit.
        batches = [
            batch
            for batch in batches_of_one_size(by_size, lambda one: one.size, self._settings.batch_size)
            if any(str(one.file) not in self._done for one in batch)
        ]
        total = sum(map(len, batches))
        if not total:
            return
        progress = Progress("predict", len(photographs), unit="images", done=len(photographs) - total)
        loading = in_order(_load, itertools.chain(*batches), WORKERS + self._settings.batch_size)
        writes: deque[Future[Prediction]] = deque()

        def finish(most: int) -> None:
            while len(writes) > most:
                self._add(writes.popleft().result())
                progress.advance()

        with ThreadPoolExecutor(WORKERS) as pool, contextlib.ExitStack() as at_end:
            # Also where the work is interrupted: what is written counts.
            at_end.callback(finish, 0)
            for batch in batches:
                read = [(one, next(loading)) for one in batch]
                whole = [(one, image) for one, image in read if not isinstance(image, InputError)]
                self._broken += [str(image) for _, image in read if isinstance(image, InputError)]
                if whole:
                    predictions = self._predict([image for _, image in whole])
                    for (one, image), prediction in zip(whole, predictions):
                        writes.append(pool.submit(self._write, one, image, prediction))
                # No more than a few pictures wait in memory.
                finish(WORKERS)

    def _predict(self, images: Sequence[np.ndarray]) -> np.ndarray:
        height, width = images[0].shape[:2]
        return predict_with(self._settings, self._segmentor, images, (height, width))

    def _write(self, one: Footage, image: np.ndarray, prediction: np.ndarray) -> Prediction:
        for kind, place in self._places(one).items():
            file = self._folder / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(kind, image, prediction))
        return self._line(one, frames=1)

    def _video(self, one: Footage, video: Video) -> None:
        progress = Progress(f"predict {one.name}", video.frames, unit="frames")
        places = {kind: self._folder / place for kind, place in self._places(one).items()}
        painting = _VideoPainting(places, video.rate)
        count = 0
        try:
            with painting:
                frames, most = ahead(video_frames(one.file), _FRAMES), self._settings.batch_size
                for batch in batches_of_one_size(frames, lambda frame: frame.image.shape, most):
                    predictions = self._predict([frame.image for frame in batch])
                    for frame, prediction in zip(batch, predictions):
                        painting.add(count, frame, prediction)
                        count += 1
                    progress.advance(len(batch))
        except InputError as error:
            if isinstance(error, NotFiniteError):
                raise
            self._broken.append(str(error))
            return
        self._add(self._line(one, frames=count))

    def _line(self, one: Footage, *, frames: int) -> Prediction:
        width, height = one.size
        return Prediction(
            input=str(one.file),
            sha256=self._digests[one.name],
            width=width,
            height=height,
            frames=frames,
            outputs={place: digest_of_output(self._folder / place) for place in self._places(one).values()},
        )

    def _add(self, line: Prediction) -> None:
        append_prediction(self._folder, line)
        self._done[line.input] = line


class _VideoPainting(contextlib.AbstractContextManager["_VideoPainting"]):
    """The predictions of a video on their way to the disk: a thread for each kind, which keeps its order."""

    def __init__(self, places: Mapping[str, Path], rate: Fraction) -> None:
        self._places, self._rate = places, rate
        self._writers: dict[str, VideoWriter] = {}
        self._waiting: deque[Future[None]] = deque()
        for kind, place in places.items():
            _remove(place)
            (place if kind == LABEL_IDS else place.parent).mkdir(parents=True, exist_ok=True)
        self._pools = {kind: ThreadPoolExecutor(1) for kind in places}

    def add(self, index: int, frame: Frame, prediction: np.ndarray) -> None:
        """Takes a picture and its train ids; waits where too many do already."""
        for kind, pool in self._pools.items():
            self._waiting.append(pool.submit(self._write, kind, index, frame, prediction))
        while len(self._waiting) > _FRAMES * len(self._pools):
            self._waiting.popleft().result()

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.shutdown()
        for writer in self._writers.values():
            writer.close()
        while self._waiting:
            self._waiting.popleft().result()

    def _write(self, kind: str, index: int, frame: Frame, prediction: np.ndarray) -> None:
        if kind == LABEL_IDS:
            data = encoded(kind, frame.image, prediction)
            (self._places[kind] / f"{index:06d}.png").write_bytes(data)
            return
        picture = painted(kind, frame.image, prediction)
        if kind not in self._writers:
            size = picture.shape[1], picture.shape[0]
            self._writers[kind] = VideoWriter(self._places[kind], size, self._rate)
        self._writers[kind].write(picture, frame.time)


def _ending(kind: str, *, is_video: bool) -> str:
    if not is_video:
        return picture_suffix(kind)
    return "" if kind == LABEL_IDS else WRITTEN_SUFFIX


def _load(one: Footage) -> np.ndarray | InputError:
    try:
        image = read_image(one.file)
    except InputError as error:
        return error
    if image.shape[1::-1] != one.size:
        return InputError(f"{one.file}: was changed since the command began; run it again")
    return image


def _remove_others(folder: Path, places: Collection[str]) -> None:
    """Removes from an unfinished output what is at or below none of `places`: of inputs that are gone."""
    kept = {folder / place for place in places}
    for file in folder.glob("*/**/*"):
        if file.is_file() and not kept.intersection((file, *file.parents)):
            file.unlink()
    for place in sorted(folder.glob("**/"), reverse=True):
        if place != folder and not any(place.iterdir()):
            place.rmdir()


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
