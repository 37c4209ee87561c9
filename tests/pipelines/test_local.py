"""The local run: what is shown of its tasks, and what is refused before the first one starts."""

import io
import logging
from pathlib import Path

import pytest

from datum.errors import InputError
from pipelines.local import _keep_description, _TaskHeadings, _TaskOutput, run_locally

# What kfp 2.17's executor and local runner print around the output of a task.
PRINTED = """
    [KFP Executor 2026-11-23 07:45:28,030 INFO]: Looking for component `select_one_shot` in --component_module_path
    [KFP Executor 2026-11-23 07:45:28,031 INFO]: Got executor_input:
    {
        "inputs": {
            "parameterValues": {
                "seeds": [
                    1.0
                ],
                "named": [],
                "template": "a {c} [",
                "position": 0
            }
        },
        "outputs": {
            "artifacts": {
                "one_shot": {
                    "artifacts": [
                        {
                            "name": "one_shot",
                            "metadata": {}
                        }
                    ]
                }
            },
            "outputFile": "/tmp/executor_output.json"
        }
    }
    personalize: 2/2 steps, 2.57/s, 0s left, loss 0.290
    {"a task may print": "JSON too"}
    [KFP Executor 2026-11-23 07:45:29,000 INFO]: Wrote executor output file to /tmp/executor_output.json.
----------------------------------------
    datum: /nowhere: no such folder
"""  # noqa: E501 - as it is printed


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_the_tasks_print_is_shown_and_what_the_executor_prints_is_not(size: int) -> None:
    shown = io.StringIO()
    stream = _TaskOutput(shown)
    for start in range(0, len(PRINTED), size):
        stream.write(PRINTED[start : start + size])
    assert shown.getvalue().splitlines() == [
        "    personalize: 2/2 steps, 2.57/s, 0s left, loss 0.290",
        '    {"a task may print": "JSON too"}',
        "    datum: /nowhere: no such folder",
    ]


def test_the_output_of_two_tasks_in_a_row_is_shown() -> None:
    shown = io.StringIO()
    _TaskOutput(shown).write(PRINTED + PRINTED)
    assert len(shown.getvalue().splitlines()) == 6


def test_a_task_is_announced_once_by_its_display_name(capsys: pytest.CaptureFixture[str]) -> None:
    headings = _TaskHeadings({"generate-2": "seed 2 · generate 1/1", "report": "report"})
    shown = [headings.filter(_record(logging.INFO, text)) for text in KFP_LOG]
    assert shown == [False, False, False, False]
    assert capsys.readouterr().err.splitlines() == ["[1/2] seed 2 · generate 1/1", "[2/2] report"]


def test_warnings_of_kfp_itself_are_shown() -> None:
    headings = _TaskHeadings({})
    assert headings.filter(_record(logging.WARNING, "something is odd"))
    assert not headings.filter(_record(logging.INFO, "Streamed logs:"))


@pytest.mark.parametrize(
    "overrides, one_shots, message",
    [
        (["run.seeds=[]"], 0, r"run\.seeds: found \[\], expected one or more different seeds"),
        (["run.seeds=[3, 3]"], 0, r"run\.seeds: found \[3, 3\]"),
        (["run.shards=0"], 0, r"run\.shards=0: expected 1 or more"),
        (["run.shards=9"], 0, r"run\.shards: found 9, expected 1 to 8"),
        (["run.seeds=[1, 2]"], 1, r"one-shot images: found 1 named images for 2 seeds"),
        (["run.seeds=[1]"], 1, r"missing-0\.png: no such file"),
        (["generation.checkpoint_step=30"], 0, r"generation\.checkpoint_step=30: personalization writes no"),
        (["personalization.base_model=none"], 0, r"--base-model none: found no such folder"),
        (["generation.prompt_classes=[dragons]"], 0, r"generation\.prompt_classes: unknown class 'dragons'"),
        (
            [f"generation.prompt_template=a {'very ' * 99}long street"],
            0,
            r"prompt_template: found \d+ tokens",
        ),
        (
            ["adaptation.crop=32", "adaptation.batch_size=1"],
            0,
            r"adaptation\.crop=32 and .*=1: resnet-18-half",
        ),
        (["adaptation.pretrained_encoder=none.pth"], 0, r"adaptation\.pretrained_encoder none\.pth: no such"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(
    overrides: list[str], one_shots: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        run_locally(
            profile="demo",
            overrides=overrides,
            source=None,
            target=None,
            one_shots=[tmp_path / f"missing-{number}.png" for number in range(one_shots)],
            baselines=False,
            output=tmp_path / "output",
        )
    assert not list(tmp_path.iterdir())


def test_published_images_of_cityscapes_are_no_images_of_drawn_scenes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one-shot protocol sm-ppm: .* no target is given"):
        run_locally(
            profile="demo",
            overrides=[],
            source=None,
            target=None,
            one_shots=[],
            baselines=False,
            output=tmp_path / "output",
            one_shot_protocol="sm-ppm",
        )
    assert not list(tmp_path.iterdir())


KFP_LOG = [
    "Executing task \x1b[96m'generate-2'\x1b[0m",
    "Streamed logs:",
    "Executing task \x1b[96m'report'\x1b[0m",
    "Task \x1b[96m'report'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m",
]


def _record(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("root", level, "", 0, text, None, None)


def test_a_folder_with_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "run" / "run.yaml"
    first = {
        "adaptation": {"iterations": 5, "workers": 4},
        "inputs": {"source": "/a", "one-shot 0 sha256": "01"},
    }
    _keep_description(file, first)
    _keep_description(file, first)
    # Another place, and another way of working, of the same run.
    moved = {"source": "/b", "one-shot 0 sha256": "01"}
    _keep_description(file, {"adaptation": {"iterations": 5, "workers": 0}, "inputs": moved})
    with pytest.raises(InputError, match=r"iterations 5 -> 6; inputs\.one-shot 0 sha256 01 -> None\)"):
        _keep_description(file, {"adaptation": {"iterations": 6, "workers": 4}, "inputs": {}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "a: {1: 2}",
        "a: [",
        "a: !!python/object/apply:os.system [true]",
        "[" * 1_000,
        "x" * 2**21,
        "a: &a [1, 1]\nb: &b [*a, *a]\nc: {d: [*b, *b]}",
    ],
)
def test_a_description_that_was_edited_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(InputError, match=r"run\.yaml: (cannot be read|is larger)"):
        _keep_description(tmp_path / "run.yaml", {})
