"""The networks of the small base model, and how they make a StableDiffusionPipeline.

Sizes are chosen for a processor core: an image of 128x128 (15 steps with guidance) in about half a second,
and 5.7 million parameters in all, 11.4 MB in half precision.
"""

import math

from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from datum.labels import CLASSES
from datum.streetscenes.model.training_scenes import RESOLUTION

LATENT_CHANNELS = 24
"""Channels of a latent: 16x16x24 numbers for 128x128x3, an eighth (Stable Diffusion: a 48th, with sixty
times the parameters)."""
LATENT_SIDE = RESOLUTION // 8
"""Side of a latent: the autoencoder halves the image three times."""
SILU_GAIN = 1.68
"""What SiLU takes of the deviation of a normal distribution, inverted."""
TEXT_WIDTH = 96
"""Width of the text encoder, and so of the UNet's cross-attention."""


def new_autoencoder() -> AutoencoderKL:
    """Autoencoder with random weights: images in [-1, 1], 8x smaller latents of 24 channels.

    Its latents are centered and have unit deviation by construction (`autoencoder.standardize`
    folds the statistics into the weights), because StableDiffusionPipeline knows a scaling factor
    but no shift.
    """
    return AutoencoderKL(
        sample_size=RESOLUTION,
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(16, 32, 64, 72),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=8,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def new_unet() -> UNet2DConditionModel:
    """UNet with random weights over latents, conditioned on the text encoder's states."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 128),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        # diffusers' name for the number of heads.
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_controlnet(unet: UNet2DConditionModel, channels: int = len(CLASSES) + 1) -> ControlNetModel:
    """ControlNet for `unet`, a copy of its first half that adds nothing yet: its last layers are zero.

    Its condition has the images' size, and by default a channel a class and one of void.
    """
    controlnet = ControlNetModel.from_unet(
        unet, conditioning_channels=channels, conditioning_embedding_out_channels=(16, 32, 48, 64)
    )
    # As diffusers makes them, these layers shrink what tells one place of a label map from another to a
    # tenth, and a short training learns nothing of it. So each begins with outputs of deviation near 1.
    embedding = controlnet.controlnet_cond_embedding
    for layer in (embedding.conv_in, *embedding.blocks):
        # Of one-hot channels one is 1 at each of the nine places that a filter sees.
        inputs = 9 if layer is embedding.conv_in else 9 * layer.in_channels
        gain = 1.0 if layer is embedding.conv_in else SILU_GAIN
        nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
        nn.init.zeros_(layer.bias)
    return controlnet


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """CLIP text encoder with random weights for the vocabulary and context of `tokenizer`."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            projection_dim=TEXT_WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule, with the velocity as target and no signal left at the last step.

    Without zero terminal signal-to-noise ratio a model cannot draw scenes that are dark or bright as a whole
    (Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed").
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        # Without effect where the spacing is trailing; any other value makes diffusers warn.
        steps_offset=1,
    )


def assemble(
    autoencoder: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
) -> StableDiffusionPipeline:
    """The pipeline of these parts, without a safety checker: it can draw nothing but streets."""
    return StableDiffusionPipeline(
        vae=autoencoder,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
