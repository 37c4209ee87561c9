"""What a training's encoder starts from: a file of ImageNet weights, or random weights where they are asked
for. Needs no PyTorch, so that a run can be checked in any image."""

from pathlib import Path

from datum.errors import InputError
from datum.published_weights import PUBLISHED_ENCODERS
from datum.store import local_path
from datum.telemetry import log
from datum.weight_sources import find_weights, is_remote, url_of

RANDOM = "random"
"""Value of `adaptation.pretrained_encoder` that asks for random weights."""

SETTING = "adaptation.pretrained_encoder"

PUBLISHED = "published"
"""Value of `adaptation.pretrained_encoder` that asks for the weights that `datum weights` lists."""

FORMS = (
    "a .pth or .safetensors file, an s3:// URI, an https:// URL or hf://owner/name@revision/file of one, "
    f"{PUBLISHED} for those that `datum weights` lists, or {RANDOM} for random weights"
)
"""What names the weights, wherever they are named: the setting, the form of a run, an installation's
settings."""


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


def is_downloaded(text: str) -> bool:
    """Whether a training downloads what `text` names from a server of others."""
    return text == PUBLISHED or (is_remote(text) and not text.startswith("s3://"))


def address_of(encoder: str, text: str) -> str:
    """Where a training of `encoder` downloads what `text` names; empty where it does not, since that is in
    the store or on its machine. Raises `InputError` as `require_named` does."""
    require_named(encoder, text)
    source = PUBLISHED_ENCODERS[encoder].source if text == PUBLISHED else text
    return url_of(f"{SETTING} {text}", source.partition("#sha256=")[0]) if is_downloaded(text) else ""


def require_named(encoder: str, text: str) -> None:
    """Raises `InputError` where `text` names nothing, has a form that weights are not named by, or names
    published weights of an encoder that has none."""
    published = PUBLISHED_ENCODERS.get(encoder)
    if text == PUBLISHED and published is None:
        raise InputError(f"{SETTING}={PUBLISHED}: there are none of {encoder}, expected a file, or {RANDOM}")
    if not text:
        known = f"{PUBLISHED} are {published.source}" if published else f"none are {PUBLISHED}"
        raise InputError(f"{SETTING}: not given, expected {FORMS}; of {encoder}, {known}")
    if not is_remote(text) and local_path(text) is None:
        raise InputError(f"{SETTING} {text}: unknown scheme, expected {FORMS}")
