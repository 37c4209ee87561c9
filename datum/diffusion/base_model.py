"""From the name of a base model to a folder with all that is loaded of it, and the digest of its content."""

import dataclasses
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from datum.diffusion.fitness import (
    MODEL_INDEX,
    configuration_files,
    require_denoising_scheduler,
    require_fitting,
    variant_of,
    weight_files,
)
from datum.errors import InputError
from datum.outputs import sha256

PACKAGED = "streetscenes"
"""Name of the base model that is shipped with the package."""

PACKAGED_FOLDER = Path(__file__).parents[1] / "streetscenes" / "model" / "weights"
"""Where that model lies; `make base-model` writes it."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""`owner/name`, the form of an id on the model hub."""

_HUB_DIGEST = re.compile(r"[0-9a-f]{64}")
"""Name that the hub's cache gives to a large file: its SHA-256."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseModel:
    """A base model on this machine."""

    name: str
    """As the user named it: a hub id, a folder, or that of the packaged model."""
    folder: Path
    commit: str = ""
    """Commit of the hub's repository that was taken; empty for a folder."""
    files: tuple[str, ...]
    """What is loaded, by names relative to the folder; a repository may hold much more."""

    def digest(self) -> str:
        """Hexadecimal SHA-256 of its content: two copies have the same, wherever they came from.

        Raises `InputError` for a file of the hub's cache that is not what the hub sent.
        """
        return model_digest(self.folder, self.files)

    def variants(self) -> dict[str, str]:
        """The variant of the weights of every part; empty for plain ones."""
        return {
            file.partition("/")[0]: variant_of(file)
            for file in self.files
            if file.endswith((".safetensors", ".bin"))
        }


def base_model_path(name: str) -> str:
    """Folder or hub id of the base model called `name`.

    `streetscenes` is the packaged model, an existing folder is taken as it is, and anything else of the form
    `owner/name` is passed on as a hub id. Raises `InputError` for a folder without `model_index.json` and
    for a name that is none of these.
    """
    if name == PACKAGED:
        return str(PACKAGED_FOLDER)
    folder = Path(name)
    if "\0" not in name and folder.is_dir():
        if not (folder / MODEL_INDEX).is_file():
            raise InputError(
                f"--base-model {name}: found a folder without model_index.json, expected a diffusers "
                "pipeline; name the folder that save_pretrained wrote"
            )
        return str(folder)
    if HUB_ID.fullmatch(name):
        return name
    raise InputError(
        f"--base-model {name}: found no such folder, expected `{PACKAGED}`, a folder with model_index.json "
        "or a hub id such as CompVis/stable-diffusion-v1-4"
    )


def check_base_model(name: str, revision: str = "", variant: str = "") -> None:
    """Raises `InputError` for what can be told of a base model without loading or downloading anything: a
    name that leads nowhere, and a folder that does not fit."""
    location = base_model_path(name)
    if Path(location).is_dir():
        _in_folder(name, Path(location), revision, variant)


def find_base_model(name: str, revision: str = "", variant: str = "") -> BaseModel:
    """The base model called `name`, downloaded where it is on the hub.

    `revision` is a branch, a tag or a commit of the hub's repository, empty for the default one; `variant`
    such as `fp16` says which weights to take where there are several. Raises `InputError` for a model that is
    not there or does not fit, and `TemporaryFaultError` where the hub is out of reach for longer than the
    process waits.
    """
    location = base_model_path(name)
    if Path(location).is_dir():
        return _in_folder(name, Path(location), revision, variant)
    # Needs the hub's client, which a folder does without.
    from datum.diffusion.hub import download, find_commit

    named = f"--base-model {name}"

    def complete(folder: Path) -> object:
        return _files(folder, _names(folder), variant, named)

    commit, names = find_commit(name, revision, complete, named=named)
    parts = [file.partition("/")[0] for file in names]
    folder = download(name, commit, configuration_files(names, parts), named=named)
    files = _files(folder, names, variant, named)
    download(name, commit, files, named=named)
    return BaseModel(name=name, folder=folder, commit=commit, files=files)


def model_digest(pipeline: Path, files: Iterable[str] | None = None) -> str:
    """Hexadecimal SHA-256 over a pipeline's `files` (their relative paths and SHA-256, sorted by path), all
    of them by default.

    Weights, tokenizer and scheduler all count, since all of them make the images.
    """
    names = _names(pipeline) if files is None else files
    digests = {name: sha256(pipeline / name) for name in names}
    for name, content in digests.items():
        cached = (pipeline / name).resolve().name
        if _HUB_DIGEST.fullmatch(cached) and cached != content:
            raise InputError(
                f"{pipeline / name}: is damaged in the hub's cache; remove it and download it again"
            )
    return digest_of_files(digests)


def digest_of_files(digests: Mapping[str, str]) -> str:
    """The same of files whose SHA-256 are known, by relative name."""
    lines = [f"{name} {digests[name]}\n" for name in sorted(digests)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _in_folder(name: str, folder: Path, revision: str, variant: str) -> BaseModel:
    if revision:
        raise InputError(
            f"--revision {revision}: {name} is a folder, which has no revisions; leave it out, or name a hub "
            "id"
        )
    return BaseModel(
        name=name, folder=folder, files=_files(folder, _names(folder), variant, f"--base-model {name}")
    )


def _files(folder: Path, names: Collection[str], variant: str, named: str) -> tuple[str, ...]:
    """What is loaded of the pipeline whose configuration lies in `folder` and whose files are `names`."""
    parts = require_fitting(folder, named)
    require_denoising_scheduler(folder, named)
    weights = weight_files(names, parts, variant, named)
    return (*configuration_files(names, parts), *(file for files in weights.values() for file in files))


def _names(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()]
