"""What the faults happen to: every stage as a real process, on input that one can make in a minute.

A stage's place is a folder of its own with nothing but the output (of convert, the data set that it writes
into), so that whatever else is found there afterwards is debris.
"""

import dataclasses
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from datum.streetscenes.drawing import TARGET_DOMAIN, draw_scene, write_cityscapes, write_gta
from tests.prediction.footage_of_tests import write_video

HOOK = Path(__file__).parent / "hook"
ROOT = Path(__file__).parents[2]
DATUM = (sys.executable, "-m", "datum")
SIZE = 64

PERSONALIZE = {
    "personalization.steps": 6,
    "personalization.checkpoint_every": 2,
    "personalization.batch_size": 1,
    "personalization.crop": SIZE,
    "personalization.short_side": SIZE,
}
GENERATE = {
    "generation.checkpoint_step": 2,
    "generation.count": 8,
    "generation.inference_steps": 2,
    "generation.size": SIZE,
    "generation.batch_size": 2,
}
EVALUATE = {"evaluation.scale": f"[{SIZE}, {SIZE}]"}
ADAPT = {
    "adaptation.iterations": 16,
    "adaptation.crop": SIZE,
    "adaptation.source_scale": f"[{SIZE}, {SIZE}]",
    "adaptation.target_scale": f"[{SIZE}, {SIZE}]",
    "adaptation.head_channels": 16,
    "adaptation.warmup_iterations": 1,
    "adaptation.rare_class_min_pixels": 0,
    "adaptation.validate_every": 8,
    "adaptation.save_every": 2,
    "adaptation.log_every": 1,
    **EVALUATE,
}

INGEST = """
import sys
from pathlib import Path
from datum.config import load_settings
from datum.datasets.working_copy import ingest_dataset
from datum.errors import exit_status
if __name__ == "__main__":
    with exit_status():
        sizes = ["datasets.height=64", "datasets.width=64", "datasets.source_scenes=24"]
        settings = load_settings("demo", sizes)
        ingest_dataset("gta", None, Path(sys.argv[1]), settings=settings.datasets, workers=2)
"""
"""What the task that ingests the source runs."""

PUBLISH = """
import sys
from pathlib import Path
from components.task import publish_report
publish_report(Path(sys.argv[1]), sys.argv[2])
"""
"""What the task `report` does at its end."""

FETCH = """
import sys
from pathlib import Path
from datum.cluster.published import fetch_report
from datum.cluster.settings import load_cluster_settings
from datum.errors import exit_status
with exit_status():
    fetch_report(load_cluster_settings(None, [f"reports={sys.argv[1]}"]), "run", Path(sys.argv[2]))
"""
"""What submit does when its run has ended."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A command that is run again and again with the same words."""

    name: str
    words: tuple[str, ...]
    place: Path
    """Folder that holds the output and nothing else; where the output is below, the fault is looked for."""
    prepare: Callable[[], None] = lambda: None
    """Puts into the empty place what is there before the first run."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    state: str = ""
    """Pattern, below the place, of records of saved state; the last is what a run goes on from."""
    resuming: str = ""
    """Expression that finds the number of that state in what a run prints."""
    kept: str = ""
    """Pattern, below the place, of results that the next run keeps as they are."""

    def fresh(self) -> None:
        """The place as it is before the first run."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        self.prepare()

    def start(self, log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """The command as a process in a group of its own, which prints to `log`."""
        with log.open("wb") as stream:
            return subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=clean_environment() | dict(self.environment) | environment,
                start_new_session=True,
            )

    def run(self, log: Path, *, timeout: float = 300, **environment: str) -> int:
        """The exit status of the whole command."""
        process = self.start(log, **environment)
        try:
            return process.wait(timeout=timeout)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def clean_environment() -> dict[str, str]:
    """The environment of this process, one thread, and the hook of faults within reach."""
    paths = [str(HOOK), str(ROOT)]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), "DATUM_PATIENCE": "5"}


def with_settings(*words: str, settings: Mapping[str, object]) -> tuple[str, ...]:
    changes = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    return (*DATUM, *words, *changes)


