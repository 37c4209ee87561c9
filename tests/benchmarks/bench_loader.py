"""Training samples from data of GTA's size: pairs of a source and a target image that one core prepares.

    python tests/benchmarks/bench_loader.py [PAIRS]

Draws street scenes of 1914x1052 pixels, writes them as PNG, and loads PAIRS (default 20) of them as DAFormer
has them (resized to 1280x720, rare class sampling, crop 512), none kept from one to the next: with targets of
512x512, as DATUM's drawings are, and of 2048x1024, as photographs are. Processor time, beside the same with
photographs decoded by Pillow, in turns; it fails where Pillow is faster or a pixel differs. The goal is 25
pairs a second; on a core of an Intel Xeon that forty processes wanted, 16 and 10 were measured, with Pillow
13 and 8 (2026-11-26). Most of it is the unpacking of the source image.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))

from datum.adaptation import sampling
from datum.adaptation.adapt import crop_rules
from datum.adaptation.inputs import STREET_SCALE, find_source
from datum.adaptation.sampling import TrainingSamples
from datum.config import AdaptationSettings
from datum.datasets.convert import convert
from datum.photographs import open_image
from datum.streetscenes.drawing import TARGET_DOMAIN, draw_scene, write_gta

SCENES = 4
WIDTH, HEIGHT = 1914, 1052
"""Size of GTA's frames, in pixels."""


def by_pillow(file: Path) -> np.ndarray:
    with open_image(file) as image:
        return np.asarray(image.convert("RGB"))


def made_samples(root: Path, target: Path, target_scale: tuple[int, int] | None) -> TrainingSamples:
    rules = crop_rules(AdaptationSettings(), "gta-to-cityscapes", target_scale)
    # Of thousands of images hardly one is still kept when it is drawn again.
    source, target_images = find_source("gta-to-cityscapes", root) * 1000, [target] * 1000
    return TrainingSamples(source=source, target=target_images, rules=rules, temperature=0.01, seed=0)


def measure(what: str, root: Path, target: Path, target_scale: tuple[int, int] | None, pairs: int) -> None:
    loaders = [made_samples(root, target, target_scale) for _ in range(2)]
    seconds: tuple[list[float], list[float]] = ([], [])
    for index in range(pairs):
        found = []
        for reader, loader, times in zip((by_pillow, sampling.read_image), loaders, seconds):
            with patch.object(sampling, "read_image", reader):
                start = time.process_time()
                found.append(loader[index])
                times.append(time.process_time() - start)
        assert all(np.array_equal(*parts) for parts in zip(*found)), f"sample {index} differs"
    pillow, ours = (statistics.median(times) for times in seconds)
    print(
        f"{what}: Pillow {1 / pillow:.1f} pairs/s, ours {1 / ours:.1f} pairs/s, {pillow / ours:.2f}x",
        flush=True,
    )
    assert ours < pillow, "Pillow is faster"


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_gta(root / "gta", seeds=range(SCENES), height=HEIGHT, width=WIDTH)
        convert("gta", root / "gta", workers=1)
        files = []
        for size in ((512, 512), (1024, 2048)):
            files.append(root / f"{size[0]}.png")
            Image.fromarray(draw_scene(SCENES, TARGET_DOMAIN, height=size[0], width=size[1]).image).save(
                files[-1]
            )
        measure("targets of 512x512", root / "gta", files[0], None, pairs)
        measure("targets of 2048x1024", root / "gta", files[1], STREET_SCALE, pairs)


if __name__ == "__main__":
    main()
