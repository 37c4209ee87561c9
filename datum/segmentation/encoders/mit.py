"""SegFormer's MiT encoders, from mmseg's registry, with the numerics and weights of the original.

mmseg's `MixVisionTransformer` differs from SegFormer's in two things that this module puts right: the
epsilon of two kinds of LayerNorm, and attention that goes through `nn.MultiheadAttention` with its
attention weights returned, which rules out the fused kernel.
"""

import re
from collections.abc import Mapping

import torch
from mmseg.models.backbones.mit import EfficientMultiheadAttention, MixFFN, MixVisionTransformer
from mmseg.models.utils import nchw_to_nlc, nlc_to_nchw
from torch import Tensor, nn
from torch.nn import functional

from datum.device import constant
from datum.global_batch import own, whole

MIT_LAYERS: Mapping[str, tuple[int, tuple[int, int, int, int]]] = {
    "mit-b0": (32, (2, 2, 2, 2)),
    "mit-b1": (64, (2, 2, 2, 2)),
    "mit-b2": (64, (3, 4, 6, 3)),
    "mit-b3": (64, (3, 4, 18, 3)),
    "mit-b4": (64, (3, 8, 27, 3)),
    "mit-b5": (64, (3, 6, 40, 3)),
}
"""Base width and number of blocks in each of the four stages (SegFormer, table 6)."""

MIT_HEADS = (1, 2, 5, 8)
"""Attention heads of each stage; a stage's width is the base width times its heads."""

HUGGING_FACE, SEGFORMER = "Hugging Face", "SegFormer"
"""Layouts of weights that are converted."""

PATCH_AND_REDUCTION_EPSILON = 1e-5
"""LayerNorm epsilon in patch embeddings and attention's spatial reduction (PyTorch's default, which
SegFormer leaves there; everywhere else it sets 1e-6)."""


class FusedAttention(EfficientMultiheadAttention):
    """mmseg's attention with the same parameters and names, computed by the fused attention kernel."""

    def forward(self, x: Tensor, hw_shape: tuple[int, int], identity: Tensor, kept: Tensor | None) -> Tensor:
        """Attention over the tokens float32[batch, height * width, channels] of a map of `hw_shape` =
        (height, width), added to `identity` as far as it is `kept`; see `_added`."""
        width, weight, bias = self.embed_dims, self.attn.in_proj_weight, self.attn.in_proj_bias
        if self.sr_ratio > 1:
            context = self.norm(nchw_to_nlc(self.sr(nlc_to_nchw(x, hw_shape))))
            (query_weight, weight), (query_bias, bias) = (t.split((width, 2 * width)) for t in (weight, bias))
            query = functional.linear(x, query_weight, query_bias)
            key, value = functional.linear(context, weight, bias).split(width, dim=2)
        else:
            query, key, value = functional.linear(x, weight, bias).split(width, dim=2)
        # Not a view of both with a dimension more: going back it would be put together in two copies.
        heads = (self.num_heads, -1)
        query, key, value = (part.unflatten(2, heads).transpose(1, 2) for part in (query, key, value))
        attended = functional.scaled_dot_product_attention(query, key, value)
        return _added(identity, self.attn.out_proj(attended.transpose(1, 2).flatten(2)), kept)


class TokenFFN(nn.Module):
    """mmseg's feed-forward layers with the same parameters and names; those that look at single tokens are
    matrix products, without a change of format."""

    def __init__(self, layers: MixFFN) -> None:
        super().__init__()
        self.layers, self.dropout_layer = layers.layers, layers.dropout_layer

    def forward(self, x: Tensor, hw_shape: tuple[int, int], identity: Tensor, kept: Tensor | None) -> Tensor:
        """What the layers make of the tokens float32[batch, height * width, channels] of a map of
        `hw_shape` = (height, width), added to `identity` as far as it is `kept`; see `_added`."""
        widening, positional, activation, _, narrowing, _ = self.layers
        hidden = functional.linear(x, widening.weight.flatten(1), widening.bias)
        hidden = nchw_to_nlc(positional(nlc_to_nchw(hidden, hw_shape)))
        output = functional.linear(activation(hidden), narrowing.weight.flatten(1), narrowing.bias)
        return _added(identity, output, kept)


