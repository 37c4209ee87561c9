"""A small segmentation network that judges what the base model draws."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from datum.labels import CLASSES, IGNORE
from datum.streetscenes.model.optimization import Runtime, optimise

WIDTHS = (32, 64, 96, 128)
"""Channels at full, half, quarter and eighth resolution."""
LEARNING_RATE = 2e-3


class SegmentationNetwork(nn.Module):
    """A U-shaped network: images (B, 3, H, W) in [-1, 1] to scores (B, 19, H, W); H and W divide by 8."""

    def __init__(self) -> None:
        super().__init__()
        inner = (3, *WIDTHS)
        self.down = nn.ModuleList(_block(a, b) for a, b in zip(inner, inner[1:]))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in zip(WIDTHS[:0:-1], WIDTHS[-2::-1]))
        self.head = nn.Conv2d(WIDTHS[0], len(CLASSES), 1)

    def forward(self, images: Tensor) -> Tensor:
        features = images
        skipped = []
        for level, block in enumerate(self.down):
            features = block(F.avg_pool2d(features, 2) if level else features)
            skipped.append(features)
        for block, skip in zip(self.up, skipped[-2::-1]):
            features = block(torch.cat([F.interpolate(features, scale_factor=2.0), skip], dim=1))
        return self.head(features)


def train_segmentation(
    images: Tensor,
    labels: Tensor,
    autoencoder: AutoencoderKL,
    *,
    seconds: float,
    batch: int,
    runtime: Runtime,
    state_file: Path,
) -> nn.Module:
    """Trained on uint8 `images` (N, 3, H, W) with train ids `labels` (N, H, W), for `seconds`.

    Half of each batch has passed through the autoencoder, so that the network knows the slight blur of drawn
    images as well as clean ones.
    """
    network = runtime.compiled(SegmentationNetwork().to(runtime.device))

    def losses() -> dict[str, Tensor]:
        index = torch.randint(len(images), (batch,), device=images.device)
        drawn = images[index].float() / 127.5 - 1
        clean, passed = drawn.split([batch - batch // 2, batch // 2])
        with torch.no_grad():
            passed = autoencoder.decode(autoencoder.encode(passed).latent_dist.mean).sample.float()
        scores = network(torch.cat([clean, passed.clamp(-1, 1)]))
        return {"entropy": F.cross_entropy(scores.float(), labels[index].long(), ignore_index=IGNORE)}

    return optimise(
        network,
        losses,
        name="segmentation",
        seconds=seconds,
        learning_rate=LEARNING_RATE,
        runtime=runtime,
        state_file=state_file,
    )


@torch.no_grad()
def segment(network: nn.Module, images: Tensor, runtime: Runtime, batch: int = 256) -> Tensor:
    """Train ids, uint8 (N, H, W), that `network` sees in uint8 `images` (N, 3, H, W)."""
    seen = []
    for part in images.split(batch):
        with runtime.autocast():
            seen.append(network(part.to(runtime.device).float() / 127.5 - 1).argmax(1).byte())
    return torch.cat(seen)


def intersection_over_union(predictions: Tensor, labels: Tensor) -> list[float | None]:
    """IoU of each class in percent, void pixels left out; None where a class occurs in neither."""
    known = labels != IGNORE
    pairs = labels[known].long() * len(CLASSES) + predictions[known].long()
    matrix = torch.bincount(pairs, minlength=len(CLASSES) ** 2).view(len(CLASSES), -1).double()
    union = matrix.sum(0) + matrix.sum(1) - matrix.diag()
    return [
        100 * hit / whole if whole else None for hit, whole in zip(matrix.diag().tolist(), union.tolist())
    ]


def _block(inner: int, outer: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(inner, outer, 3, padding=1), nn.GroupNorm(8, outer), nn.SiLU()),
        *(nn.Conv2d(outer, outer, 3, padding=1), nn.GroupNorm(8, outer), nn.SiLU()),
    )
