"""Settings of the stage that draws."""

import dataclasses
from typing import Annotated, Literal

from datum.prompts import PLURALS
from datum.values import Least, NamesInput, Switchable


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """Drawing the data set of the new place. Defaults: DATUM's `dreambooth/generate_dreambooth.py`."""

    checkpoint_step: int = 200
    """Personalization step whose checkpoint draws the images (DATUM's default)."""
    count: int = 2975
    """Images in all shards together (the size of Cityscapes' training set)."""
    prompt_template: str = "a photo of sks {c}"
    """Prompt; `{c}` stands for the class. A template without `{c}` is one generic prompt."""
    prompt_classes: tuple[str, ...] = tuple(PLURALS.values())
    """Classes that the prompts cycle through."""
    inference_steps: int = 50
    """Denoising steps per image."""
    guidance_scale: float = 7.5
    """Weight of classifier-free guidance."""
    size: int = 512
    """Side of the drawn square image, in pixels."""
    batch_size: Annotated[int, Switchable()] = 4
    """Images denoised together; a drawn image depends on its own seed alone, up to rounding."""
    precision: Literal["fp16", "bf16", "fp32"] = "fp16"
    """Arithmetic of the model. Half precision falls back to fp32 on a CPU, which has no fast half."""
    labels: Literal["none", "source"] = "none"
    """`source` draws a second set of images, with labels, into `labeled/`: a ControlNet holds the
    personalized model to label maps of the source data set."""
    controlnet: Annotated[str, NamesInput()] = ""
    """ControlNet that draws labeled images, of the base model's UNet: a folder, a hub id with the folder in
    it (yurujaja/DGInStyle/ControlNet_UNet-S), or `streetscenes`, that of the small model. Of 20 condition
    channels (19 classes one-hot and void) it draws from noise, as DGInStyle; of 3 (Cityscapes' palette) from
    the noised source image, as ZoDi."""
    judge: Annotated[str, NamesInput()] = ""
    """Network trained on the source that labeled images are judged by: a file or folder that `datum evaluate`
    takes, or a URL, hub file or s3:// URI of one. Empty: none are judged, and none dropped."""
    labeled_count: int = 7000
    """Labeled images in all shards together, before any is dropped (DGInStyle: 7,000)."""
    labeled_prompt: str = "a photo of sks urban scene with {names}"
    """Their prompt; `{names}` stands for the words of all classes in the label map (DGInStyle's prompt is
    these names alone)."""
    labeled_steps: int = 20
    """DDIM steps per labeled image (DGInStyle and ZoDi)."""
    labeled_guidance_scale: float | None = None
    """Guidance of labeled images; none takes DGInStyle's 7.5, or ZoDi's 9 for a ControlNet of 3 channels."""
    labeled_conditioning_scale: float = 1.0
    """Weight of what the ControlNet adds to the UNet (DGInStyle, ZoDi and diffusers: 1). More of it holds the
    drawings closer to their label maps, and sharpens them."""
    labeled_strength: float = 0.6
    """Share of the noise that the source image gets where it is the start (ZoDi: 0.6 for images of a game,
    0.9 for night)."""
    labeled_temperature: float = 0.01
    """Temperature of the rare class sampling of label maps (DAFormer, DGInStyle)."""
    labeled_min_pixels: Annotated[int, Least(0)] = 3000
    """Pixels of the sampled class that a label map must exceed to be a candidate; given for a 512 crop and
    scaled to the area of `size` (DAFormer, DGInStyle; the scaling is ours)."""
    labeled_dropped: float = 0.1
    """Share of the labeled images of each sampled class that is dropped: those in which the judge finds least
    of what the label map says (ours)."""
