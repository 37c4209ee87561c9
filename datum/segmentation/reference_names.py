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
    attention: Mapping[str, str]
    """The same of the scale attention that goes with the head in a network of two resolutions (HRDA)."""
    classes: str
    """Reference's name of a tensor with one row a class."""
    channels: str
    """Reference's name of a tensor with one row a channel of the head; empty where it has no width."""


_EMBEDDINGS = {f"embed_layers.{level}.proj.": f"embeddings.{level}." for level in range(4)}
_CLASSIFIERS = {f"aspp_modules.{branch}.conv.": f"classifiers.{branch}." for branch in range(2)}

_HEADS: Mapping[str, HeadNames] = {
    "daformer": HeadNames(
        prefixes={
            **_EMBEDDINGS,
            "fuse_layer.aspp_modules.": "pyramid.",
            "fuse_layer.bottleneck.": "bottleneck.",
            "conv_seg.": "conv_seg.",
        },
        attention={**_EMBEDDINGS, "fuse_layer.": "fusion.", "conv_seg.": "conv_seg."},
        classes="conv_seg.weight",
        channels="embed_layers.0.proj.weight",
    ),
    "dlv2": HeadNames(
        prefixes=_CLASSIFIERS,
        attention=_CLASSIFIERS,
        classes="aspp_modules.0.conv.weight",
        channels="",
    ),
}


_ENCODERS: Mapping[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "mit": to_segformer,
    # mmseg's own.
    "resnet-v1c": dict,
    "resnet": dict,
}
"""Family of encoders -> its weights, under our names, as the references name them below `backbone.`; the way
back is the family's `in_our_names`."""


def have_network(encoder: str, head: str) -> bool:
    """Whether the references have a network of these."""
    return ENCODERS.get(encoder) in _ENCODERS and head in _HEADS


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


def below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


def has_two_resolutions(state: Mapping[str, Tensor]) -> bool:
    """Whether these weights, in the reference's names below `decode_head.`, are of HRDA's."""
    return any(key.startswith("scale_attention.") for key in state)


def head_in_our_names(head: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights below the reference's `decode_head.`, whose head is `head`, under our names of the network: of
    HRDA's a head and a scale attention. Those that are unknown keep theirs below `head.`."""
    names = _HEADS[head]
    if not has_two_resolutions(state):
        return _prefixed("head.", _renamed(state, names.prefixes))
    known = ("head.", "scale_attention.")
    others = {key: tensor for key, tensor in state.items() if not key.startswith(known)}
    return {
        **_prefixed("head.", others),
        **_prefixed("head.", _renamed(below("head.", state), names.prefixes)),
        **_prefixed("scale_attention.", _renamed(below("scale_attention.", state), names.attention)),
    }


def head_in_reference_names(head: str, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The inverse of `head_in_our_names`, of a whole network's weights; None for a head that the references
    have not."""
    if head not in _HEADS:
        return None
    names = _HEADS[head]
    renamed = _renamed(below("head.", state), _inverse(names.prefixes))
    attention = below("scale_attention.", state)
    if not attention:
        return renamed
    return {
        **_prefixed("head.", renamed),
        **_prefixed("scale_attention.", _renamed(attention, _inverse(names.attention))),
    }


def _inverse(prefixes: Mapping[str, str]) -> dict[str, str]:
    return {ours: theirs for theirs, ours in prefixes.items()}


def _prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: tensor for key, tensor in state.items()}


def _renamed(state: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in state.items():
        old = next((prefix for prefix in prefixes if key.startswith(prefix)), "")
        renamed[prefixes.get(old, "") + key.removeprefix(old)] = tensor
    return renamed
