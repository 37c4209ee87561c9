"""Networks of ours as files that the references' `tools/test.py` loads."""

from pathlib import Path

import torch

from datum import __version__
from datum.errors import InputError
from datum.labels import CLASSES
from datum.outputs import replacing, require_folder, sha256
from datum.segmentation.checkpoints import Checkpoint, checkpoint_file, open_checkpoint
from datum.segmentation.named_weights import read_weights
from datum.segmentation.reference_names import (
    below,
    encoder_in_reference_names,
    have_network,
    head_in_reference_names,
)
from datum.segmentation.segmentor import read_header
from datum.telemetry import log

_MADE_FROM = "made_from_sha256"
"""Key of the file's `meta`: digest of the checkpoint that it was made from."""


def export_to_mmcv(*, checkpoint: Path, output: Path, replaceable: bool = False) -> None:
    """Writes the network in `checkpoint`, any that `datum.segmentation.checkpoints` opens, to the file
    `output` under the references' names, whole or not at all.

    No number changes. Raises `InputError` where `output` is there and was made from something else, unless it
    is `replaceable`, and for a network that the references have not.
    """
    file = checkpoint_file(checkpoint, "CHECKPOINT")
    digest = sha256(file)
    if output.exists():
        if _is_made_from(output, digest):
            log(f"{output}: already complete")
            return
        if not replaceable:
            raise InputError(
                f"--output {output}: is there and holds something else; remove it or name another file"
            )
    require_folder(output.parent)
    opened = open_checkpoint(file, "CHECKPOINT")
    state = _in_reference_names(opened)
    meta = {
        "CLASSES": [c.name for c in CLASSES],
        "PALETTE": [list(c.color) for c in CLASSES],
        "datum_version": __version__,
        _MADE_FROM: digest,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    # Not by name, which PyTorch would write into the file: equal networks make equal files.
    with replacing(output) as temporary, temporary.open("wb") as stream:
        torch.save({"meta": meta, "state_dict": state}, stream)
    log(f"export: {opened}; its {len(state)} tensors are in {output}")


def is_of_references(checkpoint: Path) -> bool:
    """Whether the references have the network in a file of `datum adapt`."""
    config = read_header(checkpoint)["config"]
    return have_network(str(config.get("encoder")), str(config.get("decode_head")))


def _in_reference_names(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    config, state = checkpoint.segmentor.config, checkpoint.segmentor.state_dict()
    encoder = encoder_in_reference_names(config.encoder, below("encoder.", state))
    head = head_in_reference_names(config.decode_head, state)
    if encoder is None or head is None:
        raise InputError(
            f"CHECKPOINT {checkpoint.file}: is {config.encoder} with the {config.decode_head} head, which "
            "the references have not; --format mmcv takes the encoders and heads of their experiments alone"
        )
    named = {f"backbone.{key}": t for key, t in encoder.items()}
    named |= {f"decode_head.{key}": t for key, t in head.items()}
    # Each in a storage of its own: PyTorch saves the whole storage of a part.
    return {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in named.items()}


def _is_made_from(output: Path, digest: str) -> bool:
    try:
        _, meta = read_weights(str(output), output)
    except InputError:
        return False
    return meta.get(_MADE_FROM) == digest and meta.get("datum_version") == __version__
