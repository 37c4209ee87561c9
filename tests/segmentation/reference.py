"""What tests against DAFormer's own numbers share: weights and inputs made by formula, and its names.

The formulas ran beside DAFormer's code (github.com/lhoyer/DAFormer, mmcv 1.3.7, kornia 0.5.8) when the
arrays in the `golden` folders were made, so neither weights nor images are stored.
"""

import json
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datum.segmentation.encoders.mit import from_segformer
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor

Shapes = Mapping[str, tuple[int, ...]]


def golden(test: str, name: str) -> dict[str, np.ndarray]:
    """The arrays of `golden/<name>.npz` beside the file `test`."""
    with np.load(Path(test).parent / "golden" / f"{name}.npz") as file:
        return dict(file)


def shapes_of(arrays: Mapping[str, np.ndarray]) -> Shapes:
    """Names and shapes of DAFormer's network, which the arrays hold as JSON."""
    return {name: tuple(shape) for name, shape in json.loads(str(arrays["shapes"])).items()}


def normal(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal float64 numbers that depend on `key` alone."""
    return np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)


def uniform(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform float64 numbers in 0 to 1 that depend on `key` alone."""
    return np.random.RandomState(zlib.crc32(key.encode())).random_sample(shape)


def network_weight(name: str, shape: tuple[int, ...], variant: str) -> np.ndarray:
    """The weight that DAFormer's network calls `name`: norms near 1, matrices that keep their input's
    scale, and logits large enough for confident pseudo-labels."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    drawn = normal(f"{variant}/{name}", shape)
    if name.endswith("running_var"):
        return 1 + 0.25 * drawn**2
    if name.endswith(("running_mean", "bias", "pos_embed")):
        return 0.1 * drawn
    if len(shape) == 1:
        return 1 + 0.1 * drawn
    return drawn * (4 if "conv_seg" in name else 1) / math.sqrt(math.prod(shape[1:]))


def reference_state(shapes: Shapes, variant: str) -> dict[str, Tensor]:
    """The network's state under DAFormer's names, float64."""
    return {name: torch.from_numpy(network_weight(name, shape, variant)) for name, shape in shapes.items()}


def to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state under DAFormer's names -> the same under ours."""
    encoder = {name.removeprefix("backbone."): t for name, t in state.items() if name.startswith("backbone.")}
    renamed = {f"encoder.{name}": tensor for name, tensor in from_segformer(encoder).items()}
    for name, tensor in state.items():
        if name.startswith("decode_head."):
            # HRDA keeps a head and a scale attention where DAFormer's head is.
            ours = re.sub(r"^decode_head\.(head\.)?", "head.", name)
            ours = ours.replace("head.scale_attention.fuse_layer.", "scale_attention.fusion.")
            ours = ours.replace("head.scale_attention.", "scale_attention.")
            ours = re.sub(r"embed_layers\.(\d)\.proj\.", r"embeddings.\1.", ours)
            ours = ours.replace("fuse_layer.aspp_modules.", "pyramid.").replace("fuse_layer.", "")
            ours = re.sub(r"aspp_modules\.(\d)\.conv\.", r"classifiers.\1.", ours)
            renamed[ours] = tensor
    return renamed


def to_reference(state: Mapping[str, Tensor], shapes: Shapes) -> dict[str, Tensor]:
    """The inverse of `to_ours` for those of `shapes` that `state` covers whole (gradients have no
    buffers)."""
    numbered, sizes = {}, [math.prod(shape) for shape in shapes.values()]
    starts = np.cumsum([0, *sizes])
    for (name, shape), start, size in zip(shapes.items(), starts, sizes):
        numbered[name] = torch.arange(start, start + size).reshape(shape)
    flat = torch.full((int(starts[-1]),), torch.nan, dtype=torch.float64)
    for name, places in to_ours(numbered).items():
        if name in state:
            flat[places.flatten()] = state[name].detach().double().flatten()
    parts = {
        name: flat[start : start + size].reshape(shape)
        for (name, shape), start, size in zip(shapes.items(), starts, sizes)
    }
    return {name: part for name, part in parts.items() if not part.isnan().any()}


def reference_segmentor(
    shapes: Shapes,
    variant: str,
    *,
    head_channels: int,
    encoder: str = "mit-b0",
    detail_crop: int | None = None,
) -> Segmentor:
    """Our network in float64 with the weights of `reference_state`, without any dropout; with a `detail_crop`
    it works at two resolutions."""
    config = SegmentorConfig(
        encoder=encoder,
        head_channels=head_channels,
        drop_path_rate=0.0,
        dropout=0.0,
        multi_resolution=detail_crop is not None,
        detail_crop=detail_crop or 512,
    )
    segmentor = build_segmentor(config).double()
    segmentor.load_state_dict(to_ours(reference_state(shapes, variant)))
    return segmentor
