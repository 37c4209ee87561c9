"""Cuts requirements.lock into what each image, and `make deploy`, installs: `python images/lock.py`.

Works without a network, from the metadata of the packages in this environment, which is installed from the
same lock. Versions and hashes are those of requirements.lock, to the letter.
"""

import re
import tomllib
from collections.abc import Mapping
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from components.images import STAGES

ROOT = Path(__file__).resolve().parent.parent
REPLACED = {"opencv-python": "opencv-python-headless"}
"""Packages that requirements.lock holds under another name (`make lock` says why)."""


def main() -> None:
    """Writes every lock file that is a part of requirements.lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    # What builds the packages that come as source, our own among them.
    build = {_name(Requirement(text)) for text in project["build-system"]["requires"]}
    torch = _closure("torch", project["project"])
    files = {
        "images/build.lock": build,
        # A layer of its own, the same in the four images that hold it: a node pulls and keeps it once.
        "images/torch.lock": torch,
        # Whoever deploys needs no torch.
        "manifests/requirements.lock": _closure("cluster", project["project"]) | build,
    }
    for stage in STAGES:
        needed = _closure(stage, project["project"])
        # Of kfp a task runs the executor alone, which imports nothing outside kfp.
        files[f"images/{stage}/requirements.lock"] = (needed - torch if torch <= needed else needed) | {"kfp"}
    # Package -> its lines, with version and hashes.
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = {match[1]: match[0] for match in re.finditer(r"^(\S+)==(?:.*\\\n)+.*\n", lock, re.MULTILINE)}
    missing = set[str]().union(*files.values()) - entries.keys()
    if missing:
        raise SystemExit(f"requirements.lock: lacks {', '.join(sorted(missing))}; run `make lock`")
    for name, packages in files.items():
        content = "".join(entries[package] for package in sorted(packages))
        (ROOT / name).write_text(content, encoding="utf-8")


def _closure(extra: str, project: Mapping[str, Any]) -> set[str]:
    """Names of all packages that our package with one `extra` leads to."""
    queue = [Requirement(f"{project['name']}[{extra}]")]
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        requirement = queue.pop()
        name, extras = _name(requirement), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name == project["name"]:
            # Not from the installed metadata: that is as old as the last installation.
            ours = project["optional-dependencies"]
            wanted = [*project["dependencies"], *(text for one in extras for text in ours[one])]
        else:
            wanted = requires(name) or []
        queue += [needed for needed in map(Requirement, wanted) if _applies(needed, extras)]
    return {name for name, _ in seen} - {project["name"]}


def _name(requirement: Requirement) -> str:
    name: str = canonicalize_name(requirement.name)
    return REPLACED.get(name, name)


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ["", *extras])


if __name__ == "__main__":
    main()
