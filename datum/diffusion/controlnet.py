"""ControlNets: found by name, and whether they fit a pipeline, told from their small configuration files
alone."""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from datum.diffusion.base_model import HUB_ID, model_digest
from datum.diffusion.fitness import weights_by_variant
from datum.diffusion.sizes import latent_cell
from datum.errors import InputError
from datum.formats.json_files import read_json
from datum.labels import CLASSES

ConditionKind = Literal["one-hot", "colored"]
"""What a ControlNet takes of a label map: a channel a class and one of void, or the colors of a palette."""

CONDITION_KINDS: dict[int, ConditionKind] = {len(CLASSES) + 1: "one-hot", 3: "colored"}
"""By the number of condition channels."""

CONFIGURATION = "config.json"

PACKAGED = "streetscenes"
"""Name of the ControlNet that is part of the package, of the base model of that name."""

PACKAGED_CONTROLNET = Path(__file__).parents[1] / "streetscenes" / "model" / "controlnet"
"""Its folder."""

_SIZES: dict[str, Any] = {
    "in_channels": 4,
    "cross_attention_dim": 1280,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
}
"""What a ControlNet and its UNet must have alike, with diffusers' defaults."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ControlNet:
    """A ControlNet on this machine."""

    name: str
    """As the user named it."""
    folder: Path
    files: tuple[str, ...]
    """What is loaded, by names relative to the folder."""
    place: str = ""
    """The folder of the model in `folder`, empty for `folder` itself."""
    variant: str
    """Variant of the weights; empty for plain ones."""
    commit: str = ""
    """Commit of the hub's repository; empty for a folder."""
    kind: ConditionKind

    @property
    def named(self) -> str:
        """What messages begin with."""
        return f"--controlnet {self.name}"

    @property
    def weights(self) -> Path:
        """The folder of the model."""
        return self.folder / self.place

    def digest(self) -> str:
        """Hexadecimal SHA-256 of its content, wherever it came from."""
        return model_digest(self.weights, [file.removeprefix(f"{self.place}/") for file in self.files])


def find_controlnet(name: str, pipeline: Path) -> ControlNet:
    """The ControlNet called `name`: `streetscenes`, the packaged one, a folder, or a hub id with the folder
    in it (`owner/name/folder`), downloaded where it is on the hub.

    Raises `InputError` for one that is not there, is none, or does not fit the UNet of the pipeline in the
    folder `pipeline`; and `TemporaryFaultError` where the hub is out of reach.
    """
    named = f"--controlnet {name}"
    folder = PACKAGED_CONTROLNET if name == PACKAGED else Path(name)
    if "\0" not in name and folder.is_dir():
        names = [file.name for file in folder.iterdir() if file.is_file()]
        return _fitting(name, folder, "", names, pipeline)
    hub_id, place = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
    if not HUB_ID.fullmatch(hub_id) or ".." in place.split("/"):
        raise InputError(
            f"{named}: found no such folder, expected `{PACKAGED}`, one with the config.json of a "
            "diffusers ControlNetModel, or a hub id such as yurujaja/DGInStyle/ControlNet_UNet-S"
        )
    # Needs the hub's client, which a folder does without.
    from datum.diffusion.hub import download, find_commit

    def complete(folder: Path) -> object:
        names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
        return _fitting(name, folder, place, names, pipeline)

    configuration = f"{place}/{CONFIGURATION}".removeprefix("/")
    commit, names = find_commit(hub_id, "", complete, named=named, configuration=configuration)
    folder = download(hub_id, commit, [configuration], named=named)
    found = _fitting(name, folder, place, names, pipeline)
    download(hub_id, commit, found.files, named=named)
    return dataclasses.replace(found, commit=commit)


def _fitting(name: str, folder: Path, place: str, names: Collection[str], pipeline: Path) -> ControlNet:
    """The ControlNet in `place` of `folder`, whose files are `names`; raises where it does not fit."""
    named = f"--controlnet {name}"
    config = _configuration(folder / place / CONFIGURATION, named)
    _require_fits(config, pipeline, named)
    channels = config.get("conditioning_channels", 3)
    if type(channels) is not int or channels not in CONDITION_KINDS:
        raise InputError(
            f"{named}: has conditioning_channels={channels!a:.40}, expected {len(CLASSES) + 1} "
            f"({len(CLASSES)} classes and void) or 3 (Cityscapes' palette); name a ControlNet for label maps"
        )
    variants = weights_by_variant(names, place)
    variant = "" if "" in variants or not variants else min(variants)
    if variant not in variants:
        raise InputError(f"{named}: has no weights, expected diffusion_pytorch_model.safetensors")
    files = [f"{place}/{CONFIGURATION}".removeprefix("/"), *variants[variant]]
    files += [file for file in names if file.endswith(".index.json") and file.rpartition("/")[0] == place]
    return ControlNet(
        name=name,
        folder=folder,
        files=tuple(files),
        place=place,
        variant=variant,
        kind=CONDITION_KINDS[channels],
    )


def _require_fits(config: dict[str, Any], pipeline: Path, named: str) -> None:
    unet = read_json(pipeline / "unet" / CONFIGURATION)
    for key, default in _SIZES.items():
        found, expected = config.get(key, default), unet.get(key, default)
        if found != expected:
            raise InputError(
                f"{named}: has {key}={found!a:.80}, expected {expected} as the UNet in {pipeline}; name a "
                "ControlNet that was trained for this base model"
            )
    embedding = config.get("conditioning_embedding_out_channels", [16, 32, 96, 256])
    cell = 2 ** (len(embedding) - 1) if isinstance(embedding, list) and len(embedding) < 16 else None
    if cell != latent_cell(pipeline):
        raise InputError(
            f"{named}: makes a latent of {cell} x {cell} pixels of its condition, expected "
            f"{latent_cell(pipeline)} as the autoencoder in {pipeline}; name a ControlNet that was trained "
            "for this base model"
        )


def _configuration(file: Path, named: str) -> dict[str, Any]:
    try:
        config = read_json(file)
    except InputError as error:
        raise InputError(f"{named}: config.json is missing or damaged ({error})") from None
    if config.get("_class_name") != "ControlNetModel":
        raise InputError(
            f"{named}: is a {config.get('_class_name')!a:.80}, expected a diffusers ControlNetModel; name "
            "the folder that its save_pretrained wrote"
        )
    return config
