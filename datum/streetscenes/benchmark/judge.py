"""A small segmentation network that judges what the base model draws."""

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from datum.labels import CLASSES, IGNORE
from datum.streetscenes.optimization import Runtime, TimedTraining, optimize

WIDTHS = (32, 64, 96, 128)
"""Channels at full, half, quarter and eighth resolution."""
LEARNING_RATE = 2e-3


class SegmentationNetwork(nn.Module):
    """A U-shaped network from images in [-1, 1] to the scores of each pixel.

    float32[batch, 3, height, width] to float32[batch, 19, height, width]; height and width divide by 8.
    """

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
            features = block(functional.avg_pool2d(features, 2) if level else features)
            skipped.append(features)
        for block, skip in zip(self.up, skipped[-2::-1]):
            features = block(torch.cat([functional.interpolate(features, scale_factor=2.0), skip], dim=1))
        return self.head(features)


def train_segmentation(
    images: Tensor, labels: Tensor, autoencoder: AutoencoderKL, training: TimedTraining
) -> nn.Module:
    """Trained on `images`, uint8[scenes, 3, height, width], and train ids, uint8[scenes, height, width].

    Half of each batch has passed through the autoencoder, so that the network knows the slight blur of drawn
    images as well as clean ones.
    """
    network = training.runtime.compiled(SegmentationNetwork().to(images.device))
    batch = training.batch

    def losses() -> dict[str, Tensor]:
        index = torch.randint(len(images), (batch,), device=images.device)
        drawn = images[index].float() / 127.5 - 1
        clean, passed = drawn.split([batch - batch // 2, batch // 2])
        with torch.no_grad():
            passed = autoencoder.decode(autoencoder.encode(passed).latent_dist.mean).sample.float()
        scores = network(torch.cat([clean, passed.clamp(-1, 1)])).float()
        return {"entropy": functional.cross_entropy(scores, labels[index].long(), ignore_index=IGNORE)}

    return optimize(network, losses, training, learning_rate=LEARNING_RATE)


@torch.no_grad()
def segment(network: nn.Module, images: Tensor, runtime: Runtime, batch: int = 256) -> Tensor:
    """Train ids, uint8[images, height, width], that `network` sees in uint8[images, 3, height, width]."""
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
