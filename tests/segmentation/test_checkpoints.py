"""Checkpoints of others and of ours: opened as what they are, and refused in one line."""

import functools
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from datum.errors import InputError
from datum.segmentation.checkpoints import checkpoint_file, open_checkpoint
from datum.segmentation.segmentor import SegmentorConfig, build_segmentor, save_segmentor
from tests.segmentation.reference import golden, normal, reference_state, shapes_of

NETWORK = golden(str(Path(__file__).with_name("test_reference_network.py")), "network")
SHAPES = shapes_of(NETWORK)
"""Names and shapes of DAFormer's own network: MiT-B0 with its head of width 256."""


@functools.cache
def _student() -> dict[str, Tensor]:
    state = reference_state(SHAPES, "student")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _blank(prefix: str = "") -> dict[str, Tensor]:
    """A network of zeros, for what is refused before it is looked at."""
    return {prefix + name: torch.zeros(shape) for name, shape in SHAPES.items()}


def _named(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def _training(student: dict[str, Tensor]) -> dict[str, Any]:
    """What mmcv saves of a training of DAFormer's: three networks, the configuration as Python, an optimizer,
    and a number of numpy."""
    networks = {"imnet_model.": _blank(), "ema_model.": _blank(), "model.": student}
    return {
        "meta": {
            "iter": 40000,
            "config": "__import__('pathlib').Path('executed').touch()",
            "mIoU": np.float64(68.3),
        },
        "state_dict": {
            key: value for name, state in networks.items() for key, value in _named(name, state).items()
        },
        "optimizer": {"state": {}, "param_groups": [{"lr": 6e-5}]},
    }


@pytest.mark.parametrize(
    "wrap, said",
    [
        (_training, "mit-b0 with the daformer head, the student of an mmcv checkpoint, iteration 40000"),
        (lambda state: {"state_dict": state}, "mit-b0 with the daformer head, an mmcv checkpoint"),
        (
            lambda state: _named("module.model.", state),
            "mit-b0 with the daformer head, the student of an mmcv checkpoint",
        ),
    ],
    ids=["training", "state_dict", "module.model."],
)
def test_a_checkpoint_of_daformer_gives_daformers_logits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrap: Callable[[dict[str, Tensor]], dict[str, Any]],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(wrap(_student()), "latest.pth")
    checkpoint = open_checkpoint(tmp_path / "latest.pth")
    assert str(checkpoint) == f"{tmp_path / 'latest.pth'}: {said}"
    with torch.inference_mode():
        logits = checkpoint.segmentor(torch.from_numpy(normal("image", (1, 3, 64, 96))).float())
    # Those of DAFormer's code, up to float32's rounding.
    np.testing.assert_allclose(logits.numpy(), NETWORK["logits"], rtol=0, atol=2e-5)
    assert not (tmp_path / "executed").exists()


def test_a_network_of_ours_says_how_long_and_how_well_it_was_trained(tmp_path: Path) -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder="resnet-18-half", head_channels=8))
    save_segmentor(tmp_path / "last.safetensors", segmentor, {"iteration": 650, "miou": 43.219})
    checkpoint = open_checkpoint(tmp_path / "last.safetensors")
    assert str(checkpoint).endswith(
        "last.safetensors: resnet-18-half with the daformer head, written by `datum adapt`, iteration 650, "
        "mIoU 43.22 on its validation set"
    )
    assert not checkpoint.segmentor.training


def test_of_a_folder_the_best_network_is_taken_else_the_last(tmp_path: Path) -> None:
    for name in ("latest.pth", "last.safetensors", "best.safetensors"):
        (tmp_path / name).touch()
        assert checkpoint_file(tmp_path) == tmp_path / name


