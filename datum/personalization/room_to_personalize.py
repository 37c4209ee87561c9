"""What DreamBooth needs of disk and memory."""

from pathlib import Path

import torch

from datum.config import PersonalizationSettings
from datum.device import choose_device
from datum.diffusion.base_model import BaseModel
from datum.diffusion.parameters import BYTES, count_parameters
from datum.formats.json_files import read_json
from datum.outputs import unfinished
from datum.room import bytes_below, require_disk, require_memory, size_in_words
from datum.store import local_path
from datum.telemetry import log
from datum.training_state import KEPT_STATES

UNET_LAYERS, CHECKPOINTED_LAYERS = 570, 100
"""Layers of the UNet's first width, at the latents' full size, whose activations a step keeps, without and
with gradient checkpointing: fitted to the 19 and 17.3 GB of Stable Diffusion v1.4 with crops of 512
pixels."""
AUTOENCODER_LAYERS = 6
"""The same of the autoencoder, at the crop's full size."""


def require_room_to_personalize(
    base: BaseModel, output: Path, settings: PersonalizationSettings, checkpoints: int, place: str | None
) -> None:
    """Says what training still needs that writes so many `checkpoints`; raises `TemporaryFaultError` where
    there is less. `place` is that of its state; None is in the unfinished output."""
    counts = count_parameters(base.folder, base.files)
    parts = ("unet", "text_encoder") if settings.train_text_encoder else ("unet",)
    trained = BYTES * sum(counts[part] for part in parts)
    frozen = BYTES * sum(counts.values()) - trained
    # AdamW keeps two numbers a weight; the last step leaves no state.
    state, states = 2 * trained, checkpoints - 1
    disk = frozen + checkpoints * trained + (state if states and place else 0)
    if not place:
        # While a state is saved, there are the kept ones, the new one, and its copy in transit.
        saving = [frozen + n * trained + (min(n - 1, KEPT_STATES) + 2) * state for n in range(1, states + 1)]
        disk = max([disk + min(states, KEPT_STATES) * state, *saving])
    disk -= bytes_below(unfinished(output))
    require_disk(output, max(0, disk), f"personalize, {checkpoints} checkpoints and the state")
    if place and (folder := local_path(place)) is not None:
        kept = states * trained + (min(states, KEPT_STATES) + 1) * state
        kept -= bytes_below(folder)
        require_disk(folder, max(0, kept), "personalize, the state and the checkpoints that it needs")
    # Weights, gradients and AdamW's two numbers.
    computing = 4 * trained + frozen + _activations(base.folder, settings)
    copy = state if states else 0
    if choose_device().type == "cuda":
        free = torch.cuda.mem_get_info()[0]
        log(
            f"personalize: needs about {size_in_words(computing)} of the GPU's memory, {size_in_words(free)} "
            "are free"
        )
        require_memory(max(trained + frozen, copy), "personalize, beside the GPU")
    else:
        require_memory(computing + copy, "personalize")


def _activations(folder: Path, settings: PersonalizationSettings) -> int:
    """Bytes that a step keeps for its backward pass, or that encoding its crops takes."""
    unet, vae = (read_json(folder / part / "config.json") for part in ("unet", "vae"))
    widths = vae.get("block_out_channels", [64])
    cell = 2 ** (len(widths) - 1)
    layers = CHECKPOINTED_LAYERS if settings.gradient_checkpointing else UNET_LAYERS
    unet_width = unet.get("block_out_channels", [320])[0]
    pixels = settings.batch_size * settings.crop**2
    return int(BYTES * pixels * (AUTOENCODER_LAYERS * widths[0] + layers * unet_width / cell**2))
