from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms

from datum.personalization.crops import random_crops, resize_short_side


def test_the_image_is_prepared_as_torchvisions_transforms_prepare_it(photograph: Path) -> None:
    image = Image.open(photograph)
    expected = transforms.Compose(
        [transforms.Resize(48), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
    )(image)
    prepared = resize_short_side(image, 48)
    assert prepared.shape == (3, 48, 72)
    assert torch.equal(prepared, expected)


def test_crops_lie_anywhere_in_the_image() -> None:
    image = torch.arange(5 * 7, dtype=torch.float32).reshape(1, 5, 7).expand(3, 5, 7)
    crops = random_crops(image, 3, 500, torch.Generator().manual_seed(0))
    assert crops.shape == (500, 3, 3, 3)
    corners = {int(value) for value in crops[:, 0, 0, 0]}
    assert corners == {7 * row + column for row in range(3) for column in range(5)}


def test_a_crop_of_the_whole_image_is_the_image() -> None:
    image = torch.rand(3, 4, 4)
    assert torch.equal(random_crops(image, 4, 1, torch.Generator())[0], image)
