"""The one-shot image, and the random crops of it that training sees."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from datum.errors import InputError


def read_one_shot_image(file: Path) -> Image.Image:
    """The image as PIL RGB.

    Raises `InputError` where the file is missing, is no image, is cut short, or is not RGB: a palette, grey
    or transparent image is more often a label or a mask than a photograph, so it is not converted silently.
    """
    if not file.is_file():
        found = "a folder" if file.is_dir() else "no such file"
        raise InputError(f"--image {file}: found {found}, expected one RGB image of the new place")
    try:
        with Image.open(file) as image:
            image.load()
    except UnidentifiedImageError:
        raise InputError(f"--image {file}: is no image, expected an RGB PNG or JPEG file") from None
    except (OSError, SyntaxError) as error:
        raise InputError(
            f"--image {file}: is damaged ({error}), expected a whole file; copy it again"
        ) from None
    if image.mode != "RGB":
        raise InputError(
            f"--image {file}: found mode {image.mode}, expected RGB; "
            f"if it is the photograph, convert it: PIL.Image.open(file).convert('RGB').save(...)"
        )
    return image


def resize_short_side(image: Image.Image, short_side: int) -> torch.Tensor:
    """The image with its shorter side at `short_side` pixels: float32, 3 x height x width, from -1 to 1.

    Bilinear with antialiasing on the 8-bit image, as `transforms.Resize` does in DATUM's script.
    """
    resized = transforms.resize(image, [short_side], InterpolationMode.BILINEAR)
    return transforms.pil_to_tensor(resized).to(torch.float32).div(255).sub(0.5).div(0.5)


def random_crops(image: torch.Tensor, crop: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` square crops of a 3 x height x width image at uniform positions: count x 3 x crop x crop."""
    _, height, width = image.shape
    crops = []
    for _ in range(count):
        top = int(torch.randint(0, height - crop + 1, (), generator=generator))
        left = int(torch.randint(0, width - crop + 1, (), generator=generator))
        crops.append(image[:, top : top + crop, left : left + crop])
    return torch.stack(crops)
