"""Writing the base model: half-precision safetensors in diffusers' layout."""

import copy
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from datum.outputs import write_json

LARGEST_BYTES = 12_000_000
"""Most bytes that the shipped model may take."""


def export(pipeline: StableDiffusionPipeline, output: Path) -> int:
    """Saves a copy of `pipeline` in half precision into `output` and returns its size in bytes.

    Loaded without a data type the weights are float32 again.
    """
    copy.deepcopy(pipeline).to(dtype=torch.float16).save_pretrained(output, safe_serialization=True)
    # transformers loads weights in the type that the configuration names, diffusers in float32.
    configuration = output / "text_encoder" / "config.json"
    write_json(configuration, json.loads(configuration.read_text(encoding="utf-8")) | {"dtype": "float32"})
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    if size > LARGEST_BYTES:
        raise RuntimeError(f"the model takes {size:,} bytes, more than {LARGEST_BYTES:,}")
    return size
