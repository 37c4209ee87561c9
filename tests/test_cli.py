"""The command: its help, and one clear line for wrong arguments."""

import argparse
import re
import subprocess
import sys

import pytest

from datum import cli
from datum.config import Settings

STAGES = {
    "personalize": ["personalization"],
    "generate": ["generation"],
    "adapt": ["adaptation", "evaluation"],
    "evaluate": ["evaluation"],
    "run": list(Settings.__dataclass_fields__),
}
"""Stages whose settings each sub-command reads."""

HEAVY = {"torch", "diffusers", "transformers", "mmseg", "mmcv", "kfp", "cv2", "numpy", "PIL", "minio"}


def subcommands() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (
        action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(commands.choices)


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main([*arguments, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of([], capsys)
    for name in ("convert", "personalize", "generate", "adapt", "evaluate", "report", "run"):
        assert re.search(rf"^ +{name}\b", text, re.MULTILINE)
    assert "exit status: 0 done; 2 the input is wrong; 75" in text


@pytest.mark.parametrize("name", subcommands())
def test_the_help_of_a_command_documents_every_option(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of([name], capsys).split())
    for action in subcommands()[name]._actions:
        assert action.help, action.dest
        for option in action.option_strings:
            assert option in text
        optional = action.option_strings and not action.required and action.metavar
        if optional and action.dest not in ("overrides", "baselines", "target"):
            assert "(default" in str(action.help), action.dest


@pytest.mark.parametrize("name, stages", STAGES.items())
def test_the_help_of_a_command_holds_every_setting_that_it_reads(
    name: str, stages: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of([name], capsys)
    for stage in stages:
        for key in Settings.__dataclass_fields__[stage].default.__dataclass_fields__:  # type: ignore[union-attr]
            assert re.search(rf"^  {stage}\.{key} = .*\n      \S", text, re.MULTILINE)


def test_the_help_answers_without_a_heavy_import() -> None:
    script = (
        "import sys; from datum.cli import main\n"
        "for arguments in sys.argv[1:]:\n"
        "    try: main([*arguments.split(), '--help'])\n"
        "    except SystemExit: pass\n"
        "print(*sorted(name for name in sys.modules if '.' not in name), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, "", *subcommands()], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(ended.stderr.split())


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], "COMMAND"),
        (["paint"], "'paint'"),
        (["generate", "--output", "x"], "--model"),
        (["generate", "--model", "m", "--output", "x", "--shard", "3/2"], "--shard: found '3/2'"),
        (["personalize", "--image", "i", "--output", "x", "--seed", "-1"], "--seed"),
        (["convert", "gta", "x", "--workers", "0"], "--workers: found '0'"),
        (["convert", "kitti", "x"], "'kitti'"),
        (["adapt", "--source", "s", "--output", "x", "--encoder", "mit-b9"], "'mit-b9'"),
        (["adapt", "--source", "s", "--output", "x", "--method", "hope"], "'hope'"),
        (["report", "--run", "r", "--output", "x", "--baseline", "r"], "expected NAME=DIR"),
        (["run", "--profile", "tiny", "--output", "x"], "'tiny'"),
        (["run", "--colour", "red", "--output", "x"], "--colour"),
    ],
)
def test_wrong_arguments_end_with_one_line(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("datum") and named in line


def test_every_encoder_and_head_that_can_be_built_can_be_named() -> None:
    from datum.methods import DECODE_HEADS, ENCODERS
    from datum.segmentation.encoders import FAMILIES, encoder_channels
    from datum.segmentation.heads import HEADS

    assert set(ENCODERS.values()) == set(FAMILIES)
    assert all(len(encoder_channels(name)) == 4 for name in ENCODERS)
    assert set(DECODE_HEADS) == set(HEADS)
