"""The history of finished reproductions: one file for each, `<place>/<run>.json`, in a folder or a store.

Nobody ever changes a file of another run, so that two runs that end at once both stand there. A run that is
reported again writes its own file again.
"""

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from datum.errors import InputError
from datum.formats.json_files import parse_json
from datum.formats.metrics import is_score
from datum.store import Store, require_run_id

HISTORY = "history"
"""Folder of a store, beside the published reports, that holds it."""
PLACE = "DATUM_HISTORY"
"""Environment variable that names the history of this machine: a folder or a URI."""
_ENDING = ".json"
_LATEST = 1e11
"""Seconds since 1970 that a calendar can show."""
_READERS = 8
"""Files that are read at once."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReproducedSeed:
    """One seed of a reproduction."""

    seed: int
    miou: float
    """Over the headline's classes, in percent."""
    iou: Mapping[str, float | None]
    """Of every class, in percent; None where it does not occur."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A finished reproduction."""

    run: str
    """Its id: KFP's, or one that its trainings make."""
    finished: float
    """In seconds since 1970."""
    report: str
    """Where its report lies."""
    about: Mapping[str, Any]
    """What it reproduces: benchmark, data, method and so on, as `report.json` says it."""
    settings: Mapping[str, Any]
    """Those of all stages, by `stage.key`, that decide the result; empty where they were not recorded."""
    versions: Mapping[str, str]
    miou: float
    """Of the median seed, in percent."""
    seeds: Sequence[ReproducedSeed]
    reasons: Sequence[str]
    """Why it was taken for drifted; empty where it was not."""


def history_of_machine() -> str:
    """Where runs on this machine are remembered: `DATUM_HISTORY`, else `$XDG_STATE_HOME/datum/history`, else
    `~/.local/state/datum/history`; among the temporary files where there is no home."""
    try:
        home = Path.home() / ".local" / "state"
    except RuntimeError:
        home = Path(tempfile.gettempdir())
    return os.environ.get(PLACE) or str(Path(os.environ.get("XDG_STATE_HOME") or home) / "datum" / HISTORY)


def append_reproduction(store: Store, reproduction: Reproduction) -> None:
    """Adds `reproduction` to the history in `store`."""
    require_run_id("run", reproduction.run)
    content = json.dumps(dataclasses.asdict(reproduction), indent=2, allow_nan=False) + "\n"
    store.write_bytes(f"{reproduction.run}{_ENDING}", content.encode())


def read_history(store: Store, place: str) -> list[Reproduction]:
    """The reproductions in `store`, which is named `place` in messages, in the order in which they ended.

    Raises `InputError` for a file that is damaged.
    """
    # What lies deeper is none of it: reports may lie in the same store.
    keys = [key for key in store.list() if key.endswith(_ENDING) and "/" not in key]

    def read(key: str) -> Reproduction | None:
        try:
            content = store.read_bytes(key)
        except KeyError:
            # Somebody has removed it meanwhile.
            return None
        return _parsed(f"{place.rstrip('/')}/{key}", content)

    with ThreadPoolExecutor(_READERS) as pool:
        found = [one for one in pool.map(read, keys) if one]
    return sorted(found, key=lambda one: (one.finished, one.run))


def _parsed(where: str, content: bytes) -> Reproduction:
    try:
        told = parse_json(where, content.decode("utf-8", errors="replace"))
    except InputError as error:
        raise InputError(
            str(error).replace("run the stage that writes it again", "remove the file")
        ) from None
    seeds = told.get("seeds")
    names = {field.name for field in dataclasses.fields(Reproduction)}
    # What a later release adds is passed over.
    told = {key: value for key, value in told.items() if key in names}
    if not (
        set(told) == names
        and all(isinstance(told[key], kind) for key, kind in _KINDS.items())
        and 0 <= told["finished"] < _LATEST
        and _is_number(told["miou"])
        and isinstance(seeds, list)
        and seeds
        and all(map(_is_seed, seeds))
        and all(isinstance(reason, str) for reason in told["reasons"])
    ):
        raise InputError(f"{where}: is no finished reproduction, expected what datum wrote; remove the file")
    told["seeds"] = [ReproducedSeed(**seed) for seed in seeds]
    return Reproduction(**told)


_KINDS: Mapping[str, Any] = {
    "run": str,
    "finished": (int, float),
    "report": str,
    "about": dict,
    "settings": dict,
    "versions": dict,
    "reasons": list,
}


def _is_seed(seed: Any) -> bool:
    return (
        isinstance(seed, dict)
        and set(seed) == {field.name for field in dataclasses.fields(ReproducedSeed)}
        and type(seed["seed"]) is int
        and _is_number(seed["miou"])
        and isinstance(seed["iou"], dict)
        and all(map(is_score, seed["iou"].values()))
    )


def _is_number(value: Any) -> bool:
    return value is not None and is_score(value)
