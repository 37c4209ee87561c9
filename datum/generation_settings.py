"""Settings of the stage that draws."""

import dataclasses
from typing import Annotated, Literal

from datum.prompts import PLURALS
from datum.values import Switchable


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
