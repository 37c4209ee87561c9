"""What drawing needs of disk and memory."""

from pathlib import Path

from datum.device import choose_device
from datum.diffusion.controlnet import ControlNet
from datum.diffusion.fitness import require_fitting, weight_files
from datum.diffusion.parameters import BYTES, count_parameters
from datum.formats.json_files import read_json
from datum.generation_settings import GenerationSettings
from datum.outputs import unfinished
from datum.room import bytes_below, require_disk, require_memory

LAYERS = 10
"""Layers of the autoencoder's width, at the image's full size, that drawing an image holds at once: 2.6 GB
for two images of 512 x 512 by Stable Diffusion v1.4 were measured."""


def require_room_to_draw(
    folder: Path, output: Path, settings: GenerationSettings, shards: int, controlnet: ControlNet | None
) -> None:
    """Says what drawing one of `shards` needs with the pipeline in `folder` and, for labeled images, the
    `controlnet`; raises `TemporaryFaultError` where there is less."""
    named = f"--model {folder}"
    parts = require_fitting(folder, named)
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
    weights = [file for files in weight_files(names, parts, "", named).values() for file in files]
    images = -(-(settings.count + (settings.labeled_count if controlnet else 0)) // shards)
    # At most three bytes a pixel: photographs take about two thirds of it as PNG.
    needed = 3 * images * settings.size**2 - bytes_below(unfinished(output))
    require_disk(output, max(0, needed), f"drawing {images} images")
    needed = BYTES * sum(count_parameters(folder, weights).values())
    if controlnet:
        needed += BYTES * sum(count_parameters(controlnet.folder, controlnet.files).values())
    if choose_device().type == "cpu":
        width = read_json(folder / "vae/config.json").get("block_out_channels", [64])[0]
        needed += BYTES * LAYERS * width * settings.batch_size * settings.size**2
    require_memory(needed, f"drawing {settings.batch_size} images at once")
