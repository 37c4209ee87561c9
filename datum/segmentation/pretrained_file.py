"""What a training's encoder starts from: a file of ImageNet weights, or random weights where they are asked
for. Needs no PyTorch, so that a run can be checked in any image."""

from pathlib import Path

from datum.errors import InputError
from datum.published_weights import PUBLISHED_ENCODERS
from datum.telemetry import log
from datum.weight_sources import find_weights

RANDOM = "random"
"""Value of `adaptation.pretrained_encoder` that asks for random weights."""

SETTING = "adaptation.pretrained_encoder"

PUBLISHED = "published"
"""Value of `adaptation.pretrained_encoder` that asks for the weights that `datum weights` lists."""


def pretrained_file(encoder: str, text: str) -> Path | None:
    """The file that `adaptation.pretrained_encoder` names in `text`, a form of `datum.weight_sources`,
    downloaded where it is not on this machine; None for random weights.

    Raises `InputError` where nothing is named: random weights must be asked for, as a training that was meant
    to start from ImageNet's would lose its result and not its time; and where there is no such file.
    """
    require_named(encoder, text)
    if text == RANDOM:
        return None
    if text == PUBLISHED:
        found = PUBLISHED_ENCODERS[encoder]
        log(f"{SETTING}: {found.source}; license of these weights: {found.license}")
        return find_weights(SETTING, found.source, found.digest)
    file = find_weights(SETTING, text)
    if not file.is_file():
        found_there = "is no file" if file.exists() else "no such file"
        raise InputError(
            f"{SETTING} {text}: {found_there}, expected ImageNet weights of {encoder}, or {RANDOM}"
        )
    return file


def require_named(encoder: str, text: str) -> None:
    """Raises `InputError` where `text` names nothing, or published weights of an encoder that has none."""
    published = PUBLISHED_ENCODERS.get(encoder)
    if text == PUBLISHED and published is None:
        raise InputError(f"{SETTING}={PUBLISHED}: there are none of {encoder}, expected a file, or {RANDOM}")
    if not text:
        where = f"{PUBLISHED} for {published.source}, " if published else ""
        raise InputError(
            f"{SETTING}: not given, expected a .pth or .safetensors file with ImageNet weights of {encoder}, "
            f"a URL, hf://owner/name/file or s3:// URI of one, {where}or {RANDOM} for random weights"
        )
