"""ImageNet weights: which files are taken, and what is said of the others before any work starts."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor

from datum.errors import InputError
from datum.outputs import sha256
from datum.segmentation.encoders import build_encoder
from datum.segmentation.encoders.pretrained import check_pretrained, load_pretrained
from datum.segmentation.pretrained_file import pretrained_file


def _weights(encoder: str) -> dict[str, Tensor]:
    return build_encoder(encoder, 0.0).state_dict()


def _refusal(encoder: str, file: Path) -> str:
    """The one line with which `file` is refused, the same with a network and without."""
    said = []
    for refuse in (
        lambda: check_pretrained(encoder, file),
        lambda: load_pretrained(build_encoder(encoder, 0.0), encoder, file),
    ):
        with pytest.raises(InputError) as raised:
            refuse()
        said.append(str(raised.value))
    assert said[0] == said[1] and "\n" not in said[0] and file.name in said[0]
    return said[0]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"model": state},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: (
            {f"backbone.{key}": value for key, value in state.items()}
            | {"decode_head.conv_seg.bias": torch.zeros(19)}
        ),
        lambda state: state | {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)},
        # As mmcv saves: numbers of numpy beside the weights.
        lambda state: {
            "meta": {"mIoU": np.float64(68.3), "iter": np.int64(7), "lr": np.float32(1)},
            "state_dict": state,
        },
        lambda state: {key: value.double() for key, value in state.items()},
    ],
    ids=["plain", "state_dict", "model", "module.", "backbone.", "classifier", "mmcv", "float64"],
)
def test_weights_of_the_encoder_are_taken_however_they_are_wrapped(
    tmp_path: Path, wrap: Callable[[dict[str, Tensor]], Any]
) -> None:
    state, file = _weights("mit-b0"), tmp_path / "mit_b0.pth"
    torch.save(wrap(state), file)
    encoder = build_encoder("mit-b0", 0.0)
    loaded = load_pretrained(encoder, "mit-b0", file)
    assert str(loaded) == f"160 of 160 encoder tensors from {file} (mmseg's names), sha256 {sha256(file)}"
    assert all(torch.equal(tensor, state[key]) for key, tensor in encoder.state_dict().items())


def test_an_older_file_without_batch_norms_counters_is_taken(tmp_path: Path) -> None:
    state = {key: value for key, value in _weights("resnet-18").items() if "tracked" not in key}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    loaded = load_pretrained(build_encoder("resnet-18", 0.0), "resnet-18", tmp_path / "old.pth")
    assert (loaded.loaded, loaded.total) == (100, 120)


@pytest.mark.parametrize("chosen", ["mit-b1", "mit-b2"])
def test_weights_of_a_deeper_encoder_are_refused_and_named(tmp_path: Path, chosen: str) -> None:
    """Every tensor of MiT-B1 has its like in MiT-B3's file."""
    torch.save(_weights("mit-b3"), tmp_path / "mit_b3.pth")
    said = _refusal(chosen, tmp_path / "mit_b3.pth")
    assert f"tensors that {chosen} has not" in said
    assert said.endswith(
        f"these are weights of mit-b3; name a file of ImageNet weights of {chosen}, "
        "or choose the encoder mit-b3"
    )


def test_weights_of_a_resnet_that_we_do_not_have_are_named_too(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "weights.pth")
    assert "these are weights of resnet-34" in _refusal("resnet-18", tmp_path / "weights.pth")


