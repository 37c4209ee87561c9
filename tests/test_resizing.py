"""Images and labels of other sizes."""

import numpy as np
import pytest

from datum.resizing import fits_within, fitted_size, resize_label


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
    assert fitted_size(expected, scale) == expected, "what has the size keeps it"
    assert fits_within(size, scale) == (max(expected) >= max(size))


def test_labels_are_resized_without_new_values() -> None:
    label = np.random.default_rng(0).choice([0, 7, 255], size=(40, 60)).astype(np.uint8)
    resized = resize_label(label, (23, 31))
    assert resized.shape == (23, 31) and set(np.unique(resized)) <= {0, 7, 255}
