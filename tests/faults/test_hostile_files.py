"""Weights, state and models from strangers: no code of theirs runs, and no file fills the memory."""

import hashlib
import json
import os
import pickle
import resource
import shutil
import signal
import struct
import time
from pathlib import Path

import pytest

from datum import cli
from tests.faults.world import ALL, DATUM, PERSONALIZE, World, with_settings

MEMORY = 2 << 20
"""Kilobytes that refusing a file may add to what this process has taken; most are PyTorch's code."""


class Hostile:
    """Leaves `marker` where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self._marker}",)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("hostile"))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def write_pickle(file: Path, marker: Path, *, how: str) -> None:
    """A pickle with code: bare, as PyTorch's archive, or as its old format of several pickles."""
    import torch

    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"state_dict": {"weight": Hostile(marker)}, "weight": Hostile(marker)}
    if how == "bare":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how == "archive")


def refused(words: tuple[str, ...], marker: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of input that is refused with 2 in one line; it is not run, does not fill the memory, and
    nothing is written."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    said = capsys.readouterr().err
    assert not marker.exists()
    assert end.value.code == 2, said
    assert said.strip().splitlines()[-1].startswith("datum: ")
    assert not output.exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
    return said


@pytest.mark.parametrize(
    ("name", "how"), [("mit_b0.pth", "archive"), ("mit_b0.bin", "old"), ("mit_b0.pth", "bare")]
)
def test_encoder_weights_are_never_run(
    world: World, tmp_path: Path, marker: Path, name: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pickle(tmp_path / name, marker, how=how)
    adapt = world.stage("adapt").words[len(DATUM) :]
    words = (*adapt, "--set", f"adaptation.pretrained_encoder={tmp_path / name}")
    words += ("--encoder", "mit-b0", "--output", str(tmp_path / "out"))
    refused(words, marker, tmp_path / "out", capsys)


@pytest.mark.parametrize("name", ["best.safetensors", "best.pth", "best.bin"])
def test_a_checkpoint_is_never_run(
    world: World, tmp_path: Path, marker: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pickle(tmp_path / name, marker, how="archive")
    words = ("evaluate", "--profile", "demo", "--checkpoint", str(tmp_path / name))
    words += ("--dataset", str(world.target), "--output", str(tmp_path / "out"))
    refused(words, marker, tmp_path / "out", capsys)


def safetensors(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


HEADERS = {
    "no header": b"",
    "a header of exabytes": safetensors(b"{}", 1 << 60),
    "a header that is cut": safetensors(b'{"a": {"dtype": "F32"', 1000),
    "a header that is none": safetensors(b"[" * 1000),
    "a tensor of petabytes": safetensors(
        b'{"a": {"dtype": "F32", "shape": [1125899906842624], "data_offsets": [0, 4503599627370496]}}'
    ),
    "tensors that overlap": safetensors(
        b'{"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},'
        b' "b": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}'
    )
    + bytes(4),
    "a header nested deeply": safetensors(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
def test_a_checkpoint_that_is_a_bomb_or_cut_is_refused(
    world: World, tmp_path: Path, marker: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "best.safetensors").write_bytes(content)
    words = ("evaluate", "--profile", "demo", "--checkpoint", str(tmp_path / "best.safetensors"))
    words += ("--dataset", str(world.target), "--output", str(tmp_path / "out"))
    assert "best.safetensors" in refused(words, marker, tmp_path / "out", capsys)


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_a_base_model_of_pickles_is_never_run(
    world: World, tmp_path: Path, marker: Path, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(world.make(world.stage("personalize")) / "checkpoint-2", tmp_path / "model"))
    for weights in (model / part).glob("*.safetensors"):
        weights.unlink()
        write_pickle(weights.with_suffix(".bin"), marker, how="archive")
    words = ("personalize", "--profile", "demo", "--image", str(world.one_shot), "--base-model", str(model))
    words += ("--output", str(tmp_path / "out"))
    words = with_settings(*words, settings=PERSONALIZE)[len(DATUM) :]
    refused(words, marker, tmp_path / "out", capsys)


@pytest.mark.parametrize("name", ["adapt", "personalize"] if ALL else ["adapt"])
def test_saved_state_is_never_run(world: World, tmp_path: Path, marker: Path, name: str) -> None:
    """Its record has the right digest of the pickle, as somebody who may write there can arrange."""
    stage = world.stage(name)
    stage.fresh()
    log = tmp_path / "killed.log"
    process = stage.start(log)
    while process.poll() is None and not list(stage.place.glob(stage.state)):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (saved,) = list(stage.place.glob(stage.state))[-1:]
    for file in saved.parent.glob("state-*"):
        if file.suffix != ".json":
            write_pickle(file, marker, how="archive")
    for file in saved.parent.glob("state-*.json"):
        state = next(f for f in saved.parent.glob(f"{file.stem}.*") if f != file)
        changed = {"sha256": hashlib.sha256(state.read_bytes()).hexdigest(), "bytes": state.stat().st_size}
        record = json.loads(file.read_text())
        record["files"]["changing"] |= changed
        file.write_text(json.dumps(record))
    status = stage.run(tmp_path / "again.log")
    said = (tmp_path / "again.log").read_text()
    assert not marker.exists()
    assert status in (0, 2) and "Traceback" not in said, said
