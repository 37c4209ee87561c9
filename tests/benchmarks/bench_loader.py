"""Training samples from data of GTA's size: pairs of a source and a target image that one core prepares.

    python tests/benchmarks/bench_loader.py [PAIRS]

Draws street scenes of 1914x1052 pixels, writes them as PNG, and loads PAIRS (default 20) of them as DAFormer
has them (resized to 1280x720, rare class sampling, crop 512), none kept from one to the next: with targets of
512x512, as DATUM's drawings are, and of 2048x1024, as photographs are. Processor time from the ingested data
set, which holds the images as training resizes them, and from the converted original with photographs
decoded by Pillow and as ours are, in turns; it fails where Pillow is faster or a pixel differs. The goal is
25 pairs a second from the ingested one: on a busy core of an Intel Xeon 30 and 13 were measured, from the
original 15 and 10, with Pillow 12 and 8 (2026-11-26).
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
from datum.config import AdaptationSettings, DatasetSettings
from datum.datasets.convert import convert
from datum.datasets.working_copy import ingest_dataset
from datum.formats.source_scale import training_scale
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


def measure(
    what: str,
    original: Path,
    ingested: Path,
    target: Path,
    target_scale: tuple[int, int] | None,
    pairs: int,
) -> None:
    ways = ((by_pillow, original), (sampling.read_image, original), (sampling.read_image, ingested))
    loaders = [made_samples(root, target, target_scale) for _, root in ways]
    seconds: tuple[list[float], ...] = ([], [], [])
    for index in range(pairs):
        found = []
        for (reader, _), loader, times in zip(ways, loaders, seconds):
            with patch.object(sampling, "read_image", reader):
                start = time.process_time()
                found.append(loader[index])
                times.append(time.process_time() - start)
        for parts in zip(*found):
            assert all(np.array_equal(part, parts[0]) for part in parts), f"sample {index} differs"
    pillow, whole, ours = (statistics.median(times) for times in seconds)
    print(
        f"{what}: original by Pillow {1 / pillow:.1f} pairs/s, original {1 / whole:.1f}, "
        f"ingested {1 / ours:.1f}: {pillow / ours:.2f}x and {whole / ours:.2f}x",
        flush=True,
    )
    assert ours < pillow, "Pillow is faster"


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_gta(root / "gta", seeds=range(SCENES), height=HEIGHT, width=WIDTH)
        scale = training_scale("gta-to-cityscapes", AdaptationSettings())
        ingest_dataset(
            "gta", root / "gta", root / "ingested", settings=DatasetSettings(), workers=1, scale=scale
        )
        convert("gta", root / "gta", workers=1)
        files = []
        for size in ((512, 512), (1024, 2048)):
            files.append(root / f"{size[0]}.png")
            Image.fromarray(draw_scene(SCENES, TARGET_DOMAIN, height=size[0], width=size[1]).image).save(
                files[-1]
            )
        source = (root / "gta", root / "ingested")
        measure("targets of 512x512", *source, files[0], None, pairs)
        measure("targets of 2048x1024", *source, files[1], STREET_SCALE, pairs)


if __name__ == "__main__":
    main()
