"""One pass of the student over labeled images, at one resolution or, as HRDA trains, at two."""

import dataclasses
import functools

from torch import Tensor

from datum.adaptation.self_training import pixel_loss
from datum.segmentation.multi_resolution import forward_in_box, in_box
from datum.segmentation.segmentor import Segmentor

DETAIL_LOSS_WEIGHT = 0.1
"""Weight of the detail's own loss (reference: `hr_loss_weight`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentPass:
    """What comes of one pass."""

    losses: dict[str, Tensor]
    """By what they are called in the log; their sum is the loss of the pass."""
    seen: Tensor
    """The images whose features these are, float32[batch, 3, height, width]: at two resolutions the halved
    ones (reference: `feature_scale`)."""
    features: Tensor
    """The deepest features."""


def pass_student(
    student: Segmentor,
    images: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    *,
    name: str,
    corner: Tensor | None = None,
    hidden: Tensor | None = None,
    over_labeled: bool = False,
) -> StudentPass:
    """Pixel losses of normalized `images` float32[batch, 3, crop, crop], see `pixel_loss` (`over_labeled`
    too); `name` is what the log calls them, and `hidden` are patches that a network of one resolution does
    not see.

    A network of two resolutions sees the detail in the box at `corner`, see `forward_in_box`; the detail's
    own loss, over that box, has `DETAIL_LOSS_WEIGHT`, and the loss of both together the rest of 1.
    """
    loss = functools.partial(pixel_loss, over_labeled=over_labeled)
    if corner is None:
        features = student.encode(images, hidden)
        losses = {name: loss(student.decode(features), labels, weights)}
        return StudentPass(losses=losses, seen=images, features=features[-1])
    found = forward_in_box(student, images, corner)
    fused = loss(found.logits, labels, weights)
    counted = None if weights is None else in_box(weights, corner)
    detail = loss(found.detail, in_box(labels, corner), counted)
    losses = {
        name: (1 - DETAIL_LOSS_WEIGHT) * fused,
        f"{name}_detail": DETAIL_LOSS_WEIGHT * detail,
    }
    return StudentPass(losses=losses, seen=found.context, features=found.features[-1])
