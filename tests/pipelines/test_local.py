"""The local run: what is refused before its first task starts."""

from pathlib import Path

import pytest

from datum.errors import InputError
from pipelines.local import _keep_description, run_locally


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
