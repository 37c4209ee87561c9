"""Color jitter and blur against the operations that DAFormer pins, those of kornia 0.5.8.

`golden/colors.npz`: DAFormer's `color_jitter`, `gaussian_blur` and `strong_transform`
(`mmseg/models/utils/dacs_transforms.py`) ran in float64 with kornia 0.5.8; the factors and the order that
its `ColorJitter` draws, and the blur's sigma, were handed to it. The images are made by formula: random
colors, grays from black to white and pure colors for the jitter, 512x512 pixels (DAFormer's crop, so
its kernel of 51 pixels) for the blur, of which a grid and a corner are kept.
"""

import numpy as np
import pytest
import torch

from datum.adaptation.mixing import color_jitter, gaussian_blur, strong_augmentation
from datum.segmentation.preprocess import normalize
from tests.adaptation.scripted import ScriptedGenerator
from tests.segmentation.reference import golden, normal, uniform

COLORS = golden(__file__, "colors")

JITTER_TOLERANCE = 4e-6
"""In colors of 0 to 1. kornia adds 1e-6 to the divisors of HSV's saturation, once for saturation and once
for hue; measured 2.4e-6."""

BLUR_TOLERANCE = 6e-6
"""In deviations of the normalized image. Our kernel stops at five pixels, where the widest Gaussian has
2e-6 of its mass left, and the reference's goes on; measured 2.6e-6."""


@pytest.mark.parametrize("case", range(len(COLORS["factors"])))
def test_color_jitter_is_kornias(case: int) -> None:
    """Each operation alone in both directions, then all four in three orders."""
    image = torch.from_numpy(uniform("colours", (3, 24, 32)))
    image[:, 0, :8] = torch.linspace(0, 1, 8, dtype=torch.float64)
    image[:, 1, :8] = torch.eye(3, dtype=torch.float64)[:, [0, 1, 2, 0, 1, 2, 0, 1]]
    rng = ScriptedGenerator(uniform=[COLORS["factors"][case]], permutation=[COLORS["orders"][case]])
    found = color_jitter(image[None], 0.2, rng)[0].numpy()
    np.testing.assert_allclose(found, COLORS["colors"][case], rtol=0, atol=JITTER_TOLERANCE)


@pytest.mark.parametrize("sigma", [0.15, 0.6, 1.15])
def test_blur_is_kornias(sigma: float) -> None:
    image = torch.from_numpy(normal("blurred", (3, 512, 512)))
    found = gaussian_blur(image[None], np.array([sigma]))[0].numpy()
    np.testing.assert_allclose(found[:, ::32, ::32], COLORS[f"blur/{sigma}"], rtol=0, atol=BLUR_TOLERANCE)
    corner = found[:, :7, -7:]
    np.testing.assert_allclose(corner, COLORS[f"blur_corner/{sigma}"], rtol=0, atol=BLUR_TOLERANCE)


def test_strong_augmentation_is_daformers() -> None:
    """Jitter on the colors of normalized images, then blur; each image has its own draws."""
    colors = (torch.from_numpy(normal("strong", (2, 3, 112, 128))) * 0.25 + 0.5).clamp(0, 1)
    cases = [8, 9]
    rng = ScriptedGenerator(
        random=[0.0, 0.0],
        uniform=[*COLORS["factors"][cases], 0.9, 0.4],
        permutation=COLORS["orders"][cases],
    )
    found = strong_augmentation(
        normalize(colors * 255), rng, jitter_strength=0.2, jitter_probability=0.8, blur_probability=0.5
    )
    # Normalizing multiplies a difference of colors by at most 255 / 57.
    tolerance = JITTER_TOLERANCE * 255 / 57 + BLUR_TOLERANCE
    np.testing.assert_allclose(found[:, :, ::4, ::4].numpy(), COLORS["strong"], rtol=0, atol=tolerance)
