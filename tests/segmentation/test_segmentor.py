"""The network: shapes, sizes, the numbers of SegFormer and DAFormer, and its file."""

import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from mmseg.models.backbones.mit import EfficientMultiheadAttention
from torch import Tensor
from torch.nn import functional

from datum.errors import InputError
from datum.segmentation.encoders import encoder_channels, family
from datum.segmentation.encoders.mit import FusedAttention
from datum.segmentation.segmentor import (
    SegmentorConfig,
    build_segmentor,
    load_segmentor,
    read_header,
    save_segmentor,
)

SMALL = SegmentorConfig(encoder="mit-b0", head_channels=8)


@pytest.mark.parametrize(
    "encoder, widths, scales, of_logits",
    [
        ("mit-b0", (32, 64, 160, 256), (4, 8, 16, 32), 4),
        ("mit-b1", (64, 128, 320, 512), (4, 8, 16, 32), 4),
        ("resnet-18", (64, 128, 256, 512), (4, 8, 16, 32), 4),
        ("resnet-18-half", (32, 64, 128, 256), (4, 8, 16, 32), 4),
        ("resnet-101", (256, 512, 1024, 2048), (4, 8, 8, 8), 8),
    ],
)
def test_feature_maps_and_logits_have_their_scales(
    encoder: str, widths: tuple[int, ...], scales: tuple[int, ...], of_logits: int
) -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder=encoder, head_channels=8)).eval()
    images = torch.randn(2, 3, 64, 96)
    features = segmentor.encode(images)
    assert [tuple(f.shape) for f in features] == [
        (2, width, 64 // scale, 96 // scale) for width, scale in zip(widths, scales)
    ]
    assert segmentor(images).shape == (2, 19, 64 // of_logits, 96 // of_logits)
    assert encoder_channels(encoder) == widths
    assert scales[-1] == family(encoder).CELL


@pytest.mark.parametrize("device, layout", [("cpu", torch.channels_last), ("meta", torch.contiguous_format)])
def test_the_head_fuses_maps_in_the_layout_that_is_fast_where_it_runs(
    device: str, layout: torch.memory_format
) -> None:
    """A processor is faster with channels-last maps; elsewhere they are as in the reference."""
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8)).eval().to(device)
    fused: list[Tensor] = []
    segmentor.head.pyramid.register_forward_pre_hook(lambda _, inputs: fused.extend(inputs))  # type: ignore
    segmentor(torch.randn(2, 3, 64, 96, device=device))
    assert [maps.is_contiguous(memory_format=layout) for maps in fused] == [True]


@pytest.mark.parametrize("encoder, parameters", [("mit-b0", 6_900_595), ("mit-b5", 85_155_283)])
def test_the_network_has_as_many_parameters_as_daformers_own(encoder: str, parameters: int) -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder=encoder))
    assert sum(p.numel() for p in segmentor.parameters()) == parameters


@pytest.mark.parametrize("reduction", [1, 4])
def test_fused_attention_gives_mmsegs_outputs_and_gradients(reduction: int) -> None:
    torch.manual_seed(0)
    arguments = {"embed_dims": 64, "num_heads": 2, "qkv_bias": True, "sr_ratio": reduction}
    slow, fused = EfficientMultiheadAttention(**arguments), FusedAttention(**arguments)
    fused.load_state_dict(slow.state_dict())
    tokens = torch.randn(2, 64, 64)
    results = []
    for attention in (slow, fused):
        x = tokens.clone().requires_grad_()
        output = attention(x, (8, 8), x, *([None] if attention is fused else []))
        output.square().sum().backward()
        results.append((output, x.grad, attention.attn.in_proj_weight.grad))
    for expected, found in zip(*results):
        assert torch.allclose(expected, found, atol=1e-5, rtol=1e-5)


def test_segformers_official_weights_give_the_features_of_segformers_first_stage(tmp_path: Path) -> None:
    """Against a plain implementation of the first stage in SegFormer's own names and operations."""
    torch.manual_seed(0)
    target = build_segmentor(SMALL)
    official = _official_names(target.encoder.state_dict())
    file = tmp_path / "mit_b0.pth"
    torch.save({**official, "head.weight": torch.zeros(1000, 256)}, file)
    segmentor = build_segmentor(SMALL, pretrained_encoder=file).eval()
    images = torch.randn(1, 3, 64, 64)
    assert torch.allclose(segmentor.encode(images)[0], _first_stage(official, images), atol=1e-5)


