"""Whether the town is a target worth adapting to, measured without any diffusion.

    python tests/benchmarks/target_gate.py FOLDER [SEEDS [FIRST_SCENE]]

From the network that the demo starts from, SEEDS (5) times each: training goes on with the source alone and
color jitter, with self-training on one target image (each seed its own), and on 64. The last networks count,
on 100 other target scenes. FOLDER keeps everything, and the same command goes on where it was stopped.

The target was chosen at FIRST_SCENE 710000; the default is what is reported. What was tried, mIoU in percent
before, and after source alone / one image (seed 1, seed 2) / all images (seed 1 alone where one figure
stands), from a network of 2,000 iterations of four crops, 150 iterations at the demo's settings of then:

| target | before | source | one image | all |
|---|---|---|---|---|
| new things, five hours with a red evening and night | 26.7 | | | |
| new things, four hours within reach of color jitter | 29.7 | 29.3 | | 28.5 |
| new things, four hours through one tinted glass | 21.4 | 20.4 | 22.3, 26.4 | 26.4 |
| new things, four hours, each with its cast and contrast (chosen) | 19.7 | | 21.4 | 24.4 |
| the chosen one on the reported scenes | 20.5 | 20.8 | 22.8, 21.6 | 25.6 |
| the same, from a network of 4,000 iterations | 20.4 | 19.3 | 23.5 | 27.7 |

So new things alone leave self-training nothing to win: what it mends is light that jitter does not reach.

The gate, five seeds on the reported scenes, 150 iterations from the network that was shipped then (4,000
iterations; two cores of an Intel Xeon, 2026-11-26): source alone 19.5 ± 0.7, one image 22.5 ± 1.9 (19.7 to
24.1), all images 26.5 ± 0.7. Each is above the one before by more than the spread, so the gate is passed, and
the town is the demo's target.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

from datum.streetscenes.drawing import write_gta, write_town

SIZE = {"height": 128, "width": 128}
SOURCE_SCENES = range(100_000, 101_000)
TARGET_IMAGES, TEST_SCENES = 64, 100
SETTINGS = ("validate_every=100000", "pictures=1")
"""The rest is the demo's, alike for all three."""
ARMS = {"source-only": "source-only", "one image": "daformer", "all images": "daformer"}


def datum(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "datum", *map(str, words)], check=True)


def write(folder: Path, first: int) -> None:
    if (folder / "written").exists():
        return
    write_gta(folder / "source", seeds=SOURCE_SCENES, **SIZE)
    datum("convert", "gta", folder / "source")
    train, val = range(first, first + TARGET_IMAGES), range(first + 10_000, first + 10_000 + TEST_SCENES)
    target = folder / "target"
    write_town(target, train_seeds=train, val_seeds=val, **SIZE)
    datum("convert", "cityscapes", target)
    (folder / "written").touch()


def miou(folder: Path, arm: str, seed: int) -> float:
    """mIoU in percent of one arm's network on the test scenes."""
    target = folder / "target"
    photographs = sorted((target / "leftImg8bit" / "train").rglob("*.png"))
    seen = {"source-only": [], "one image": [photographs[7 * seed]], "all images": [target]}[arm]
    trained = folder / f"{arm.replace(' ', '-')}-{seed}"
    figures = trained.with_name(f"{trained.name}-figures")
    words = [word for setting in SETTINGS for word in ("--set", f"adaptation.{setting}")]
    words += [word for image in seen for word in ("--target", image)]
    words += ["--method", ARMS[arm], "--seed", seed, "--source", folder / "source", "--output", trained]
    datum("adapt", "--profile", "demo", *words)
    words = ["--checkpoint", trained / "last.safetensors", "--dataset", target, "--output", figures]
    datum("evaluate", "--profile", "demo", *words)
    return float(json.loads((figures / "metrics.json").read_text())["miou"]["19"])


def main(folder: Path, seeds: int = 5, first: int = 500_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, first)
    found: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in range(1, seeds + 1):
        for arm, values in found.items():
            values.append(miou(folder, arm, seed))
    for arm, values in found.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(
            f"{arm}: {statistics.mean(values):.1f} ± {spread:.1f} ({', '.join(f'{v:.1f}' for v in values)})"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
