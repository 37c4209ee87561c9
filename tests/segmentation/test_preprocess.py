"""Images on their way into the network."""

import numpy as np
import pytest
import torch

from datum.segmentation.preprocess import (
    denormalize,
    fitted_size,
    normalize,
    resize_label,
    to_tensor,
)


@pytest.mark.parametrize(
    "size, scale, expected",
    [
        ((1052, 1914), (1280, 720), (704, 1280)),  # GTA: the width binds
        ((760, 1280), (1280, 760), (760, 1280)),  # SYNTHIA: as it is
        ((1024, 2048), (1024, 512), (512, 1024)),  # Cityscapes
        ((2048, 1024), (1024, 512), (1024, 512)),  # upright: longer side to longer side
        ((360, 480), (512, 128), (128, 171)),  # the height binds, 170.67 is rounded
    ],
)
def test_images_are_resized_to_fit_with_their_ratio_kept(
    size: tuple[int, int], scale: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitted_size(size, scale) == expected


def test_images_are_normalized_with_imagenets_statistics_in_rgb() -> None:
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = (255, 0, 0)
    tensor = to_tensor([image])
    assert tensor.shape == (1, 3, 2, 3)
    assert tensor[0, :, 0, 0].tolist() == pytest.approx(
        [(255 - 123.675) / 58.395, -116.28 / 57.12, -103.53 / 57.375]
    )


def test_denormalizing_is_the_inverse() -> None:
    images = torch.rand(2, 3, 4, 4) * 255
    assert torch.allclose(denormalize(normalize(images)), images, atol=1e-3)


def test_labels_are_resized_without_new_values() -> None:
    label = np.random.default_rng(0).choice([0, 7, 255], size=(40, 60)).astype(np.uint8)
    resized = resize_label(label, (23, 31))
    assert resized.shape == (23, 31) and set(np.unique(resized)) <= {0, 7, 255}