def _official_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Random weights of the shapes in `state`, in the names and shapes of SegFormer's checkpoints."""
    official = {}
    for name, like in state.items():
        value = torch.randn_like(like) * 0.1
        _, stage, part, rest = name.split(".", 3)
        number = int(stage) + 1
        if part == "0":
            official[f"patch_embed{number}.{rest.replace('projection', 'proj')}"] = value
        elif part == "2":
            official[f"norm{number}.{rest}"] = value
        elif "in_proj" in rest:
            query, key_value = value.split([len(value) // 3, 2 * len(value) // 3])
            kind = rest.split("in_proj_")[1]
            prefix = f"block{number}.{rest.split('.')[0]}.attn"
            official[f"{prefix}.q.{kind}"], official[f"{prefix}.kv.{kind}"] = query, key_value
        else:
            if rest.endswith(("layers.0.weight", "layers.4.weight")):
                value = value.flatten(1)
            for ours, theirs in (
                ("attn.attn.out_proj", "attn.proj"),
                ("ffn.layers.0", "mlp.fc1"),
                ("ffn.layers.1", "mlp.dwconv.dwconv"),
                ("ffn.layers.4", "mlp.fc2"),
            ):
                rest = rest.replace(ours, theirs)
            official[f"block{number}.{rest}"] = value
    return official


def _first_stage(w: dict[str, Tensor], images: Tensor) -> Tensor:
    def norm(x: Tensor, name: str, epsilon: float) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], epsilon)

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def convolution(x: Tensor, name: str, **how: int) -> Tensor:
        return functional.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **how)

    x = convolution(images, "patch_embed1.proj", stride=4, padding=3)
    batch, width, height, columns = x.shape
    x = norm(x.flatten(2).transpose(1, 2), "patch_embed1.norm", 1e-5)
    for block in ("block1.0", "block1.1"):
        y = norm(x, f"{block}.norm1", 1e-6)
        plane = y.transpose(1, 2).reshape(batch, width, height, columns)
        reduced = convolution(plane, f"{block}.attn.sr", stride=8).flatten(2).transpose(1, 2)
        key, value = linear(norm(reduced, f"{block}.attn.norm", 1e-5), f"{block}.attn.kv").chunk(2, dim=-1)
        scores = linear(y, f"{block}.attn.q") @ key.transpose(1, 2) / math.sqrt(width)
        x = x + linear(scores.softmax(-1) @ value, f"{block}.attn.proj")
        y = linear(norm(x, f"{block}.norm2", 1e-6), f"{block}.mlp.fc1")
        plane = y.transpose(1, 2).reshape(batch, -1, height, columns)
        plane = convolution(plane, f"{block}.mlp.dwconv.dwconv", padding=1, groups=plane.shape[1])
        x = x + linear(functional.gelu(plane.flatten(2).transpose(1, 2)), f"{block}.mlp.fc2")
    return norm(x, "norm1", 1e-6).transpose(1, 2).reshape(batch, width, height, columns)


def test_weights_of_another_encoder_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "mit_b1.safetensors"
    other = build_segmentor(SegmentorConfig(encoder="mit-b1", head_channels=8))
    safetensors.torch.save_file(other.encoder.state_dict(), file)
    with pytest.raises(InputError, match=r"mit_b1\.safetensors: layers\.0\.0\.projection\.weight is \(64"):
        build_segmentor(SMALL, pretrained_encoder=file)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 broken"])
def test_a_file_that_is_not_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("mit.pth", "mit.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: .*expected weights"):
            build_segmentor(SMALL, pretrained_encoder=tmp_path / name)


def test_torchvisions_weights_give_torchvisions_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = torchvision.models.resnet18(weights=None).eval()
    torch.save(original.state_dict(), tmp_path / "resnet18.pth")
    config = SegmentorConfig(encoder="resnet-18", head_channels=8)
    encoder = build_segmentor(config, tmp_path / "resnet18.pth").eval().encoder
    images = torch.randn(1, 3, 64, 64)
    stem = original.maxpool(original.relu(original.bn1(original.conv1(images))))
    deepest = original.layer4(original.layer3(original.layer2(original.layer1(stem))))
    assert torch.allclose(encoder(images)[-1], deepest, atol=1e-5)