def _refusal(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        open_checkpoint(path)
    said = str(raised.value)
    assert "\n" not in said and said.startswith(f"--checkpoint {path}: ") and len(said) < 500
    return said


def _classes(state: dict[str, Tensor]) -> None:
    for name in ("weight", "bias"):
        key = f"model.decode_head.conv_seg.{name}"
        state[key] = state[key][:16]


def _other_head(state: dict[str, Tensor]) -> None:
    for key in [key for key in state if key.startswith("model.decode_head.fuse_layer.")]:
        state[key.replace("fuse_layer", "linear_fuse")] = state.pop(key)


@pytest.mark.parametrize(
    "change, problem",
    [
        (_classes, "has 16 classes, expected Cityscapes' 19"),
        (_other_head, "has a decode head that we do not have ('conv_seg.weight', "),
        (
            lambda state: state.update({"model.decode_head.fuse_layer.context_layer.bias": torch.zeros(1)}),
            "holds 1 tensors that mit-b0 with the daformer head has not, such as "
            "'head.fuse_layer.context_layer.bias'",
        ),
        (
            lambda state: state.pop("model.backbone.norm4.weight"),
            "has an encoder that we do not have ('patch_embed1.proj.weight', ",
        ),
        (
            lambda state: state.update({"model.backbone.norm4.weight": torch.zeros(7)}),
            "has an encoder that we do not have",
        ),
        (
            lambda state: state.update({"model.neck.weight": torch.zeros(7)}),
            "holds 1 tensors that mit-b0 with the daformer head has not, such as 'neck.weight'",
        ),
        (
            lambda state: state["model.decode_head.conv_seg.bias"].fill_(float("nan")),
            "head.conv_seg.bias holds values that are not finite",
        ),
        (
            lambda state: state.update({"model.decode_head.conv_seg.weight": torch.tensor(1.0)}),
            "has 0 classes, expected Cityscapes' 19",
        ),
    ],
    ids=["classes", "head", "context", "lacks a norm", "norm of another size", "neck", "NaN", "scalar"],
)
def test_a_network_that_is_not_ours_is_refused_with_what_differs(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], problem: str
) -> None:
    state = _blank("model.")
    change(state)
    torch.save({"state_dict": state}, tmp_path / "other.pth")
    assert problem in _refusal(tmp_path / "other.pth")


def test_an_encoder_alone_is_no_network(tmp_path: Path) -> None:
    state = {key: value for key, value in _blank().items() if key.startswith("backbone.")}
    torch.save(state, tmp_path / "mit_b0.pth")
    assert "is no whole network, as it holds no decode_head.*" in _refusal(tmp_path / "mit_b0.pth")


@pytest.mark.parametrize(
    "content, problem",
    [
        (b"<!DOCTYPE html>\n<html><title>Google Drive - Quota exceeded</title></html>", "is a web page"),
        (b"\xef\xbb\xbf\r\n  <html></html>", "is a web page"),
        (
            b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
            "is a web page or an error in XML",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is Git LFS's pointer"),
        (
            gzip.compress(b"211108_1622_gta2cs_daformer_s0_7f24c"),
            "is a compressed archive, which is to be unpacked",
        ),
        (b'{"error": "not found"}', "is a text in JSON"),
        (b"", "expected weights in a .pth"),
    ],
    ids=["page", "page with a mark", "XML", "Git LFS", "archive", "JSON", "empty"],
)
def test_what_a_failed_download_left_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "latest.pth").write_bytes(content)
    assert problem in _refusal(tmp_path / "latest.pth")


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, share: float) -> None:
    file = tmp_path / "latest.pth"
    torch.save(_training(_blank()), file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert "expected weights in a .pth" in _refusal(file)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path("executed").touch, ())

    monkeypatch.chdir(tmp_path)
    torch.save({**_training(_blank()), "meta": {"hook": Evil()}}, tmp_path / "evil.pth")
    assert "without pickled code" in _refusal(tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()


def test_a_path_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds none of best.safetensors, last.safetensors, latest.pth" in _refusal(tmp_path / "empty")
    assert "no such file or folder" in _refusal(tmp_path / "missing.pth")
