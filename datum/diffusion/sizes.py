"""Sizes of crops and drawn images that an autoencoder takes."""

from pathlib import Path

from datum.errors import InputError
from datum.formats.json_files import read_json


def latent_cell(folder: Path) -> int:
    """Side of the square of pixels behind one latent, of the pipeline in `folder`."""
    return 2 ** (len(read_json(folder / "vae" / "config.json").get("block_out_channels", [64])) - 1)


def require_crop(crop: int, short_side: int) -> None:
    """Raises `InputError` for a crop that is larger than the image."""
    if crop > short_side:
        raise InputError(
            f"personalization.crop={crop}: the image is resized to a short side of only {short_side} pixels; "
            "raise personalization.short_side or lower the crop"
        )


def require_cells_of_crop(crop: int, cell: int) -> None:
    """Raises `InputError` for a crop that is not whole latents."""
    if crop % cell:
        raise InputError(
            f"personalization.crop={crop}: expected a multiple of {cell}, the base model's latent cell"
        )


def require_cells_of_image(size: int, cell: int) -> None:
    """Raises `InputError` for a drawn image that is not whole latents."""
    # The pipeline itself asks for multiples of 8, whatever its latent cell.
    multiple = max(8, cell)
    if size < multiple or size % multiple:
        raise InputError(f"generation.size={size}: expected a multiple of {multiple} pixels")
