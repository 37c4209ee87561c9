"""Images on their way into the network."""

import numpy as np
import pytest
import torch

from datum.segmentation.preprocess import denormalize, normalize, to_tensor


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
