"""Images a second of the generation stage, beside DATUM's way of one pipeline call an image.

    python tests/benchmarks/bench_generation.py [--model FOLDER] [--images 16]

Without a model it takes the demo's networks with random weights, which cost the same. Every way runs the
demo profile (128x128, 15 steps, guidance 3) on one thread of a processor, or on the GPU. Processor time
stands beside wall time because a shared machine slows the latter. Two minutes on one core.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from datum.config import DEMO
from datum.generation.generate import generate
from datum.generation.painter import Painter
from datum.prompts import build_prompts

sys.path.insert(0, str(Path(__file__).parents[1]))
from base_models import untrained_pipeline

BATCH_SIZES = (1, 4, 8, 16)


def main() -> None:
    """Prints one JSON object a way of drawing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="pipeline folder")
    parser.add_argument("--images", type=int, default=16, help="images drawn each way")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        model = arguments.model
        if model is None:
            model = Path(name) / "model"
            untrained_pipeline(seed=0).save_pretrained(model)
        _bench(model, arguments.images, Path(name))


def _bench(model: Path, images: int, scratch: Path) -> None:
    settings = dataclasses.replace(DEMO.generation, count=images)
    prompts = build_prompts(settings.prompt_template, settings.prompt_classes)
    wanted = [prompts[index % len(prompts)] for index in range(images)]
    one_by_one = _measure("pipeline called once an image", images, _one_by_one(model, wanted))
    for size in BATCH_SIZES:
        painter = Painter(model, settings, prompts)

        def draw(size: int = size, painter: Painter = painter) -> None:
            for start in range(0, images, size):
                block = wanted[start : start + size]
                painter.draw(block, range(start, start + len(block)))

        _measure(f"batches of {size}", images, draw, one_by_one)

    def stage() -> None:
        generate(model=model, output=scratch / "output", settings=settings, seed=1)

    _measure("the whole stage, with loading and files", images, stage, one_by_one)


def _one_by_one(model: Path, prompts: list[str]) -> Callable[[], None]:
    pipeline = StableDiffusionPipeline.from_pretrained(model)
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    pipeline.set_progress_bar_config(disable=True)

    def draw() -> None:
        for prompt in prompts:
            pipeline(
                prompt,
                num_inference_steps=DEMO.generation.inference_steps,
                guidance_scale=DEMO.generation.guidance_scale,
                height=DEMO.generation.size,
                width=DEMO.generation.size,
            )

    return draw


def _measure(way: str, images: int, draw: Callable[[], None], reference: float | None = None) -> float:
    """Prints images a second of wall time and of processor time; returns the latter."""
    wall, processor = time.monotonic(), time.process_time()
    draw()
    wall, processor = time.monotonic() - wall, time.process_time() - processor
    rate = images / processor
    result = {
        "way": way,
        "images_per_second": round(images / wall, 3),
        "images_per_processor_second": round(rate, 3),
        "ratio_to_one_call_an_image": round(rate / (reference or rate), 2),
    }
    print(json.dumps(result), flush=True)
    return rate


if __name__ == "__main__":
    main()
