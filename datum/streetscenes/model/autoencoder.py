"""Training the autoencoder: in color, and then its decoder: sharp.

A small AutoencoderKL that is trained with plain L1 falls into gray: most of a street is nearly gray, and the
median of a doubtful color is no color. So errors are taken in an opponent color space, squared as well as
absolute, chroma counted more, and at coarser scales too, where the color of a region is not lost among its
edges. A quarter of each batch is recolored, turned and textured, so that photographs survive as well.

A decoder that is asked for small errors alone draws the mean of what could be there, and the mean of fine
texture is none: the finest octave has two thirds of its contrast. So the decoder is trained further, when the
latents are settled, with a loss on how much fine texture there is at each place, wherever exactly it is.
"""

import math

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from datum.streetscenes.model.architecture import new_autoencoder
from datum.streetscenes.octaves import finest_octave
from datum.streetscenes.optimization import Runtime, TimedTraining, optimize

WEIGHTS = (1.0, 1.5, 1.5)
"""Weights of the errors in luminance and in the two chroma channels."""
KL_WEIGHT = 2e-4
"""Weight of the mean Kullback-Leibler divergence of a latent's numbers. It decides how much noise the
decoder has to stand: at the optimum it costs 0.5 x the weight in mean squared error, here about 0.1 dB."""
LEARNING_RATE = 1.5e-3
DECODER_LEARNING_RATE = 1e-3
TEXTURE_WEIGHT = 1.0
"""Weight of the errors of fine contrast. In six minutes on a core it raises the finest octave of a town that
the model does not see from 0.64 of the scenes' contrast to 0.85, and takes 0.8 dB of PSNR."""
TEXTURE_WINDOW, TEXTURE_STRIDE = 9, 3
"""Side of the windows whose contrast is compared, and their distance, in pixels."""
MOVES = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0))
"""Rows and columns by which the finest octave is moved before it is added to itself."""

OPPONENT = (
    (1 / math.sqrt(3), 1 / math.sqrt(3), 1 / math.sqrt(3)),
    (1 / math.sqrt(2), 0.0, -1 / math.sqrt(2)),
    (1 / math.sqrt(6), -2 / math.sqrt(6), 1 / math.sqrt(6)),
)
"""Orthonormal rows: luminance, red against blue, green against both."""


def train_autoencoder(images: Tensor, training: TimedTraining) -> AutoencoderKL:
    """The autoencoder, trained on `images`, uint8[scenes, 3, height, width] on the training's device."""
    autoencoder = new_autoencoder().to(images.device, memory_format=torch.channels_last)
    training.runtime.compiled(autoencoder.encoder)
    training.runtime.compiled(autoencoder.decoder)
    matrix = _color_matrix(images.device)

    def losses() -> dict[str, Tensor]:
        originals = draw_batch(images, training.batch).contiguous(memory_format=torch.channels_last)
        reconstructions, divergence = _through(autoencoder, originals)
        parts = reconstruction_losses(reconstructions.float() - originals, matrix)
        return parts | {"kl": KL_WEIGHT * divergence}

    return optimize(autoencoder, losses, training, learning_rate=LEARNING_RATE)


def train_decoder(autoencoder: AutoencoderKL, images: Tensor, training: TimedTraining) -> AutoencoderKL:
    """`autoencoder` with its decoder trained further on `images`, uint8[scenes, 3, height, width] on the
    training's device. The encoder, and so what a latent means, stays as it is."""
    autoencoder.requires_grad_(False)
    for part in (autoencoder.post_quant_conv, autoencoder.decoder):
        part.requires_grad_(True)
    training.runtime.compiled(autoencoder.decoder)
    matrix = _color_matrix(images.device)

    def losses() -> dict[str, Tensor]:
        originals = draw_batch(images, training.batch).contiguous(memory_format=torch.channels_last)
        reconstructions = _through(autoencoder, originals)[0].float()
        parts = reconstruction_losses(reconstructions - originals, matrix)
        return parts | {"texture": TEXTURE_WEIGHT * texture_loss(reconstructions, originals)}

    return optimize(autoencoder, losses, training, learning_rate=DECODER_LEARNING_RATE)


def texture_loss(reconstructions: Tensor, originals: Tensor) -> Tensor:
    """Mean difference of fine contrast between images in [-1, 1], float32[batch, 3, height, width]."""
    return (_fine_contrast(reconstructions) - _fine_contrast(originals)).abs().mean()


def _fine_contrast(images: Tensor) -> Tensor:
    """Root mean square in each window, of each color, of the finest octave and of its sums with itself moved.

    The sums tell texture from texture as its autocorrelation does: without them a decoder draws streaks.
    """
    octave = finest_octave(images)
    parts = torch.cat([octave, *(octave + octave.roll(move, dims=(2, 3)) for move in MOVES)])
    squares = functional.avg_pool2d(parts.square(), TEXTURE_WINDOW, TEXTURE_STRIDE)
    # The addend, half a percent of the range squared, keeps the root's slope finite where nothing is.
    return (squares + 1e-4).sqrt()


def _color_matrix(device: torch.device) -> Tensor:
    """Turns colors into weighted opponent colors, float32[3, 3]."""
    return (torch.tensor(WEIGHTS).view(3, 1) * torch.tensor(OPPONENT)).to(device)


