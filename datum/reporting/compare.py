"""Compares runs: `comparison.html`, `comparison.json` and `comparison.md`."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.outputs import building, is_complete, write_json
from datum.provenance import Provenance
from datum.reporting.comparison import comparison
from datum.reporting.comparison_markdown import comparison_text
from datum.reporting.comparison_page import render_comparison
from datum.reporting.comparison_tables import notes, verdicts
from datum.reporting.sides import ComparedRun, read_side

COMPARISON = "comparison"
"""Name of each of the files, before its ending."""


def compare(places: Mapping[str, Path], output: Path) -> str:
    """Compares what lies in the folders `places`, by how the user named them, all with the first; writes the
    files to `output` and returns what they say in short.

    A comparison that is already at `output` is replaced. Raises `InputError`, before anything is written, for
    what cannot be read or compared.
    """
    names = short_names(list(places))
    sides = [read_side(names[place], place, folder) for place, folder in places.items()]
    compared = comparison(sides)
    provenance = Provenance(stage="compare", inputs={"shown_sha256": _digest(compared, sides)})
    if not is_complete(output, provenance, replaceable=True):
        page = render_comparison(compared, sides)
        with building(output, provenance) as folder:
            write_json(folder / f"{COMPARISON}.json", compared)
            for ending, text in (("md", comparison_text(compared)), ("html", page)):
                # A name that the user gave may be no text.
                (folder / f"{COMPARISON}.{ending}").write_bytes(text.encode("utf-8", errors="replace"))
    lines = [text for _, text in verdicts(compared)] + notes(compared)
    return "\n".join([*lines, str(output / f"{COMPARISON}.html")])


def short_names(places: Sequence[str]) -> dict[str, str]:
    """What each place is called: its last part, `report` aside, with as many of those before as it takes to
    tell it from the others."""
    parts = {place: [part for part in place.rstrip("/").split("/") if part] or [place] for place in places}
    parts = {place: (p[:-1] if p[-1] == "report" and len(p) > 1 else p) for place, p in parts.items()}
    depth = 1
    while True:
        names = {place: "/".join(p[-depth:]) for place, p in parts.items()}
        if len(set(names.values())) == len(names):
            return names
        if depth > max(map(len, parts.values())):
            return {place: place for place in places}
        depth += 1


def _digest(compared: Mapping[str, Any], sides: Sequence[ComparedRun]) -> str:
    """Of all that the page says and shows."""
    trainings = [{seed: list(kept.training) for seed, kept in side.kept.items()} for side in sides]
    pictures = [{name: dataclasses.asdict(shown) for name, shown in side.pictures.items()} for side in sides]
    return hashlib.sha256(json.dumps([compared, trainings, pictures]).encode()).hexdigest()
