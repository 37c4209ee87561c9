"""DINOv2's vision transformers (Oquab et al. 2023), from timm, as VFM-UDA trains them.

timm's model differs from DINOv2's own in one thing that this module puts right: how position embeddings
are brought to another grid than that of 37x37 patches which they were learned on.
"""

from collections.abc import Mapping

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

CELL = 14
"""Pixels a side of a patch."""

LEARNED_GRID = 37
"""Patches a side of the images of 518 pixels that the position embeddings were learned on."""

LAYERS: Mapping[str, tuple[int, int, int]] = {
    "dinov2-s": (384, 12, 6),
    "dinov2-b": (768, 12, 12),
    "dinov2-l": (1024, 24, 16),
}
"""Width, blocks and attention heads (timm: `vit_{small,base,large}_patch14_dinov2`)."""


class DINOv2(VisionTransformer):
    """A transformer that sees images a tenth larger than they are, and gives maps of its patches."""

    def __init__(self, width: int, blocks: int, heads: int) -> None:
        super().__init__(
            img_size=LEARNED_GRID * CELL,
            patch_size=CELL,
            embed_dim=width,
            depth=blocks,
            num_heads=heads,
            init_values=1e-5,
            num_classes=0,
            dynamic_img_size=True,
        )
        # The ends of the network's four quarters but for ViT-L's first (DINOv2's own segmentation heads).
        self.taken = (2, 5, 8, 11) if blocks == 12 else (4, 11, 17, 23)
        self.mask_token: nn.Parameter | None = None

    def add_mask_token(self) -> None:
        """Adds what takes the place of hidden patches. It begins as zeros, also beside DINOv2's own weights,
        whose token was not trained: these sizes were distilled without masks (facebookresearch/dinov2,
        issue 527)."""
        self.mask_token = nn.Parameter(torch.zeros(1, self.embed_dim))

    def forward(self, images: Tensor, hidden: Tensor | None = None) -> list[Tensor]:
        """Normalized images float32[batch, 3, height, width] -> four normalized maps, each of one cell for a
        patch of the images at `size_in_patches`. Patches that are `hidden`, bool[batch, rows, columns], are
        those of the mask token."""
        size = size_in_patches((images.shape[2], images.shape[3]))
        resized = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
        patches = self.patch_embed(resized)
        if hidden is not None:
            assert self.mask_token is not None
            patches = torch.where(hidden[..., None], self.mask_token.to(patches.dtype), patches)
        tokens, maps = self._pos_embed(patches), []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens)
            if number in self.taken:
                maps.append(self.norm(tokens)[:, 1:].unflatten(1, patches.shape[1:3]))
        return [cells.permute(0, 3, 1, 2).contiguous() for cells in maps]

    def _pos_embed(self, x: Tensor) -> Tensor:
        """Patches float32[batch, rows, columns, width] -> tokens with the class token before them and their
        position embeddings added, interpolated as DINOv2's `interpolate_pos_encoding` does: by factors that
        are a tenth of a patch too large, and without antialiasing."""
        batch, rows, columns, _ = x.shape
        tokens = self.pos_embed[:, 1:]
        if (rows, columns) != (LEARNED_GRID, LEARNED_GRID):
            grid = tokens.unflatten(1, (LEARNED_GRID, LEARNED_GRID)).permute(0, 3, 1, 2)
            factors = ((rows + 0.1) / LEARNED_GRID, (columns + 0.1) / LEARNED_GRID)
            grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic")
            tokens = grid.flatten(2).transpose(1, 2)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1)
        return torch.cat([first, x.flatten(1, 2) + tokens], dim=1)


def size_in_patches(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) that images of `size` are resized to: 1.1 times as large, down to whole patches
    (reference: VFM-UDA's `vit_in_img_size`), of which there is one at least."""
    height, width = (max(1, side * 11 // (10 * CELL)) * CELL for side in size)
    return height, width


def channels(name: str) -> tuple[int, int, int, int]:
    """Channels of the four feature maps of encoder `name`."""
    width = LAYERS[name][0]
    return width, width, width, width


def build(name: str, drop_path_rate: float) -> nn.Module:
    """Encoder `name` with timm's random weights; VFM-UDA trains it without stochastic depth."""
    return DINOv2(*LAYERS[name])


def in_our_names(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights under timm's names, which are DINOv2's own, without its mask token; see
    `DINOv2.add_mask_token`."""
    return {key: value for key, value in state.items() if key != "mask_token"}


def layout(state: Mapping[str, Tensor]) -> str:
    """Whose names the weights have: DINOv2's own files hold one token more than timm's."""
    return "DINOv2" if "mask_token" in state else "timm"