def _added(identity: Tensor, output: Tensor, kept: Tensor | None) -> Tensor:
    """The sum of the two, the second times `kept` float32[batch, 1, 1] where it is given."""
    return identity + output if kept is None else torch.addcmul(identity, output, kept)


class FusedMit(MixVisionTransformer):
    """mmseg's encoder with the same parameters and names, whose stochastic depth is drawn once a pass for all
    of its blocks: on a GPU every draw of its own would be two kernels more, of which a pass has few."""

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalized images float32[batch, 3, height, width] -> four maps."""
        x, maps, kept = images, [], iter(self._kept(images))
        for embedding, blocks, norm in self.layers:
            x, shape = embedding(x)
            for block in blocks:
                x = block.attn(block.norm1(x), shape, x, next(kept))
                x = block.ffn(block.norm2(x), shape, x, next(kept))
            x = nlc_to_nchw(norm(x), shape)
            maps.append(x)
        return maps

    def _kept(self, images: Tensor) -> list[Tensor | None]:
        """For attention and feed-forward layers of each block, what their output is multiplied with in each
        image, float32[batch, 1, 1], by stochastic depth: 0 at its rate, else the inverse of the rest; None
        where nothing is ever dropped."""
        layers = [
            part.dropout_layer for _, blocks, _ in self.layers for b in blocks for part in (b.attn, b.ffn)
        ]
        shares = tuple(1 - getattr(m, "drop_prob", 0.0) if m.training else 1.0 for m in layers)
        if min(shares) == 1:
            return [None] * len(shares)
        device = images.device.type
        mixed_precision = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if mixed_precision else images.dtype
        share = constant(shares, dtype, images.device)[:, None, None, None]
        kept = torch.bernoulli(share.expand(-1, whole(len(images)), -1, -1)).div_(share)
        return [None if share == 1 else own(one) for share, one in zip(shares, kept.unbind())]


CELL = 32
"""Pixels a cell of the deepest map: the multiple that crops are of."""


def channels(name: str) -> tuple[int, int, int, int]:
    """Channels of the four feature maps of encoder `name`."""
    width = MIT_LAYERS[name][0]
    first, second, third, fourth = MIT_HEADS
    return width * first, width * second, width * third, width * fourth


def build(name: str, drop_path_rate: float) -> nn.Module:
    """Encoder `name`: float32[batch, 3, height, width] -> four maps at 1/4, 1/8, 1/16 and 1/32 of the size.

    Random weights as SegFormer draws them. `drop_path_rate` grows linearly from 0 in the first block to
    its full value in the last.
    """
    width, layers = MIT_LAYERS[name]
    model = FusedMit(
        embed_dims=width,
        num_layers=list(layers),
        num_heads=list(MIT_HEADS),
        norm_cfg={"type": "LN", "eps": 1e-6},
        drop_path_rate=drop_path_rate,
    )
    for patch_embedding, blocks, _ in model.layers:
        patch_embedding.norm.eps = PATCH_AND_REDUCTION_EPSILON
        for block in blocks:
            block.attn, block.ffn = _fused(block.attn), TokenFFN(block.ffn)
    model.init_weights()
    for module in model.modules():
        if isinstance(module, FusedAttention):
            nn.init.trunc_normal_(module.attn.in_proj_weight, std=0.02)
    return model


def in_our_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights under mmseg's names, from whichever `layout`, without a classifier's and other heads'."""
    if layout(state) == HUGGING_FACE:
        return from_segformer(from_hugging_face(state))
    state = {key: value for key, value in state.items() if not key.startswith("head.")}
    return from_segformer(state) if layout(state) == SEGFORMER else state


def layout(state: Mapping[str, Tensor]) -> str:
    """Whose names the weights have: Hugging Face's (`nvidia/mit-b*`), SegFormer's or mmseg's."""
    if any(re.match(r"(segformer\.)?encoder\.patch_embeddings\.", key) for key in state):
        return HUGGING_FACE
    return SEGFORMER if any(key.startswith("patch_embed1.") for key in state) else "mmseg"


