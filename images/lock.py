"""Cuts requirements.lock into what each image, and `make deploy`, installs: `python images/lock.py`.

Works without a network, from the metadata of the packages in this environment, which is installed from the
same lock. Versions and hashes are those of requirements.lock, to the letter.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from components.images import STAGES

ROOT = Path(__file__).resolve().parent.parent
REPLACED = {"opencv-python": "opencv-python-headless"}
"""Packages that requirements.lock holds under another name (`make lock` says why)."""


def lock_files(root: Path = ROOT) -> dict[Path, str]:
    """Path -> content of every lock file that is a part of requirements.lock."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    entries = _entries((root / "requirements.lock").read_text(encoding="utf-8"))
    torch = _closure("torch", project["project"], entries)
    # What builds the packages that come as source, our own among them.
    build: set[str] = {
        canonicalize_name(Requirement(text).name) for text in project["build-system"]["requires"]
    }
    files: dict[str, set[str]] = {
        "images/build.lock": build,
        # A layer of its own, the same in the four images that hold it: a node pulls and keeps it once.
        "images/torch.lock": torch,
        # Whoever deploys needs no torch.
        "manifests/requirements.lock": _closure("cluster", project["project"], entries) | build,
    }
    for stage in STAGES:
        needed = _closure(stage, project["project"], entries)
        # Of kfp a task runs the executor alone, which imports nothing outside kfp.
        files[f"images/{stage}/requirements.lock"] = (needed - torch if torch <= needed else needed) | {"kfp"}
    return {
        root / name: "".join(entries[package] for package in sorted(packages))
        for name, packages in files.items()
    }


def _entries(lock: str) -> dict[str, str]:
    """Package name -> its lines, with version and hashes, in a lock file."""
    return {
        canonicalize_name(match["name"]): match[0]
        for match in re.finditer(r"^(?P<name>[a-z0-9._-]+)==(?:.*\\\n)+.*\n", lock, re.MULTILINE)
    }


def _closure(extra: str, project: Mapping[str, Any], entries: Mapping[str, str]) -> set[str]:
    """Names of all packages that our package with one `extra` leads to."""
    queue = [Requirement(f"{project['name']}[{extra}]")]
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        requirement = queue.pop()
        name: str = canonicalize_name(requirement.name)
        name = REPLACED.get(name, name)
        extras = frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name == project["name"]:
            # Not from the installed metadata: that is as old as the last installation.
            wanted = [*project["dependencies"]]
            for one in extras:
                wanted += project["optional-dependencies"][one]
        else:
            found.add(name)
            wanted = requires(name) or []
        queue += [needed for needed in map(Requirement, wanted) if _applies(needed, extras)]
    missing = found - entries.keys()
    if missing:
        raise SystemExit(f"requirements.lock: lacks {', '.join(sorted(missing))}; run `make lock`")
    return found


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ["", *extras])


if __name__ == "__main__":
    for file, content in lock_files().items():
        file.write_text(content, encoding="utf-8")
