"""`predictions.jsonl`: a line for each photograph and video that was predicted.

While the work goes on it is also the journal of what is done. A line counts for the same content of its input
while the files that it names are as they were written.
"""

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from datum.contents import digest_of_set
from datum.outputs import digests_below, replacing, sha256

PREDICTIONS = "predictions.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """One line."""

    input: str
    """The file that was predicted, as it was named."""
    sha256: str
    """Digest of its content."""
    width: int
    """Of the input as it is shown, and of every picture of its prediction, in pixels."""
    height: int
    frames: int
    """Pictures of a video; 1 for a photograph."""
    outputs: Mapping[str, str]
    """Files that were written, relative to the output, with their digests; a folder's is one over all of its
    files."""


def append_prediction(folder: Path, prediction: Prediction) -> None:
    """Adds a line, once the files that it names are written."""
    with (folder / PREDICTIONS).open("a", encoding="utf-8") as stream:
        stream.write(_line(prediction))


def write_predictions(folder: Path, predictions: Sequence[Prediction]) -> None:
    """Replaces the file, whole or not at all."""
    with replacing(folder / PREDICTIONS) as temporary:
        temporary.write_text("".join(map(_line, predictions)), encoding="utf-8")


def surviving_predictions(folder: Path, expected: Mapping[str, Sequence[str]]) -> dict[str, Prediction]:
    """The lines of an unfinished output by their inputs, of those inputs whose files are as the line says;
    `expected` are the files of each input. Others are passed over."""
    found: dict[str, Prediction] = {}
    if not (folder / PREDICTIONS).is_file():
        return found
    for line in (folder / PREDICTIONS).read_text(encoding="utf-8", errors="replace").split("\n"):
        with contextlib.suppress(ValueError, TypeError, AttributeError, OSError, RecursionError):
            prediction = Prediction(**json.loads(line))
            outputs = {name: digest_of_output(folder / name) for name in expected.get(prediction.input, ())}
            if outputs and outputs == prediction.outputs:
                found[prediction.input] = prediction
    return found


def digest_of_output(place: Path) -> str:
    """What `outputs` holds of a file or a folder."""
    return digest_of_set(digests_below(place)) if place.is_dir() else sha256(place)


def _line(prediction: Prediction) -> str:
    return json.dumps(dataclasses.asdict(prediction)) + "\n"
