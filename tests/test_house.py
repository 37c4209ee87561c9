"""The rules of the house: one noun a file, one name for one thing, no circles, and a map that is true.

The order of the layers is checked by import-linter (pyproject.toml), which `make lint` runs.
"""

import ast
import graphlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    file.relative_to(ROOT)
    for top in ("datum", "components", "pipelines", "images")
    for file in (ROOT / top).rglob("*.py")
)
TREES = {file: ast.parse((ROOT / file).read_text(encoding="utf-8")) for file in FILES}

LONGEST_FILE, LONGEST_FUNCTION = 400, 80
"""Lines."""

SHARED_NAMES = {
    # A component has the name of the function that it calls.
    *("check_parameters", "personalize", "generate", "merge_shards", "adapt", "evaluate", "report"),
    # What every family of encoders offers.
    *("build", "channels", "in_our_names", "layout"),
    "main",
}
"""Public functions whose name stands in several modules, for one thing."""


def module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def imported(file: Path) -> Iterator[str]:
    """Our modules that `file` imports, anywhere in it."""
    known = {module(other) for other in FILES}
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in whole]
        else:
            continue
        yield from (name for name in names if name in known)


def test_no_import_leads_back_to_where_it_began() -> None:
    graph = {module(file): set(imported(file)) - {module(file)} for file in FILES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"these import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_and_its_functions_can_be_read_at_one_sitting(file: Path) -> None:
    assert len((ROOT / file).read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE
    for node in ast.walk(TREES[file]):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, node.name


def test_no_two_modules_have_one_name() -> None:
    places = defaultdict(list)
    for file in FILES:
        # A component's module is called so in the folder of every stage.
        if file.stem not in ("__init__", "__main__", "component"):
            places[file.stem].append(str(file))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_public_name_means_two_things() -> None:
    places = defaultdict(set)
    for file in FILES:
        for node in TREES[file].body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                places[node.name].add(file)
    modules = {file.stem: file for file in FILES}
    for name, found in places.items():
        if name in modules:
            found.add(modules[name])
    twice = {name: sorted(map(str, found)) for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in twice.items() if name not in SHARED_NAMES} == {}


def test_the_map_in_the_readme_names_every_room_and_none_that_is_not_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_/]+)` \|", text.partition("## Map of the repository")[2], re.MULTILINE)
    assert [row for row in rows if not (ROOT / row).is_dir()] == []
    rooms = {
        f"{file.parts[0]}/{file.parts[1]}/"
        for file in FILES
        if file.parts[0] == "datum" and len(file.parts) > 2
    }
    assert rooms <= set(rows)
    assert {"components/", "pipelines/", "images/", "manifests/", "tests/"} <= set(rows)
