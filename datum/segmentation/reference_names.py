"""The names that weights have in the references (DAFormer, HRDA, MIC, DATUM), and ours.

To add a head: its row in `_HEADS`; a family of encoders: its row in `_ENCODERS`.
"""

import dataclasses
from collections.abc import Callable, Mapping

from torch import Tensor

from datum.methods import ENCODERS
from datum.segmentation.encoders.mit import to_segformer


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadNames:
    """What one kind of decode head is called in the references' checkpoints, below `decode_head.`."""

    prefixes: Mapping[str, str]
    """Beginnings of the reference's names -> of ours: whole parts of a name, one to one."""
    classes: str
    """Reference's name of a tensor with one row a class."""
    channels: str
    """Reference's name of a tensor with one row a channel of the head; empty where it has no width."""


_HEADS: Mapping[str, HeadNames] = {
    "daformer": HeadNames(
        prefixes={
            **{f"embed_layers.{level}.proj.": f"embeddings.{level}." for level in range(4)},
            "fuse_layer.aspp_modules.": "pyramid.",
            "fuse_layer.bottleneck.": "bottleneck.",
            "conv_seg.": "conv_seg.",
        },
        classes="conv_seg.weight",
        channels="embed_layers.0.proj.weight",
    ),
    "dlv2": HeadNames(
        prefixes={f"aspp_modules.{branch}.conv.": f"classifiers.{branch}." for branch in range(2)},
        classes="aspp_modules.0.conv.weight",
        channels="",
    ),
}


_SCALE_ATTENTIONS: Mapping[str, Mapping[str, str]] = {
    "daformer": {
        **{f"embed_layers.{level}.proj.": f"embeddings.{level}." for level in range(4)},
        "fuse_layer.": "fusion.",
        "conv_seg.": "conv_seg.",
    },
    "dlv2": _HEADS["dlv2"].prefixes,
}
"""Decode head -> prefixes of HRDA's scale attention that goes with it, the reference's and ours."""


_ENCODERS: Mapping[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "mit": to_segformer,
    # mmseg's own.
    "resnet-v1c": dict,
    "resnet": dict,
}
"""Family of encoders -> its weights, under our names, as the references name them below `backbone.`; the way
back is the family's `in_our_names`."""


def encoder_in_reference_names(encoder: str, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Weights of `encoder` as the references name them; None where they have no such encoder."""
    family = ENCODERS[encoder]
    return _ENCODERS[family](state) if family in _ENCODERS else None


def head_config(state: Mapping[str, Tensor]) -> tuple[str, int, int] | None:
    """(decode head, its width, its classes) of weights in the reference's names, told by names and shapes
    alone; None for a head that we do not have. The width is 0 where the head has none."""
    for head, names in _HEADS.items():
        if all(any(key.startswith(prefix) for key in state) for prefix in names.prefixes):
            rows = (
                state[key].shape[0] if key and state[key].dim() else 0
                for key in (names.channels, names.classes)
            )
            channels, classes = rows
            return head, channels, classes
    return None


def head_in_our_names(head: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the decode head `head` under our names; those that it has not keep theirs."""
    return _renamed(state, _HEADS[head].prefixes)


def head_in_reference_names(head: str, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The inverse of `head_in_our_names`; None for a head that the references have not."""
    if head not in _HEADS:
        return None
    return _renamed(state, {ours: theirs for theirs, ours in _HEADS[head].prefixes.items()})


def attention_in_our_names(head: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the scale attention that goes with `head` under our names."""
    return _renamed(state, _SCALE_ATTENTIONS[head])


def attention_in_reference_names(head: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `attention_in_our_names`."""
    return _renamed(state, {ours: theirs for theirs, ours in _SCALE_ATTENTIONS[head].items()})


def _renamed(state: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in state.items():
        old = next((prefix for prefix in prefixes if key.startswith(prefix)), "")
        renamed[prefixes.get(old, "") + key.removeprefix(old)] = tensor
    return renamed
