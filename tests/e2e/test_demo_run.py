"""`datum run` from drawn scenes to the report: killed once, continued, and run a third time."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from datum import cli
from datum.outputs import sha256

SETTINGS = {
    "datasets.height": 64,
    "datasets.width": 64,
    "datasets.source_scenes": 6,
    "datasets.target_train_scenes": 2,
    "datasets.target_val_scenes": 2,
    "personalization.steps": 2,
    "personalization.checkpoint_every": 2,
    "personalization.batch_size": 1,
    "personalization.crop": 64,
    "personalization.short_side": 64,
    "generation.checkpoint_step": 2,
    "generation.count": 4,
    "generation.inference_steps": 2,
    "generation.size": 64,
    "generation.batch_size": 2,
    "adaptation.iterations": 4,
    "adaptation.crop": 64,
    "adaptation.source_scale": "[64, 64]",
    "adaptation.target_scale": "[64, 64]",
    "adaptation.head_channels": 16,
    "adaptation.validate_every": 2,
    "evaluation.scale": "[64, 64]",
    "run.seeds": "[7]",
    "run.shards": 2,
}


def command(output: Path, **changed: object) -> list[str]:
    settings = SETTINGS | {name.replace("__", "."): value for name, value in changed.items()}
    overrides = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    datum = str(Path(sys.executable).with_name("datum"))
    return [datum, "run", "--profile", "demo", "--output", str(output), *overrides]


def run(words: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """(exit status, what was printed) of a process."""
    ended = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False
    )
    return ended.returncode, ended.stdout


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> tuple[Path, int, str]:
    """(output, exit status, what was printed) of a run that was sent SIGTERM while the source was drawn."""
    output = tmp_path_factory.mktemp("e2e") / "output"
    return output, *signaled(command(output), environment, signal.SIGTERM, "ingest source")


@pytest.fixture(scope="module")
def killed(stopped: tuple[Path, int, str], environment: dict[str, str]) -> Path:
    """The output of the same run, started again and killed when the first images were to be drawn."""
    status, printed = signaled(command(stopped[0]), environment, signal.SIGKILL, "generate 1/2")
    assert status == -signal.SIGKILL, printed
    return stopped[0]


def signaled(words: list[str], environment: dict[str, str], number: int, when: str) -> tuple[int, str]:
    """(exit status, what was printed) of a process that alone got a signal `when` that was said."""
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout
        printed = []
        for line in process.stdout:
            printed.append(line)
            if when in line:
                process.send_signal(number)
        assert any(when in line for line in printed), "".join(printed)
        return process.wait(30), "".join(printed)


@pytest.fixture(scope="module")
def personalized_before(killed: Path) -> dict[str, int]:
    return _times(killed / "seed-7" / "personalized")


@pytest.fixture(scope="module")
def finished(
    killed: Path, personalized_before: dict[str, int], environment: dict[str, str]
) -> tuple[Path, str]:
    """(output, what was printed) of the same command, run again."""
    assert not (killed / "report").exists()
    status, printed = run(command(killed), environment)
    assert status == 0, printed
    return killed, printed


def test_a_stopped_run_ends_with_75_and_one_line(stopped: tuple[Path, int, str]) -> None:
    output, status, printed = stopped
    assert status == 75, printed
    assert "datum: stopped; the same command goes on from what is saved" in printed
    assert "Traceback" not in printed
    assert not (output / "run.datum-lock").exists()


def test_a_killed_run_goes_on_with_what_was_finished(
    finished: tuple[Path, str], personalized_before: dict[str, int]
) -> None:
    output, printed = finished
    assert personalized_before
    assert _times(output / "seed-7" / "personalized") == personalized_before
    for debris in ("*.partial", "*.datum-lock", ".datum-*", "state", "*.set-aside-*"):
        assert not list(output.rglob(debris))
    assert "personalized: already complete" in printed


def test_every_task_is_announced_by_the_name_that_it_has_in_the_dag(finished: tuple[Path, str]) -> None:
    headings = re.findall(r"^\[(\d+)/11\] (.+)$", finished[1], re.MULTILINE)
    assert [int(number) for number, _ in headings] == list(range(1, 12))
    names = [name for _, name in headings]
    assert {"check parameters", "seed 7 · generate 2/2", "seed 7 · merge shards"} <= set(names)
    assert names[-1] == "report"
    assert "KFP Executor" not in finished[1] and "executor_input" not in finished[1]


def test_the_report_needs_no_other_file_and_holds_the_figures(finished: tuple[Path, str]) -> None:
    output, printed = finished
    page = (output / "report" / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert page.count("data:image/") >= 4
    metrics = json.loads((output / "seed-7" / "evaluation" / "metrics.json").read_text())
    text = (output / "report" / "report.json").read_text()
    assert json.dumps(metrics["miou"]["19"]) in text
    assert printed.rstrip().endswith(str(output / "report" / "report.html"))


def test_the_images_of_both_shards_are_one_data_set(finished: tuple[Path, str]) -> None:
    generated = finished[0] / "seed-7" / "generated"
    lines = [json.loads(line) for line in (generated / "manifest.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]
    assert all(sha256(generated / line["file"]) == line["sha256"] for line in lines)


def test_the_median_checkpoint_gives_the_reported_figures_again(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    output = finished[0]
    (checkpoint,) = (output / "report" / "median_checkpoint").glob("*.safetensors")
    words = ["evaluate", "--profile", "demo", "--set", "evaluation.scale=[64, 64]"]
    words += ["--checkpoint", str(checkpoint), "--dataset", str(output / "datasets" / "target")]
    cli.main([*words, "--output", str(tmp_path / "again")])
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again == json.loads((output / "report" / "median_checkpoint" / "metrics.json").read_text())


def test_run_again_it_changes_nothing(finished: tuple[Path, str], environment: dict[str, str]) -> None:
    output = finished[0]
    before = _times(output)
    status, printed = run(command(output), environment)
    assert status == 0, printed
    after = _times(output)
    # The description of a seed's run is the one file that is written each time.
    assert {file for file in after if after[file] != before.get(file)} <= {"seed-7/run.json"}
    assert set(before) == set(after)


def test_one_task_at_a_time_gives_the_same_to_the_last_bit(
    finished: tuple[Path, str], environment: dict[str, str], tmp_path: Path
) -> None:
    assert "tasks: 2 at once at most, 1 threads each" in finished[1]
    status, printed = run(command(tmp_path / "alone"), environment | {"DATUM_PROCESSORS": "1"})
    assert status == 0, printed
    assert "tasks: 1 at once at most, 1 threads each" in printed
    for name in ("generated/manifest.jsonl", "segmentor/best.safetensors", "evaluation/metrics.json"):
        alone, together = (folder / "seed-7" / name for folder in (tmp_path / "alone", finished[0]))
        assert alone.read_bytes() == together.read_bytes(), name


def test_what_a_run_made_is_verified_and_what_was_changed_since_is_named(
    finished: tuple[Path, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = finished[0]
    cli.main(["verify", str(output)])
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "verified"
    stages = ("report", "evaluate", "adapt, seed 7", "generate, seed 7", "personalize, seed 7")
    way = " <- ".join(stages) + r" <- photograph [0-9a-f]{12}…"
    assert any(
        re.match(rf"{way} \(at hand\) and base model .*streetscenes, at hand\)", line) for line in printed
    )
    cli.main(["verify", str(output / "report")])
    assert any(re.match(way, line) for line in capsys.readouterr().out.splitlines())
    for name in (
        "datasets/source/labels/00001.png",
        "seed-7/one_shot.png",
        "seed-7/personalized/checkpoint-2/unet/config.json",
        "seed-7/generated/images/im_3_p3.png",
        "seed-7/segmentor/best.safetensors",
        "seed-7/evaluation/metrics.json",
        "seed-7/generated/provenance.json",
        "report/median_checkpoint/config.yaml",
    ):
        copy = tmp_path / "copy"
        shutil.copytree(output, copy, symlinks=True)
        data = bytearray((copy / name).read_bytes())
        data[len(data) // 2] ^= 1
        (copy / name).write_bytes(data)
        with pytest.raises(SystemExit) as end:
            cli.main(["verify", str(copy)])
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert str(Path(name).parent) in said and said.count("\n") == 1
        shutil.rmtree(copy)


def test_a_run_ends_with_the_status_of_the_task_that_failed(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    wrong = command(tmp_path / "output", datasets__target_train_scenes=1, run__seeds="[1, 2]")
    status, printed = run(wrong, environment)
    assert status == 2
    assert "leftImg8bit/train: found 1 images, expected at least 2" in printed
    assert re.search(r"^datum: seed [12] · select one-shot image: .*found 1 images", printed.splitlines()[-1])
    assert "Traceback" not in printed


def _times(folder: Path) -> dict[str, int]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in files}
