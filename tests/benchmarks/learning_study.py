"""Whether self-training learns from a new place: all target images against one against none, by method.

    python tests/benchmarks/learning_study.py FOLDER [SEEDS [SCENES]]

On drawn street scenes, at the demo's size and with its settings: a network of one resolution, and one of two
(HRDA), is trained on SCENES (1000) source scenes alone, for 2,000 iterations of four crops, once. From it
each method goes on for 300 iterations of two, SEEDS (3) times: on the source alone, on one target image (each
seed its own), on all 64. The last network counts, tested on 100 other target scenes. FOLDER keeps everything,
and the same command goes on where it was stopped. About two hours on one core.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from datum.streetscenes.drawing import write_cityscapes, write_gta

SIZE = {"height": 128, "width": 128}
TARGET_SCENES = range(500_000, 500_064)
TEST_SCENES = range(600_000, 600_100)
"""Seeds that neither the demo nor its base model draws by."""
COMMON = ("workers=0", "validate_every=100000", "save_every=500")
START = (*COMMON, "batch_size=4", "iterations=2000")
GO_ON = (*COMMON, "iterations=300", "learning_rate=5e-4")


@dataclasses.dataclass(frozen=True)
class Network:
    """A network that methods start from."""

    name: str
    settings: tuple[str, ...] = ()
    """Settings of adaptation that a training on the source alone needs for it."""


ONE = Network("one")
TWO = Network("two", ("multi_resolution=true", "resolution_factor=2", "crop=256"))


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table."""

    title: str
    method: str
    network: Network = ONE
    settings: tuple[str, ...] = ()


ROWS = (
    Row("DAFormer", "daformer"),
    Row("DAFormer in TF32", "daformer", settings=("mixed_precision=tf32",)),
    Row("DAFormer in bf16", "daformer", settings=("mixed_precision=bf16",)),
    Row("MIC on DAFormer", "daformer", settings=("masked_consistency=true",)),
    Row("HRDA", "hrda", TWO),
)


def datum(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "datum", *map(str, words)], check=True)


class Study:
    """A folder of data sets, networks and figures."""

    def __init__(self, folder: Path, scenes: int) -> None:
        self.folder, self.source, self.target = folder, folder / "source", folder / "target"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "written").exists():
            write_gta(self.source, seeds=range(100_000, 100_000 + scenes), **SIZE)
            write_cityscapes(self.target, train_seeds=TARGET_SCENES, val_seeds=TEST_SCENES, **SIZE)
            (folder / "written").touch()
        datum("convert", "gta", self.source)
        datum("convert", "cityscapes", self.target)
        self.photographs = sorted((self.target / "leftImg8bit" / "train").rglob("*.png"))

    def start(self, network: Network) -> Path:
        return self._train(f"start-{network.name}", 1, "source-only", (*START, *network.settings))

    def figures(self, row: Row, start: Path, seed: int) -> tuple[float, float, float]:
        """mIoU in percent after the source alone, one target image, and all of them."""
        go_on = (*GO_ON, f"initial_segmentor={start}")
        alone = self._train(
            f"{row.network.name}-none-{seed}", seed, "source-only", (*go_on, *row.network.settings)
        )
        trained = [alone]
        for images, target in (("one", self.photographs[seed * 7]), ("all", self.target)):
            name = f"{row.title.replace(' ', '-')}-{images}-{seed}"
            trained.append(self._train(name, seed, row.method, (*go_on, *row.settings), target))
        none, one, every = map(self.figure, trained)
        return none, one, every

    def figure(self, checkpoint: Path) -> float:
        """mIoU on the test scenes, in percent."""
        output = checkpoint.parent.with_name(f"{checkpoint.parent.name}-figures")
        words = ("--profile", "demo", "--checkpoint", checkpoint, "--dataset", self.target)
        datum("evaluate", *words, "--output", output)
        return float(json.loads((output / "metrics.json").read_text())["miou"]["19"])

    def _train(
        self, name: str, seed: int, method: str, settings: Sequence[str], target: Path | None = None
    ) -> Path:
        """The network that a training ends with."""
        output = self.folder / name
        words = ["--profile", "demo", "--method", method, "--seed", seed, "--source", self.source]
        words += ["--target", target] if target else []
        words += [word for setting in settings for word in ("--set", f"adaptation.{setting}")]
        datum("adapt", *words, "--output", output)
        return output / "last.safetensors"


def told(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} ± {deviation:.1f}"


def main(folder: Path, seeds: int = 3, scenes: int = 1000) -> None:
    study = Study(folder, scenes)
    lines = []
    for row in ROWS:
        start = study.start(row.network)
        found = zip(*(study.figures(row, start, seed) for seed in range(1, seeds + 1)))
        lines.append(f"| {row.title} | {study.figure(start):.1f} | {' | '.join(map(told, found))} |")
    print("| method | start | source alone | one target image | all target images |\n|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