def _fused(attention: EfficientMultiheadAttention) -> FusedAttention:
    fused = FusedAttention(
        embed_dims=attention.embed_dims,
        num_heads=attention.num_heads,
        dropout_layer={"type": "DropPath", "drop_prob": attention.dropout_layer.drop_prob},
        qkv_bias=True,
        sr_ratio=attention.sr_ratio,
    )
    if attention.sr_ratio > 1:
        fused.norm.eps = PATCH_AND_REDUCTION_EPSILON
    fused.load_state_dict(attention.state_dict())
    return fused


def from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights out of a SegFormer of transformers, under SegFormer's names: key and value in one
    matrix. Unknown names of the encoder stay as they are."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix("segformer.")
        if not name.startswith("encoder."):
            continue
        match = re.fullmatch(r"encoder\.(patch_embeddings|block|layer_norm)\.(\d)\.(.+)", name)
        if not match:
            renamed[key] = value
            continue
        kind, stage, rest = _HUGGING_FACE_PARTS[match[1]], int(match[2]) + 1, match[3]
        if ".self.value." in rest:
            continue
        if ".self.key." in rest:
            value = torch.cat([value, state[key.replace(".key.", ".value.")]])
        for old, new in _HUGGING_FACE_NAMES:
            rest = rest.replace(old, new)
        renamed[f"{kind}{stage}.{rest}"] = value
    return renamed


def from_segformer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SegFormer's MiT weights under mmseg's names: query, key and value in one matrix, the MLP's linear
    layers as 1x1 convolutions. Other names stay as they are."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        match = re.fullmatch(r"(patch_embed|block|norm)(\d)\.(.+)", key)
        if not match:
            renamed[key] = value
            continue
        if ".attn.kv." in key and key.replace(".kv.", ".q.") in state:
            continue
        kind, stage, rest = match[1], int(match[2]) - 1, match[3]
        if kind == "patch_embed":
            renamed[f"layers.{stage}.0." + rest.replace("proj.", "projection.")] = value
        elif kind == "norm":
            renamed[f"layers.{stage}.2.{rest}"] = value
        else:
            if ".attn.q." in key:
                value = torch.cat([value, state[key.replace(".q.", ".kv.")]])
            if re.search(r"mlp\.fc[12]\.weight", rest):
                value = value[:, :, None, None]
            for old, new in _SEGFORMER_BLOCK_NAMES:
                rest = rest.replace(old, new)
            renamed[f"layers.{stage}.1.{rest}"] = value
    return renamed


_HUGGING_FACE_PARTS = {"patch_embeddings": "patch_embed", "block": "block", "layer_norm": "norm"}

_HUGGING_FACE_NAMES = (
    ("attention.self.query.", "attn.q."),
    ("attention.self.key.", "attn.kv."),
    ("attention.self.sr.", "attn.sr."),
    ("attention.self.layer_norm.", "attn.norm."),
    ("attention.output.dense.", "attn.proj."),
    ("layer_norm_1.", "norm1."),
    ("layer_norm_2.", "norm2."),
    ("layer_norm.", "norm."),
    ("mlp.dense1.", "mlp.fc1."),
    ("mlp.dense2.", "mlp.fc2."),
)

_SEGFORMER_BLOCK_NAMES = (
    ("attn.q.", "attn.attn.in_proj_"),
    ("attn.proj.", "attn.attn.out_proj."),
    ("mlp.fc1.", "ffn.layers.0."),
    ("mlp.dwconv.dwconv.", "ffn.layers.1."),
    ("mlp.fc2.", "ffn.layers.4."),
)


def to_segformer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `from_segformer`, of a whole encoder: nothing is rounded, nothing lost."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        _, stage, kind, rest = key.split(".", 3)
        name = f"{_SEGFORMER_KINDS[kind]}{int(stage) + 1}.{rest.replace('projection.', 'proj.')}"
        for new, old in _SEGFORMER_BLOCK_NAMES:
            name = name.replace(old, new)
        if ".attn.q." in name:
            width = value.shape[0] // 3
            renamed[name.replace(".q.", ".kv.")] = value[width:]
            value = value[:width]
        if re.search(r"mlp\.fc[12]\.weight", name):
            value = value[:, :, 0, 0]
        renamed[name] = value
    return renamed


_SEGFORMER_KINDS = {"0": "patch_embed", "1": "block", "2": "norm"}
"""The parts of a stage by mmseg's number."""
