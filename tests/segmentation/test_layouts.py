"""MiT's weights in the names of Hugging Face, SegFormer and mmseg, and ResNet's: each told by itself.

The libraries themselves are the reference: a network of theirs with random weights, saved by them, gives
the same feature maps as ours after loading the file.
"""

import re
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn
from transformers import (
    SegformerConfig,
    SegformerForImageClassification,
    SegformerForSemanticSegmentation,
    SegformerModel,
)

from datum.errors import InputError
from datum.segmentation.encoders import build_encoder
from datum.segmentation.encoders.mit import MIT_HEADS, MIT_LAYERS, from_hugging_face
from datum.segmentation.encoders.pretrained import Pretrained, check_pretrained, load_pretrained

KINDS = (SegformerModel, SegformerForImageClassification, SegformerForSemanticSegmentation)


def _hugging_face(kind: type, encoder: str, folder: Path) -> nn.Module:
    """A SegFormer of transformers, saved to `folder`, with SegFormer's epsilon in its blocks (transformers
    has 1e-5 everywhere)."""
    torch.manual_seed(0)
    width, depths = MIT_LAYERS[encoder]
    sizes = [width * heads for heads in MIT_HEADS]
    model = kind(
        SegformerConfig(depths=list(depths), hidden_sizes=sizes, num_attention_heads=list(MIT_HEADS))
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1 if parameter.dim() == 1 else 0.02)
    for name, module in model.named_modules():
        if re.search(r"layernorm_(before|after)|stages\.\d\.layer_norm", name):
            module.eps = 1e-6
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("kind, encoder", [*((kind, "mit-b0") for kind in KINDS), (SegformerModel, "mit-b2")])
def test_hugging_faces_weights_give_its_features(tmp_path: Path, kind: type, encoder: str) -> None:
    model = _hugging_face(kind, encoder, tmp_path)
    loaded, found = _load(encoder, tmp_path / "model.safetensors")
    assert loaded.loaded == loaded.total and loaded.layout == "Hugging Face"
    body = model if kind is SegformerModel else model.segformer
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = body(images, output_hidden_states=True).hidden_states
        maps = found(images)
    for theirs, ours in zip(expected, maps, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_each_layout_of_mit_is_told_by_itself_and_gives_the_same_encoder(tmp_path: Path) -> None:
    _hugging_face(SegformerForImageClassification, "mit-b0", tmp_path)
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    _, encoder = _load("mit-b0", tmp_path / "model.safetensors")
    files = {"SegFormer": from_hugging_face(state), "mmseg": encoder.state_dict(), "Hugging Face": state}
    for layout, weights in files.items():
        torch.save(weights, tmp_path / "weights.pth")
        loaded, other = _load("mit-b0", tmp_path / "weights.pth")
        assert (loaded.layout, loaded.loaded, loaded.total) == (layout, 160, 160)
        assert f"160 of 160 encoder tensors from {tmp_path / 'weights.pth'} ({layout}'s names)" in str(loaded)
        assert _equal(encoder.state_dict(), other.state_dict())


def test_hugging_faces_weights_of_another_size_are_named(tmp_path: Path) -> None:
    _hugging_face(SegformerModel, "mit-b1", tmp_path)
    with pytest.raises(InputError, match=r"these are weights of mit-b1; .*, or choose the encoder mit-b1$"):
        check_pretrained("mit-b0", tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "lost",
    ["encoder.block.0.0.attention.self.value.weight", "encoder.block.1.1.mlp.dense1.bias"],
)
def test_hugging_faces_weights_that_lack_one_are_refused(tmp_path: Path, lost: str) -> None:
    _hugging_face(SegformerModel, "mit-b0", tmp_path)
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    del state[lost]
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"lacks 1 of the 160|KeyError: .*value\.weight"):
        check_pretrained("mit-b0", tmp_path / "model.safetensors")


@pytest.mark.parametrize("layout", ["OpenMMLab", "timm"])
def test_resnet_101_starts_from_openmmlabs_weights_and_from_timms(tmp_path: Path, layout: str) -> None:
    """timm's does not dilate, so that its first two maps alone are ours."""
    model = timm.create_model("resnet101c", num_classes=10).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    state = model.state_dict()
    if layout == "OpenMMLab":
        state = {re.sub("^conv1", "stem", re.sub("^bn1", "stem.7", k)): value for k, value in state.items()}
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    loaded, encoder = _load("resnet-101", tmp_path / "weights.pth")
    assert (loaded.layout, loaded.loaded, loaded.total) == (layout, 636, 636)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        first = model.layer1(model.maxpool(model.act1(model.bn1(model.conv1(images)))))
        second = model.layer2(first)
        found = encoder(images)
    assert torch.allclose(found[0], first, atol=1e-5)
    assert torch.allclose(found[1], second, atol=1e-5)


def _load(name: str, file: Path) -> tuple[Pretrained, nn.Module]:
    encoder = build_encoder(name, 0.0)
    loaded = load_pretrained(encoder, name, file)
    encoder.eval()
    return loaded, encoder


def _equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[k], t) for k, t in expected.items())
