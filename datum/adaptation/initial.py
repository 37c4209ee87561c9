"""The trained network that a training starts from, where one is named."""

import dataclasses

from datum.errors import InputError
from datum.outputs import sha256
from datum.segmentation.checkpoints import PACKAGED, Checkpoint, named_network, open_checkpoint
from datum.segmentation.segmentor import SegmentorConfig
from datum.telemetry import log

_NAMED = "--initial-segmentor"

_ASKED_BY = {
    "encoder": "--encoder {}",
    "head_channels": "--set adaptation.head_channels={}",
    "multi_resolution": "a method of its resolutions",
}
"""What a training is given for its network to have a value."""

_OF_TRAINING = ("drop_path_rate", "dropout", "detail_crop", "mask_token")
"""What decides how a network is trained, and nothing about the weights that it predicts with."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Initial:
    """The network and its file's digest."""

    checkpoint: Checkpoint
    sha256: str


def find_initial(text: str, config: SegmentorConfig) -> Initial | None:
    """The network that `adaptation.initial_segmentor` names in `text`, downloaded where it is not on this
    machine; None where `text` is empty, or names the packaged network and `config` is of another shape.

    Raises `InputError` for what is no network, and for one that is not the one to be trained, `config`.
    """
    if not text:
        return None
    file = named_network(_NAMED, text)
    digest = sha256(file)
    checkpoint = open_checkpoint(file, _NAMED)
    different = _difference(config, checkpoint.segmentor.config)
    if different and text == PACKAGED:
        log(f"{_NAMED} {text}: its {different.partition(';')[0]}; the training does without")
        return None
    if different:
        raise InputError(f"{_NAMED} {text}: its {different}")
    return Initial(checkpoint=checkpoint, sha256=digest)


def _difference(ours: SegmentorConfig, theirs: SegmentorConfig) -> str:
    """What keeps the weights of one network from another, and the remedy; empty where nothing does."""
    for field in dataclasses.fields(SegmentorConfig):
        expected, found = getattr(ours, field.name), getattr(theirs, field.name)
        if expected != found and field.name not in _OF_TRAINING:
            asked = _ASKED_BY.get(field.name, "").format(found)
            remedy = "name another network" + (f", or give {asked}" if asked else "")
            return f"{field.name} is {found}, expected {expected}; {remedy}"
    return ""
