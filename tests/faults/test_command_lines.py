"""Random command lines and settings: exit 0, 2 or 75, one line, never a traceback, and nothing written.

`DATUM_FAULT_EXAMPLES` says how many (10,000 by `make faults`). They run in this process, where what is heavy
is imported once; no path that they name holds data, so no stage gets to work.
"""

import argparse
import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from datum import cli
from datum.config import PAPER, STAGES_WITH_SETTINGS

EXAMPLES = int(os.environ.get("DATUM_FAULT_EXAMPLES", "200"))
NOWHERE = "http://127.0.0.1:9"
"""No server answers there."""
CLUSTER_COMMANDS = ("doctor", "upload", "submit", "schedule", "runs", "state")

ODD = (
    *(
        "",
        " ",
        "-",
        "--",
        "-1",
        "0",
        "1",
        "2",
        "0.5",
        "1e400",
        "-1e400",
        "1e-400",
        "nan",
        ".nan",
        ".inf",
        "-.inf",
    ),
    *("9" * 400, "9" * 5000, "0x10", "0o7", "1_000", "1:30", "true", "no", "null", "~", "NaN", "Infinity"),
    *('!!int ""', "!!bool x", "!!float x", "!!python/object/apply:os.system [id]", "!!binary x", "!!set {a}"),
    *("!!timestamp x", "2026-02-30", "2026-01-01", "2026-01-01 25:00:00", "!!null x", "!!map []", "!!seq {}"),
    *(
        "[]",
        "[1]",
        "[1, 1]",
        "[-1]",
        "[1.5]",
        "[[1]]",
        "[1, [2]]",
        "{}",
        "{a: 1}",
        "[a, b]",
        "[null]",
        "[.nan, .inf]",
    ),
    *(
        "[" * 2000,
        "{a: " * 1000,
        "- " * 2000,
        "&a [*a]",
        "&a [1, *a]",
        "*a",
        "<<: 1",
        "{<<: [1]}",
        "{[1]: 2}",
    ),
    "[&a [x,x,x,x,x,x,x], &b [*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,*b,*b,*b], &d [*c,*c,*c,*c,*c,*c,*c]]",
    *(
        "a\nb",
        "a\tb",
        "a\rb",
        "\x1b[31m",
        "\u2028",
        "\ufeff",
        "\udcff",
        "日本語",
        "'",
        '"',
        "`id`",
        "$(id)",
        "%s%n",
        "{0}",
    ),
    *(
        "a" * 300,
        "/" + "a/" * 3000,
        "../" * 50,
        "|",
        ">",
        "# x",
        "x # y",
        "@x",
        "?",
        "!",
        "%",
        "\\",
        "=",
        "a=b",
    ),
)
PATHS = (
    *(
        "absent",
        "absent/deep/er",
        "folder",
        "text",
        "picture.png",
        "loop",
        "/dev/null",
        "/proc/self/mem",
        "/",
        ".",
        "..",
    ),
    *(
        "file:///absent",
        "s3://",
        "s3://b",
        "s3://b/p?q",
        "s3://b/p#q",
        "s3://b/../c",
        "http://x",
        "ftp://x",
        "file:",
    ),
)
words = (
    st.sampled_from(ODD)
    | st.sampled_from(PATHS)
    | st.text(st.characters(exclude_characters="\0"), max_size=12)
)
keys = st.sampled_from(
    [f"{stage}.{key}" for stage in STAGES_WITH_SETTINGS for key in vars(getattr(PAPER, stage))]
    + [
        "",
        ".",
        "a",
        "a.b",
        "run.",
        ".seeds",
        "run.seeds.x",
        "generation.cuont",
        "namespace",
        "gpu_count",
        "state",
    ]
)
changes = st.tuples(keys, st.sampled_from(["=", "=", "=", ""]), words).map("".join)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A sub-command with some of its options, each with a value that may be none."""
    commands = _commands()
    name = draw(st.sampled_from(sorted(commands)))
    line = [name]
    for action in commands[name]._actions:
        if action.dest == "help" or not (action.required or draw(st.integers(0, 3)) == 0):
            continue
        line += [draw(st.sampled_from(action.option_strings))] if action.option_strings else []
        if action.nargs != 0:
            line.append(draw(_values(action)))
    # Drawn scenes would have a run begin, and a cluster's commands look for a cluster.
    if name == "run":
        line += ["--source", draw(st.sampled_from(PATHS)), "--target", draw(st.sampled_from(PATHS))]
    elif name in CLUSTER_COMMANDS and draw(st.integers(0, 199)) == 57:  # seven seconds of tries
        line += ["--set", f"kfp_host={NOWHERE}", "--set", f"store_endpoint={NOWHERE}"]
    return line


def _values(action: argparse.Action) -> st.SearchStrategy[str]:
    if action.dest == "overrides":
        return changes
    if action.choices:
        return st.sampled_from(sorted(map(str, action.choices))) | words
    if action.type is Path or action.dest in ("root", "output", "path"):
        return st.sampled_from(PATHS) | words
    return words


def _commands() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(commands.choices)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that the commands run in: nothing in it is data, and no cluster and no store is near."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "folder").mkdir()
    (folder / "text").write_text("text")
    (folder / "picture.png").write_text("no picture")
    (folder / "loop").symlink_to("loop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("KUBECONFIG", str(folder / "no-kubeconfig"))
        patch.setenv("DATUM_PATIENCE", "0")
        patch.setenv("HF_HUB_OFFLINE", "1")
        for name in ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.delenv(name, raising=False)
        yield folder


@given(line=command_lines())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 1000,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_any_command_line_ends_with_a_status_and_one_line(world: Path, line: list[str]) -> None:
    before = _tree(world)
    status, said = _run(line)
    assert status in (0, 2, 75), said
    assert "Traceback" not in said
    if status and line[0] != "doctor":  # whose findings are its output
        assert said.rstrip("\n").splitlines()[-1].startswith("datum"), said
    if status == 2 and line[0] != "doctor":
        # Of a folder such as `/`, whatever lies there, verify names what it passes over first.
        lines = [one for one in said.splitlines() if not one.endswith("is unfinished and passed over")]
        assert len(lines) == 1, said
    assert _tree(world) == before


def _run(line: list[str]) -> tuple[Any, str]:
    error = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        try:
            cli.main(line)
        except SystemExit as end:
            return end.code or 0, error.getvalue()
    return 0, error.getvalue()


def _tree(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))
