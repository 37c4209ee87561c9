"""The trained network that a training starts from, where one is named."""

import dataclasses

from datum.errors import InputError
from datum.outputs import sha256
from datum.segmentation.checkpoints import Checkpoint, checkpoint_file, open_checkpoint
from datum.segmentation.segmentor import SegmentorConfig
from datum.weight_sources import find_weights

_NAMED = "--initial-segmentor"

_ASKED_BY = {
    "encoder": "--encoder {}",
    "head_channels": "--set adaptation.head_channels={}",
    "multi_resolution": "a method of its resolutions",
}
"""What a training is given for its network to have a value."""

_OF_TRAINING = ("drop_path_rate", "dropout", "detail_crop")
"""What decides how a network is trained, and nothing about its weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Initial:
    """The network and its file's digest."""

    checkpoint: Checkpoint
    sha256: str


def find_initial(text: str, config: SegmentorConfig) -> Initial | None:
    """The network that `adaptation.initial_segmentor` names in `text`, downloaded where it is not on this
    machine; None where `text` is empty.

    Raises `InputError` for what is no network, and for one that is not the one to be trained, `config`.
    """
    if not text:
        return None
    file = checkpoint_file(find_weights(_NAMED, text), _NAMED)
    digest = sha256(file)
    checkpoint = open_checkpoint(file, _NAMED)
    found = checkpoint.segmentor.config
    for field in dataclasses.fields(SegmentorConfig):
        ours, theirs = getattr(config, field.name), getattr(found, field.name)
        if ours != theirs and field.name not in _OF_TRAINING:
            asked = _ASKED_BY.get(field.name, "").format(theirs)
            raise InputError(
                f"{_NAMED} {text}: its {field.name} is {theirs}, expected {ours}; name another network"
                + (f", or give {asked}" if asked else "")
            )
    return Initial(checkpoint=checkpoint, sha256=digest)
