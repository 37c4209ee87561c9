"""From the name of a base model to what `StableDiffusionPipeline.from_pretrained` takes."""

import re
from pathlib import Path

from datum.errors import InputError

PACKAGED = "streetscenes"
"""Name of the base model that is shipped with the package."""

PACKAGED_FOLDER = Path(__file__).parents[1] / "streetscenes" / "model" / "weights"
"""Where that model lies; `make base-model` writes it."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""`owner/name`, the form of an id on the model hub."""


def base_model_path(name: str) -> str:
    """Folder or hub id of the base model called `name`.

    `streetscenes` is the packaged model, an existing folder is taken as it is, and anything else of the form
    `owner/name` is passed on as a hub id. Raises `InputError` for a folder without `model_index.json` and
    for a name that is none of these.
    """
    if name == PACKAGED:
        return str(PACKAGED_FOLDER)
    folder = Path(name)
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
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