def snapshot(place: Path) -> dict[str, str]:
    """Every path below `place` -> a digest of what it holds, less times that a clock gave."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = hashlib.sha256(_without_times(path)).hexdigest()
    return found


_TIMES = ("seconds", "started", "finished", "parts", "git_commit", "images_per_second", "peak_memory", "cost")
"""Keys of JSON that say when, how fast, or at which state of the working tree."""
_TIMED = ("provenance.json", "training.jsonl", "config.yaml", "README.md")
_TIMED += ("report.html", "report.md", "report.json")
"""Files that hold some."""
_TIME = re.compile(f"({'|'.join(_TIMES)}):".encode())


def _without_times(path: Path) -> bytes:
    content = path.read_bytes()
    if path.name not in _TIMED:
        return content
    if path.suffix in (".html", ".md"):
        # The page says when it was written and what it cost, and shows provenance.
        return b""
    if path.suffix == ".yaml":
        return b"".join(line for line in content.splitlines(keepends=True) if not _TIME.match(line))
    lines = [content] if path.suffix == ".json" else content.splitlines()
    return "\n".join(json.dumps(_untimed(json.loads(line)), sort_keys=True) for line in lines).encode()


def _untimed(content: object) -> object:
    if isinstance(content, dict):
        # Digests of files that hold times differ with them.
        return {
            key: _untimed(value)
            for key, value in content.items()
            if key not in _TIMES and not key.endswith(_TIMED)
        }
    return [_untimed(item) for item in content] if isinstance(content, list) else content


class World:
    """The stages, each with the input that those before it made; what nobody asks for is not made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def stage(self, name: str) -> Stage:
        """One of `STAGES`."""
        return getattr(self, f"_{name.replace('-', '_')}")()

    def make(self, stage: Stage) -> Path:
        """The finished output of `stage`, kept under its name."""
        kept = self.folder / "made" / stage.name
        if not kept.exists():
            stage.fresh()
            log = self.folder / f"{stage.name}.log"
            if stage.run(log) != 0:
                raise RuntimeError(f"{' '.join(stage.words)}: {log.read_text()[-2000:]}")
            kept.parent.mkdir(exist_ok=True)
            shutil.copytree(stage.place / "out", kept, symlinks=True)
        return kept

    @functools.cached_property
    def raw(self) -> Path:
        """A source in GTA's layout, not converted."""
        write_gta(self.folder / "gta", seeds=range(12), height=SIZE, width=SIZE)
        return self.folder / "gta"

    @functools.cached_property
    def target(self) -> Path:
        """A target in Cityscapes' layout, converted."""
        root = self.folder / "cityscapes"
        write_cityscapes(
            root, train_seeds=range(100, 103), val_seeds=range(200, 206), height=SIZE, width=SIZE
        )
        self._run("convert", "cityscapes", str(root), "--workers", "1")
        return root

    @property
    def one_shot(self) -> Path:
        return sorted((self.target / "leftImg8bit/train").rglob("*.png"))[0]

    @functools.cached_property
    def source(self) -> Path:
        """The source, converted."""
        root = self.folder / "converted"
        shutil.copytree(self.raw, root)
        self._run("convert", "gta", str(root), "--workers", "1")
        return root

    @functools.cached_property
    def run_folder(self) -> Path:
        """One seed's run, as the report reads it."""
        folder = self.folder / "run"
        folder.mkdir()
        shutil.copytree(self.make(self._adapt()), folder / "segmentor")
        shutil.copytree(self.make(self._generate()), folder / "generated")
        shutil.copytree(self.make(self._evaluate()), folder / "evaluation")
        shutil.copy(self.one_shot, folder / "one_shot.png")
        description = {
            "seed": 1,
            "benchmark": "gta-to-cityscapes",
            "method": "daformer",
            "encoder": "resnet-18-half",
            "profile": "demo",
        }
        (folder / "run.json").write_text(json.dumps(description))
        return folder

    def _run(self, *words: str) -> None:
        subprocess.run([*DATUM, *words], env=clean_environment(), check=True, capture_output=True, cwd=ROOT)

    def _place(self, name: str) -> Path:
        return self.folder / "places" / name

    def _convert(self) -> Stage:
        place = self._place("convert")
        return Stage(
            name="convert",
            words=(*DATUM, "convert", "gta", str(place / "out"), "--workers", "2"),
            place=place,
            prepare=lambda: shutil.copytree(self.raw, place / "out") and None,
        )

    def _ingest(self) -> Stage:
        place = self._place("ingest")
        return Stage(name="ingest", words=(sys.executable, "-c", INGEST, str(place / "out")), place=place)

    def _personalize(self) -> Stage:
        place = self._place("personalize")
        words = ("personalize", "--profile", "demo", "--image", str(self.one_shot), "--seed", "3")
        return Stage(
            name="personalize",
            words=with_settings(*words, "--output", str(place / "out"), settings=PERSONALIZE),
            place=place,
            state="**/state-*.json",
            resuming=r"resuming after step (\d+)",
        )

    def _generate(self) -> Stage:
        place = self._place("generate")
        model = self.make(self._personalize())
        words = ("generate", "--profile", "demo", "--model", str(model), "--seed", "3")
        return Stage(
            name="generate",
            words=with_settings(*words, "--output", str(place / "out"), settings=GENERATE),
            place=place,
            kept="**/images/im_*.png",
        )

    def _adapt(self, workers: int = 0) -> Stage:
        place = self._place("adapt" if not workers else "adapt-workers")
        words = ("adapt", "--profile", "demo", "--encoder", "resnet-18-half", "--source", str(self.source))
        words += ("--target", str(self.one_shot.parent), "--validation", str(self.target), "--seed", "3")
        settings = ADAPT | {"adaptation.workers": workers}
        return Stage(
            name=place.name,
            words=with_settings(*words, "--output", str(place / "out"), settings=settings),
            place=place,
            state="**/state-*.json",
            resuming=r"resuming at iteration (\d+)",
        )

    def _adapt_workers(self) -> Stage:
        return self._adapt(workers=1)

    def _evaluate(self) -> Stage:
        place = self._place("evaluate")
        checkpoint = self.make(self._adapt()) / "best.safetensors"
        words = ("evaluate", "--profile", "demo", "--checkpoint", str(checkpoint))
        words += ("--dataset", str(self.target), "--output", str(place / "out"))
        return Stage(name="evaluate", words=with_settings(*words, settings=EVALUATE), place=place)

    def _predict(self) -> Stage:
        place, street = self._place("predict"), self.folder / "street.mp4"
        scenes = [draw_scene(seed, TARGET_DOMAIN, height=SIZE, width=SIZE).image for seed in range(12)]
        write_video(street, scenes)
        words = ("predict", str(self.make(self._adapt()) / "best.safetensors"), "--profile", "demo")
        words += (str(self.target / "leftImg8bit/val"), str(street), "--output", str(place / "out"))
        return Stage(name="predict", words=with_settings(*words, settings=EVALUATE), place=place)

    def _report(self) -> Stage:
        place = self._place("report")
        words = ("report", "--run", str(self.run_folder), "--output", str(place / "out"))
        return Stage(name="report", words=(*DATUM, *words), place=place)


ALL = os.environ.get("DATUM_FAULTS") == "all"
"""Whether all stages are tried, as by `make faults`, or the few that take seconds."""

STAGES = ("convert", "ingest", "personalize", "generate", "adapt", "adapt-workers", "evaluate")
STAGES += ("predict", "report")
"""The stages whose input a `World` makes; `fetch_stage` is one more, for which a store must be up."""


def fetch_stage(world: World, endpoint: str, access_key: str, secret_key: str) -> Stage:
    """submit's fetch of a report that lies in the bucket `reports` of the store at `endpoint`."""
    from minio import Minio

    host = endpoint.removeprefix("http://")
    Minio(host, access_key=access_key, secret_key=secret_key, secure=False).make_bucket("reports")
    environment = {
        "S3_ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "DATUM_RUN_ID": "run",
    }
    report = world.make(world.stage("report"))
    publish = [sys.executable, "-c", PUBLISH, str(report), "s3://reports"]
    subprocess.run(publish, env=clean_environment() | environment, check=True)
    place = world.folder / "places" / "fetch"
    words = (sys.executable, "-c", FETCH, "s3://reports", str(place / "out"))
    return Stage(name="fetch", words=words, place=place, environment=environment)
