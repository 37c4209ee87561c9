"""The one-shot image as training sees it: resized, in random crops."""

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms


def resize_short_side(image: Image.Image, short_side: int) -> torch.Tensor:
    """The image with its shorter side at `short_side` pixels: float32[3, height, width], from -1 to 1.

    Bilinear with antialiasing on the 8-bit image, as `transforms.Resize` does in DATUM's script.
    """
    resized = transforms.resize(image, [short_side], InterpolationMode.BILINEAR)
    return transforms.pil_to_tensor(resized).to(torch.float32).div(255).sub(0.5).div(0.5)


def random_crops(image: torch.Tensor, crop: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` square crops of an image [3, height, width] at uniform positions: [count, 3, crop, crop]."""
    _, height, width = image.shape
    crops = []
    for _ in range(count):
        top = int(torch.randint(0, height - crop + 1, (), generator=generator))
        left = int(torch.randint(0, width - crop + 1, (), generator=generator))
        crops.append(image[:, top : top + crop, left : left + crop])
    return torch.stack(crops)