def test_weights_of_the_full_width_are_refused_at_half_of_it(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pth")
    config = SegmentorConfig(encoder="resnet-18-half", head_channels=8)
    with pytest.raises(InputError, match=r"resnet18\.pth: conv1\.weight is \(64, .*expected \(32, "):
        build_segmentor(config, tmp_path / "resnet18.pth")


@pytest.mark.parametrize("config", [SMALL, SegmentorConfig(encoder="resnet-18-half", head_channels=8)])
def test_a_network_survives_its_file_bit_by_bit(tmp_path: Path, config: SegmentorConfig) -> None:
    segmentor = build_segmentor(config)
    with torch.no_grad():
        segmentor(torch.randn(2, 3, 64, 64))  # moves the running statistics of batch norm
    save_segmentor(tmp_path / "a.safetensors", segmentor, {"iteration": 7})
    loaded = load_segmentor(tmp_path / "a.safetensors")
    assert not loaded.training and loaded.config == config
    assert read_header(tmp_path / "a.safetensors")["metadata"] == {"iteration": 7}
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(loaded(images), segmentor.eval()(images))


def test_equal_networks_make_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.manual_seed(3)
        save_segmentor(tmp_path / name, build_segmentor(SMALL), {"miou": 12.5, "iteration": 7})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_unknown_encoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'mit-b9': unknown, expected one of mit-b0, .*resnet-18-half"):
        build_segmentor(SegmentorConfig(encoder="mit-b9"))


def test_a_foreign_or_missing_file_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, foreign)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x00" * 20)
    for file in (foreign, broken):
        with pytest.raises(InputError, match=f"{file.name}: not a segmentation network of ours"):
            load_segmentor(file)
    with pytest.raises(InputError, match="no such file"):
        load_segmentor(tmp_path / "missing.safetensors")


def test_a_truncated_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "last.safetensors"
    save_segmentor(file, build_segmentor(SMALL), {})
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"last\.safetensors"):
        load_segmentor(file)


def test_stochastic_depth_grows_to_its_rate_in_the_last_block() -> None:
    segmentor = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8, drop_path_rate=0.7))
    rates = [m.dropout_layer.drop_prob for m in segmentor.encoder.modules() if isinstance(m, FusedAttention)]
    assert rates == pytest.approx([0.1 * i for i in range(8)])


def test_stochastic_depth_drops_each_block_at_its_rate_and_keeps_the_mean() -> None:
    """Attention and feed-forward layers of each image on their own, drawn anew in every pass."""
    encoder = build_segmentor(SegmentorConfig(encoder="mit-b0", head_channels=8, drop_path_rate=0.7)).encoder
    images = torch.zeros(2000, 3, 1, 1)
    drawn = encoder._kept(images)
    assert drawn[:2] == [None, None] and len(drawn) == 16
    for place, kept in enumerate(drawn[2:], start=2):
        rate = 0.1 * (place // 2)
        assert kept.shape == (2000, 1, 1)
        torch.testing.assert_close(kept.unique(), torch.tensor([0, 1 / (1 - rate)]), atol=1e-6, rtol=1e-6)
        assert float((kept == 0).float().mean()) == pytest.approx(rate, abs=0.05)
    assert not torch.equal(drawn[14], drawn[15]) and not torch.equal(drawn[14], encoder._kept(images)[14])
    assert encoder.eval()._kept(images) == [None] * 16


def test_a_file_in_half_precision_takes_half_the_room_and_is_read_in_float32(tmp_path: Path) -> None:
    segmentor = build_segmentor(SMALL)
    save_segmentor(tmp_path / "full.safetensors", segmentor, {})
    save_segmentor(tmp_path / "half.safetensors", segmentor, {}, half=True)
    full, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("full", "half"))
    assert half < 0.6 * full
    for key, tensor in load_segmentor(tmp_path / "half.safetensors").state_dict().items():
        expected = segmentor.state_dict()[key]
        assert tensor.dtype == expected.dtype
        assert torch.equal(tensor, expected.half().float() if expected.is_floating_point() else expected)
