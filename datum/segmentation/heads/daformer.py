"""DAFormer's context-aware decode head (DAFormer, section 3.2), in mmseg's registry."""

from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.sep_aspp_head import DepthwiseSeparableASPPModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from datum.segmentation.heads.convolutions import DilatedDepthwiseConv2d

DILATIONS = (1, 6, 12, 18)
"""Dilations of the spatial pyramid (reference: `configs/_base_/models/daformer_sepaspp_mitb5.py`)."""


class EmbeddingHead(BaseDecodeHead):
    """Embeds every feature map to `channels` and brings all to the size of the largest; how they are fused is
    up to each head."""

    def __init__(self, in_channels: Sequence[int], channels: int, num_classes: int, dropout_ratio: float):
        super().__init__(
            in_channels=list(in_channels),
            channels=channels,
            num_classes=num_classes,
            dropout_ratio=dropout_ratio,
            in_index=list(range(len(in_channels))),
            input_transform="multiple_select",
            norm_cfg={"type": "BN", "requires_grad": True},
            align_corners=False,
            # The loss is taken elsewhere; this silences a warning about the base class's own.
            loss_decode={"type": "CrossEntropyLoss", "avg_non_ignore": True},
        )
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(self.conv_seg.bias)
        self.embeddings = nn.ModuleList(nn.Linear(width, channels) for width in in_channels)

    def embed(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps float32[batch, channels, height, width], the largest first -> all of them embedded,
        one after the other, in the first one's size."""
        size = inputs[0].shape[2:]
        embedded = []
        for features, embedding in zip(inputs, self.embeddings):
            tokens = embedding(features.permute(0, 2, 3, 1))
            # A permuted tensor is in PyTorch's channels-last format, which all that follows keeps. On a
            # processor that is the faster one; a GPU gets the format that it gets in the reference.
            planes = tokens.permute(0, 3, 1, 2)
            planes = planes if planes.device.type == "cpu" else planes.contiguous()
            # Of the first one, resizing would make a copy.
            same = planes.shape[2:] == size
            embedded.append(
                planes if same else resize(planes, size=size, mode="bilinear", align_corners=False)
            )
        return torch.cat(embedded, dim=1)


@MODELS.register_module()
class DAFormerHead(EmbeddingHead):
    """Fuses with an atrous spatial pyramid of depthwise separable convolutions (no image pooling)."""

    def __init__(self, in_channels: Sequence[int], channels: int, num_classes: int, dropout_ratio: float):
        super().__init__(in_channels, channels, num_classes, dropout_ratio)
        self.pyramid = DepthwiseSeparableASPPModule(
            dilations=DILATIONS,
            in_channels=channels * len(in_channels),
            channels=channels,
            conv_cfg=None,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
        )
        _, *separable = self.pyramid
        for branch in separable:
            branch.depthwise_conv.conv = DilatedDepthwiseConv2d(branch.depthwise_conv.conv)
        self.bottleneck = ConvModule(
            channels * len(DILATIONS),
            channels,
            kernel_size=3,
            padding=1,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps float32[batch, channels, height, width], the largest first -> logits
        float32[batch, classes, height, width] of the first one's size."""
        return self.cls_seg(self.bottleneck(torch.cat(self.pyramid(self.embed(inputs)), dim=1)))


@MODELS.register_module()
class ScaleAttentionHead(EmbeddingHead):
    """HRDA's scale attention: fuses with one 1x1 convolution (reference: `hrda_head.py`)."""

    def __init__(self, in_channels: Sequence[int], channels: int, num_classes: int, dropout_ratio: float):
        super().__init__(in_channels, channels, num_classes, dropout_ratio)
        self.fusion = ConvModule(
            channels * len(in_channels),
            channels,
            kernel_size=1,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps float32[batch, channels, height, width], the largest first -> logits of the attention
        that each class pays to the detail, float32[batch, classes, height, width] of the first one's size."""
        return self.cls_seg(self.fusion(self.embed(inputs)))
