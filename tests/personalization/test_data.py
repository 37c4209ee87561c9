from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from datum.errors import InputError
from datum.personalization.data import random_crops, read_one_shot_image, resize_short_side


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


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_an_image_that_is_not_rgb_is_refused_with_its_mode(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "image.png"
    Image.new(mode, (32, 32)).save(file)
    with pytest.raises(InputError, match=rf"image\.png: found mode {mode}, expected RGB"):
        read_one_shot_image(file)


def test_a_truncated_image_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"image\.png: is damaged"):
        read_one_shot_image(file)


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    file.write_text("no image")
    with pytest.raises(InputError, match=r"image\.png: is no image"):
        read_one_shot_image(file)


def test_a_missing_image_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no such file"):
        read_one_shot_image(tmp_path / "absent.png")
    with pytest.raises(InputError, match="found a folder"):
        read_one_shot_image(tmp_path)