def test_torchvisions_resnet_101_is_refused_for_the_one_with_three_convolutions_in_its_stem(
    tmp_path: Path,
) -> None:
    torch.save(torchvision.models.resnet101(weights=None).state_dict(), tmp_path / "weights.pth")
    said = _refusal("resnet-101", tmp_path / "weights.pth")
    assert "lacks 15 of the 530 tensors of resnet-101, such as stem.0.weight" in said
    assert "these are weights of resnet-101 with a stem of one 7x7 convolution" in said


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda state: state.pop("layers.0.2.weight"), "lacks 1 of the 160 tensors"),
        (lambda state: state.update(extra=torch.zeros(1)), "holds 1 tensors that mit-b0 has not"),
        (lambda state: state.update({"layers.0.2.weight": torch.zeros(33)}), r"is (33,), expected (32,)"),
        (lambda state: state["layers.0.2.weight"].fill_(float("nan")), "not finite"),
        (lambda state: state["layers.0.2.bias"].fill_(float("inf")), "not finite"),
        (
            lambda state: state.update({"layers.0.2.bias": torch.full((32,), 1e300, dtype=torch.float64)}),
            "finite",
        ),
        (lambda state: state.update({7: torch.zeros(1)}), "found a name '7', expected texts"),
        (lambda state: state.update({"layers.0.2.weight": [1.0]}), "is list, expected a dense tensor"),
        (
            lambda state: state.update({"layers.0.2.weight": torch.zeros(32).to_sparse()}),
            "expected a dense tensor",
        ),
        *(
            (
                lambda state, kind=kind: state.update({"layers.0.2.weight": torch.zeros(32, dtype=kind)}),
                "expected float32",
            )
            for kind in (torch.int8, torch.bool, torch.complex64)
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_what_differs(
    tmp_path: Path, change: Callable[[dict[Any, Any]], Any], problem: str
) -> None:
    state = _weights("mit-b0")
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    assert problem in _refusal("mit-b0", tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("block1.0.attn.kv.weight"),
        lambda state: state.pop("block1.0.attn.q.weight"),
        lambda state: state.update({"block1.0.attn.q.weight": torch.zeros(1)}),
        lambda state: state.update({"block1.0.mlp.fc1.weight": torch.zeros(1)}),
    ],
)
def test_weights_in_segformers_names_that_cannot_be_converted_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], Any]
) -> None:
    state = {
        "patch_embed1.proj.weight": torch.zeros(32, 3, 7, 7),
        "block1.0.attn.q.weight": torch.zeros(32, 32),
        "block1.0.attn.kv.weight": torch.zeros(64, 32),
        "block1.0.mlp.fc1.weight": torch.zeros(128, 32),
    }
    change(state)
    torch.save(state, tmp_path / "weights.pth")
    _refusal("mit-b0", tmp_path / "weights.pth")


def _header(content: Any) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "name, content",
    [
        ("claim.safetensors", struct.pack("<Q", 2**60) + b"{}"),
        ("deep.safetensors", _header(b"[" * 10_000)),
        (
            "huge.safetensors",
            _header({"w": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}),
        ),
        ("outside.safetensors", _header({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})),
        ("list.pth", pickle.dumps([1, 2, 3], protocol=2)),
        ("nothing.pth", b""),
        ("page.pth", b"<!DOCTYPE html><html>not found</html>"),
    ],
)
def test_a_file_that_claims_or_holds_nonsense_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    _refusal("mit-b0", tmp_path / name)


def test_code_in_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path("executed").touch, ())

    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    assert "without pickled code" in _refusal("mit-b0", tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()


def test_random_weights_must_be_asked_for_and_a_missing_file_is_none(tmp_path: Path) -> None:
    assert pretrained_file("mit-b5", "random") is None
    with pytest.raises(
        InputError,
        match=r"not given, expected .*, or random for random weights; of mit-b5, published are https://.*/mit_b5",
    ):
        pretrained_file("mit-b5", "")
    for name in ("missing.pth", ""):
        with pytest.raises(InputError, match=r"no such file|is no file"):
            pretrained_file("mit-b5", str(tmp_path / name))


def test_weights_in_halves_become_whole_numbers_of_the_network(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in _weights("mit-b0").items()}
    safetensors.torch.save_file(state, tmp_path / "half.safetensors")
    encoder = build_encoder("mit-b0", 0.0)
    load_pretrained(encoder, "mit-b0", tmp_path / "half.safetensors")
    assert all(torch.equal(value, state[key].float()) for key, value in encoder.state_dict().items())