def reconstruction_losses(errors: Tensor, matrix: Tensor) -> dict[str, Tensor]:
    """Losses of `errors`, float32[batch, 3, height, width]: differences of images in [-1, 1].

    `matrix`, float32[3, 3], turns colors into weighted opponent colors.
    """
    errors = torch.einsum("oc,bchw->bohw", matrix, errors)
    coarse = torch.zeros((), device=errors.device)
    level = errors
    for _ in range(3):
        level = functional.avg_pool2d(level, 2)
        coarse = coarse + level.abs().mean()
    return {
        "absolute": 0.5 * errors.abs().mean(),
        "squared": 2.0 * errors.square().mean(),
        "coarse": 0.5 * coarse,
    }


def draw_batch(images: Tensor, batch: int) -> Tensor:
    """`batch` images in [-1, 1], three quarters as they are, the rest altered.

    They are drawn from `images`, uint8[scenes, 3, height, width].
    """
    index = torch.randint(len(images), (batch,), device=images.device)
    drawn = images[index].float() / 127.5 - 1
    quarter = math.ceil(batch / 4)
    plain, altered = drawn.split([batch - quarter, quarter])
    return torch.cat([plain, _textured(_recolored(_moved(altered)))])


@torch.no_grad()
def encode_images(autoencoder: AutoencoderKL, images: Tensor, runtime: Runtime, batch: int = 512) -> Tensor:
    """Latent means, float16[scenes, 24, height/8, width/8], of `images`, uint8[scenes, 3, height, width]."""
    latents = []
    for part in images.split(batch):
        with runtime.autocast():
            moments = autoencoder.encode(part.float() / 127.5 - 1).latent_dist
        latents.append(moments.mean.half())
    return torch.cat(latents)


@torch.no_grad()
def standardize(autoencoder: AutoencoderKL, latents: Tensor) -> Tensor:
    """Folds the latents' mean and deviation into the weights; returns the latents of the changed weights.

    Afterwards every latent channel has mean 0 and deviation 1 over `latents`, float16[scenes, 24, height/8,
    width/8], and images pass through exactly as before: what the last layer of the encoder removes, the first
    of the decoder restores.
    """
    channels = latents.shape[1]
    flat = latents.float().transpose(0, 1).reshape(channels, -1)
    mean, deviation = flat.mean(1), flat.std(1)
    encoding, decoding = autoencoder.quant_conv, autoencoder.post_quant_conv
    encoding.weight[:channels] /= deviation.view(-1, 1, 1, 1)
    encoding.bias[:channels] = (encoding.bias[:channels] - mean) / deviation
    encoding.bias[channels:] -= 2 * deviation.log()
    decoding.bias += decoding.weight[:, :, 0, 0] @ mean
    decoding.weight *= deviation.view(1, -1, 1, 1)
    return ((latents.float() - mean.view(1, -1, 1, 1)) / deviation.view(1, -1, 1, 1)).half()


def _through(autoencoder: AutoencoderKL, images: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstructions of `images` from sampled latents, and the mean divergence of a latent's numbers."""
    posterior = autoencoder.encode(images).latent_dist
    mean, log_variance = posterior.mean.float(), posterior.logvar.float()
    latents = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return autoencoder.decode(latents).sample, divergence


def _uniform(images: Tensor, low: float, high: float, *shape: int) -> Tensor:
    """One number per image (or `shape` numbers), uniform between `low` and `high`."""
    return low + (high - low) * torch.rand(len(images), *shape, device=images.device)


def _moved(images: Tensor) -> Tensor:
    """Zoomed (0.6 to 1.6), turned (up to 30 degrees), shifted and mirrored copies."""
    angle = _uniform(images, -math.pi / 6, math.pi / 6)
    zoom = _uniform(images, -math.log(1.6), math.log(1.6)).exp()
    mirror = 1 - 2 * (_uniform(images, 0, 1) < 0.5).float()
    shift = _uniform(images, -0.5, 0.5, 2)
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    rows = torch.stack([cosine * mirror, -sine, shift[:, 0], sine * mirror, cosine, shift[:, 1]], dim=1)
    grid = functional.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _recolored(images: Tensor) -> Tensor:
    """Random contrast, saturation, hue and brightness, as one affine map of the colors an image."""
    identity = torch.eye(3, device=images.device)
    gray = torch.full((3, 3), 1 / 3, device=images.device)
    saturation = _uniform(images, 0.0, 2.0).view(-1, 1, 1)
    mixing = saturation * identity + (1 - saturation) * gray + 0.2 * _uniform(images, -1, 1, 3, 3)
    mixing = mixing * _uniform(images, 0.5, 1.4).view(-1, 1, 1)
    offset = _uniform(images, -0.3, 0.3, 3).view(-1, 3, 1, 1)
    return (torch.einsum("bij,bjhw->bihw", mixing, images) + offset).clamp(-1, 1)


def _textured(images: Tensor) -> Tensor:
    """Colored noise of several scales on a third of the images."""
    size = images.shape[-2:]
    for cells in (4, 16, 64):
        noise = torch.randn(len(images), 3, cells, cells, device=images.device)
        strength = (_uniform(images, -1.0, 0.5).clamp(min=0) * 0.5).view(-1, 1, 1, 1)
        images = images + strength * functional.interpolate(noise, size, mode="bilinear", align_corners=False)
    return images.clamp(-1, 1)
