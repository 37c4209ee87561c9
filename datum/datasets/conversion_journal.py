"""What an interrupted conversion has done, so that the next one does not do it again.

One line a label: how the label, its image and the converted label looked on the disk, and the classes
counted. A line counts while all three look the same, on a machine that has not been started anew since: what
was written shortly before a loss of power may be lost, whatever the journal says.
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from datum.layouts import Pair

JOURNAL = ".datum-conversion.jsonl"
"""Name of the file, in the folder that the conversion writes to."""

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """The labels that a conversion of `dataset` from `root` into `destination` has converted so far."""

    def __init__(self, dataset: str, root: Path, destination: Path) -> None:
        self._root, self._file = root, destination / JOURNAL
        boot = _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else ""
        heading = {"dataset": dataset, "root": str(root.resolve()), "boot": boot}
        lines = _lines(self._file)
        self._entries: dict[str, Any] = {}
        if lines and lines[0] == heading:
            self._entries = {str(line.get("label")): line for line in lines[1:]}
            self._stream: IO[str] = self._file.open("a", encoding="utf-8")
            # The last line of a killed process may be cut off in its middle.
            self._stream.write("\n")
        else:
            self._stream = self._file.open("w", encoding="utf-8")
            self._write(heading)

    def counts(self, pair: Pair, places: Sequence[Path]) -> dict[int, int] | None:
        """Pixels by train id of a pair whose label is converted already and lies at one of `places`; None
        where it has to be converted."""
        entry = self._entries.get(pair.label)
        if entry is None or entry.get("inputs") != self.look(pair):
            return None
        if all(entry.get("converted") != look_of_converted(place) for place in places):
            return None
        return {int(train_id): pixels for train_id, pixels in entry["pixels"].items()}

    def look(self, pair: Pair) -> list[list[int]]:
        """How the pair's image and label look on the disk, to be taken before they are read."""
        return [_look(self._root / name, changed=True) for name in (pair.image, pair.label)]

    def add(self, pair: Pair, inputs: list[list[int]], converted: Path, pixels: dict[int, int]) -> None:
        """Adds a label, converted to the file `converted` from what had the look `inputs`."""
        self._write(
            {
                "label": pair.label,
                "inputs": inputs,
                "converted": look_of_converted(converted),
                "pixels": pixels,
            }
        )

    def remove(self) -> None:
        """Ends the journal: everything is in its place, or nothing is to be."""
        self._stream.close()
        self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Leaves the journal to the next conversion."""
        self._stream.close()

    def _write(self, content: Any) -> None:
        self._stream.write(json.dumps(content) + "\n")
        self._stream.flush()


def look_of_converted(file: Path) -> list[int]:
    """Stays the same when the file is renamed."""
    return _look(file, changed=False)


def _look(file: Path, *, changed: bool) -> list[int]:
    try:
        status = file.stat()
    except OSError:
        return []
    look = [status.st_size, status.st_mtime_ns, status.st_ino]
    return [*look, status.st_ctime_ns] if changed else look


def _lines(file: Path) -> list[Any]:
    """The objects in `file`, less lines that are none."""
    try:
        texts = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
    found = []
    for text in texts:
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(line := json.loads(text), dict):
                found.append(line)
    return found
