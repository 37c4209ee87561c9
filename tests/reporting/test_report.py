"""`datum report`: its numbers, its page, the median checkpoint, and what it refuses."""

import html.parser
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datum.errors import InputError
from datum.labels import TRAIN_ID_TO_COLOR
from datum.outputs import sha256
from datum.reporting.report import report, summary_table
from datum.segmentation.iou import score

PROMPTS = ("a photo of sks cars", "a photo of sks persons", "a photo of sks <script>alert(1)</script>")


def write_run(
    folder: Path,
    *,
    seed: int,
    miou: float,
    last: float | None = None,
    method: str = "daformer",
    benchmark: str = "gta-to-cityscapes",
    size: tuple[int, int] = (32, 48),
) -> Path:
    """A run whose best checkpoint scores `miou` (at most 50), its last one `last`."""
    random = np.random.default_rng(seed)
    about = {
        "seed": seed,
        "benchmark": benchmark,
        "method": method,
        "encoder": "mit-b0",
        "profile": "demo",
    }
    segmentor = folder / "segmentor"
    segmentor.mkdir(parents=True)
    for name in ("best", "last"):
        (segmentor / f"{name}.safetensors").write_bytes(f"{method} {seed} {name}".encode())
    (segmentor / "config.yaml").write_text("note: <b>bold</b>\n")
    (segmentor / "provenance.json").write_text('{"stage": "adapt"}')
    lines: list[dict[str, float]] = [
        {"iteration": i, "source": 2 - i / 100, "mixed": 0.5, "learning_rate": 1e-4} for i in range(1, 101)
    ]
    lines += [{"iteration": 50, "miou": miou / 2}, {"iteration": 100, "miou": miou}]
    (segmentor / "training.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    save(folder / "one_shot.png", random.integers(0, 256, (*size, 3)))
    generated = []
    for index in range(12):
        name = f"im_{index}_p{index % 3}.png"
        save(folder / "generated" / "images" / name, random.integers(0, 256, (*size, 3)))
        generated.append({"index": index, "prompt": PROMPTS[index % 3], "file": f"images/{name}"})
    manifest = "".join(json.dumps(line) + "\n" for line in generated)
    (folder / "generated" / "manifest.jsonl").write_text(manifest)
    write_evaluation(folder / "evaluation", segmentor / "best.safetensors", miou, size)
    if last is not None:
        write_evaluation(folder / "evaluation_last", segmentor / "last.safetensors", last, size)
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def write_evaluation(folder: Path, checkpoint: Path, miou: float, size: tuple[int, int]) -> None:
    # Of 10000 pixels of road all are right but those taken for car, which scores 0 then.
    confusion = np.zeros((19, 19), dtype=np.int64)
    confusion[0, 0], confusion[0, 13] = round(200 * miou), 10_000 - round(200 * miou)
    about = {"images": 3, "checkpoint": checkpoint.name, "checkpoint_sha256": sha256(checkpoint)}
    for name in ("aachen_000000_000019", "bonn_000001_000019"):
        colors = TRAIN_ID_TO_COLOR[np.random.default_rng(0).integers(0, 19, size)]
        for part in ("image", "label", "prediction"):
            save(folder / "examples" / f"{name}_{part}.png", colors)
    (folder / "metrics.json").write_text(json.dumps(score(confusion) | about))


def save(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(file, compress_level=1)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    scores = {1: 30.0, 2: 20.0, 3: 28.0}
    return [
        write_run(tmp_path / f"seed-{seed}", seed=seed, miou=score, last=score - 4)
        for seed, score in scores.items()
    ]


def read_json(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_text())


class Page(html.parser.HTMLParser):
    """The elements of a page, its text, and whether its tags are balanced."""

    VOID = ("meta", "img", "br")

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_mean_sample_deviation_and_median_are_those_of_the_reported_checkpoints(
    runs: list[Path], tmp_path: Path
) -> None:
    report(runs=runs, output=tmp_path / "report")
    summary = read_json(tmp_path / "report")
    ours = summary["methods"][0]
    assert ours["mean"] == pytest.approx(26.0)
    assert ours["deviation"] == pytest.approx(np.std([30, 20, 28], ddof=1))
    assert (ours["median"], ours["median_seed"]) == (28.0, 3)
    assert ours["checkpoints"]["best"]["mean"] == pytest.approx(26.0)
    assert ours["checkpoints"]["last"]["mean"] == pytest.approx(22.0)
    assert [seed["checkpoint"] for seed in ours["seeds"]] == ["best"] * 3
    assert ours["iou"]["road"] == {
        "mean": pytest.approx(52.0),
        "deviation": pytest.approx(np.std([60, 40, 56], ddof=1)),
        "min": 40.0,
        "max": 60.0,
        "seeds": 3,
    }
    assert ours["iou"]["train"] is None


@pytest.mark.parametrize(
    "last, profile, verdict, said",
    [
        (58.3, "paper", "not comparable", "Not comparable: other data or sizes"),
        (65.7, "paper", "below", "65.7, is below the band, which begins at 65.8"),
        (65.9, "paper", "inside", "65.9, is inside the band from 65.8"),
        (68.4, "paper", "above", "68.4, is above it"),
        (65.9, "demo", "not comparable", "Not comparable: other data or sizes"),
    ],
)
def test_an_experiment_is_shown_beside_its_published_figure(
    last: float, profile: str, verdict: str, said: str, tmp_path: Path
) -> None:
    """The last checkpoint is compared, which the references test."""
    folder = write_run(tmp_path / "run", seed=1, miou=49.0, last=20.0)
    about = json.loads((folder / "run.json").read_text())
    about |= {"profile": profile, "target_images": "all", "experiment": "daformer-gta-mit-b5-uda"}
    about |= {"data": "Drawn street scenes"} if last == 58.3 else {}
    (folder / "run.json").write_text(json.dumps(about))
    evaluated(folder / "evaluation_last", folder / "segmentor" / "last.safetensors", last)
    table = report(runs=[folder], output=tmp_path / "report")
    published = read_json(tmp_path / "report")["published"]
    assert (published["verdict"], published["checkpoint"], published["miou"]) == (verdict, "last", 68.3)
    assert f"published 68.3 (DAFormer (CVPR 2022)), counts from 65.8: {verdict}" in table
    text = " ".join(Page(tmp_path / "report" / "report.html").text.split())
    assert said in text and "others reached 66.1, 66.2, 68.3" in text
    assert "DAFormer, all target images" in text


def test_a_run_that_is_no_experiment_has_no_published_figure(runs: list[Path], tmp_path: Path) -> None:
    assert "published" not in report(runs=runs, output=tmp_path / "report")
    assert read_json(tmp_path / "report")["published"] is None


def evaluated(folder: Path, checkpoint: Path, miou: float) -> None:
    """Scores of exactly `miou` over two classes."""
    confusion = np.zeros((19, 19), dtype=np.int64)
    right = round(100 * miou)
    confusion[0, 0] = confusion[13, 13] = right
    confusion[0, 13] = confusion[13, 0] = (10_000 - right) // 2
    about = {"images": 3, "checkpoint": checkpoint.name, "checkpoint_sha256": sha256(checkpoint)}
    (folder / "metrics.json").write_text(json.dumps(score(confusion) | about))


def test_the_median_checkpoint_is_copied_out_with_what_belongs_to_it(
    runs: list[Path], tmp_path: Path
) -> None:
    (runs[2] / "segmentor" / "stray.txt").write_text("not ours")
    report(runs=runs, output=tmp_path / "report")
    copied = tmp_path / "report" / "median_checkpoint"
    files = {file.name: file.read_bytes() for file in copied.iterdir()}
    assert files.pop("README.md").decode().count("best.safetensors") >= 3
    assert files == {
        "best.safetensors": b"daformer 3 best",
        "config.yaml": (runs[2] / "segmentor" / "config.yaml").read_bytes(),
        "provenance.json": (runs[2] / "segmentor" / "provenance.json").read_bytes(),
        "metrics.json": (runs[2] / "evaluation" / "metrics.json").read_bytes(),
        "one_shot.png": (runs[2] / "one_shot.png").read_bytes(),
    }
    said = read_json(tmp_path / "report")["median_checkpoint"]
    assert said["sha256"] == sha256(tmp_path / "report" / said["file"])


def test_the_checkpoint_is_named_by_its_content_not_by_the_folder(runs: list[Path], tmp_path: Path) -> None:
    for run in runs:
        shutil.rmtree(run / "evaluation")
        (run / "evaluation_last").rename(run / "evaluation")
    report(runs=runs, output=tmp_path / "report")
    ours = read_json(tmp_path / "report")["methods"][0]
    assert [seed["checkpoint"] for seed in ours["seeds"]] == ["last"] * 3
    assert ours["checkpoints"]["best"] is None
    assert (tmp_path / "report" / "median_checkpoint" / "last.safetensors").is_file()


@pytest.mark.parametrize(("seeds", "median"), [(1, 1), (2, 2)])
def test_one_or_two_seeds_give_a_report_too(
    runs: list[Path], tmp_path: Path, seeds: int, median: int
) -> None:
    report(runs=runs[:seeds], output=tmp_path / "report")
    ours = read_json(tmp_path / "report")["methods"][0]
    assert ours["median_seed"] == median
    assert (ours["deviation"] is None) == (seeds == 1)
    text = Page(tmp_path / "report" / "report.html").text
    assert ("no deviation can be given" in text) == (seeds == 1)
    assert ("the lower of the two in the middle" in text) == (seeds == 2)


def repeated(folder: Path, scores: Sequence[float], images: int) -> list[Path]:
    """Runs with the seeds 1, 2, … and these scores, of so many one-shot images in turn."""
    runs = [write_run(folder / f"seed-{n}", seed=n, miou=score) for n, score in enumerate(scores, start=1)]
    for position, run in enumerate(runs[images:], start=images):
        shutil.copyfile(runs[position % images] / "one_shot.png", run / "one_shot.png")
    return runs


def test_the_spread_between_one_shot_images_and_that_between_repeats_of_one_are_told_apart(
    tmp_path: Path,
) -> None:
    runs = repeated(tmp_path / "runs", [10.0, 20.0, 30.0, 12.0, 21.0, 36.0], images=3)
    report(runs=runs, output=tmp_path / "report")
    (ours,) = read_json(tmp_path / "report")["methods"]
    spread = ours["one_shot_spread"]
    assert spread["between_images"] == pytest.approx(np.std([11.0, 20.5, 33.0], ddof=1))
    # (1 + 1 + 0.25 + 0.25 + 9 + 9) over 6 runs less 3 images.
    assert spread["within_images"] == pytest.approx((20.5 / 3) ** 0.5)
    assert [image["seeds"] for image in spread["images"]] == [[1, 4], [2, 5], [3, 6]]
    assert [image["mean"] for image in spread["images"]] == pytest.approx([11.0, 20.5, 33.0])
    assert spread["images"][0]["deviation"] == pytest.approx(np.std([10.0, 12.0], ddof=1))
    assert spread["images"][0]["sha256"] == sha256(runs[0] / "one_shot.png")
    assert ours["mean"] == pytest.approx(21.5), "of all runs"
    assert ours["median_seed"] == 2, "of all runs: the lower of the two in the middle"
    line = summary_table(read_json(tmp_path / "report")).splitlines()[-1]
    assert line == (f"{ours['name']}: deviation 11.03 between 3 one-shot images, 2.61 between repeats of one")
    page = Page(tmp_path / "report" / "report.html")
    assert "a deviation of 11.0 between the means of 3 images, of 2.6 between repeats" in page.text
    assert "Seed 4 · the one-shot image of seed 1" in page.text
    shown = [a["alt"] for tag, a in page.elements if tag == "img" and "One-shot target" in (a["alt"] or "")]
    assert shown == [f"One-shot target image of seed {seed}" for seed in (1, 2, 3)]


def test_repeats_of_one_image_have_no_spread_between_images(tmp_path: Path) -> None:
    report(runs=repeated(tmp_path / "runs", [10.0, 20.0], images=1), output=tmp_path / "report")
    (ours,) = read_json(tmp_path / "report")["methods"]
    assert ours["one_shot_spread"]["between_images"] is None
    assert ours["one_shot_spread"]["within_images"] == pytest.approx(50**0.5)
    text = Page(tmp_path / "report" / "report.html").text
    assert "one image, of 7.1 between repeats" in text and "Seed 2 · the one-shot image of seed 1" in text


def test_seeds_with_an_image_each_and_methods_that_see_none_are_not_split(
    runs: list[Path], tmp_path: Path
) -> None:
    unseeing = [write_run(tmp_path / f"b{n}", seed=n, miou=10.0 + n, method="source-only") for n in (1, 2, 3)]
    for run in unseeing:
        shutil.copyfile(runs[0] / "one_shot.png", run / "one_shot.png")
    report(runs=runs, baselines={"source-only": unseeing}, output=tmp_path / "report")
    methods = read_json(tmp_path / "report")["methods"]
    assert [method["one_shot_spread"] for method in methods] == [None, None]


def test_five_seeds_have_one_in_the_middle_and_a_row_each(tmp_path: Path) -> None:
    scores = [30.0, 10.0, 20.0, 45.0, 40.0]
    runs = [write_run(tmp_path / f"seed-{n}", seed=n, miou=score) for n, score in enumerate(scores)]
    report(runs=runs, output=tmp_path / "report")
    summary = read_json(tmp_path / "report")
    assert (summary["median_checkpoint"]["seed"], summary["median_checkpoint"]["miou"]) == (0, 30.0)
    assert summary["methods"][0]["deviation"] == pytest.approx(np.std(scores, ddof=1))
    assert "over 5 seeds" in Page(tmp_path / "report" / "report.html").text


def test_the_page_says_plainly_whether_the_method_wins_or_loses(runs: list[Path], tmp_path: Path) -> None:
    baselines = {
        name: [write_run(tmp_path / f"{name}{seed}", seed=seed, miou=miou, method=name) for seed in seeds]
        for name, miou, seeds in [("worse", 10, (1, 2)), ("better", 29, (1, 2)), ("alone", 10, (1,))]
    }
    report(runs=runs, output=tmp_path / "report", baselines=baselines)
    text = " ".join(Page(tmp_path / "report" / "report.html").text.split())
    assert "16.0 points above worse; the seeds of the two do not overlap." in text
    assert "Loses to better by 3.0 points, but the seeds of the two overlap" in text
    assert "16.0 points above alone, by a single seed: it may be chance." in text
    differences = read_json(tmp_path / "report")["differences"]
    assert [round(d["difference"], 6) for d in differences] == [16.0, -3.0, 16.0]


def test_without_a_baseline_the_page_claims_nothing(runs: list[Path], tmp_path: Path) -> None:
    report(runs=runs, output=tmp_path / "report")
    assert "cannot say whether adaptation helped" in Page(tmp_path / "report" / "report.html").text


def test_synthia_is_headed_by_the_mean_over_its_16_classes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", seed=1, miou=30, benchmark="synthia-to-cityscapes")
    metrics_file = run / "evaluation" / "metrics.json"
    confusion = np.zeros((19, 19), dtype=np.int64)
    # Road, and terrain, which is none of the 16: 60 and 0 percent.
    confusion[0, 0], confusion[9, 0] = 60, 40
    metrics_file.write_text(json.dumps(json.loads(metrics_file.read_text()) | score(confusion)))
    report(runs=[run], output=tmp_path / "report")
    summary = read_json(tmp_path / "report")
    assert summary["headline"]["classes"] == "16"
    assert summary["methods"][0]["mean"] == 60.0
    assert summary["methods"][0]["miou"]["19"]["mean"] == 30.0
    assert summary["methods"][0]["seeds"][0]["miou_19_times_19_over_16"] == pytest.approx(35.625)


def test_the_page_needs_nothing_else_and_runs_no_script(runs: list[Path], tmp_path: Path) -> None:
    report(runs=runs, output=tmp_path / "report", baselines={"<i>name</i>": [runs[0]]})
    page = Page(tmp_path / "report" / "report.html")
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "i-name"}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:image/").startswith("data:image/")
        if tag == "img":
            assert attributes["alt"]
    # What files and options say is text on the page, never markup.
    assert "<script>alert(1)</script>" in page.text
    assert "<b>bold</b>" in page.text
    assert "<i>name</i>" in page.text


def test_a_page_with_large_noisy_pictures_stays_below_5_megabytes(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"{seed}", seed=seed, miou=20 + seed, size=(320, 640)) for seed in (1, 2, 3)]
    report(runs=runs, output=tmp_path / "report")
    assert (tmp_path / "report" / "report.html").stat().st_size < 5_000_000


@pytest.mark.parametrize("loss", ["1e-300", "-1e-13", "0", "999999999999999", "5e-324"])
def test_losses_of_any_size_have_a_chart(runs: list[Path], tmp_path: Path, loss: str) -> None:
    lines = [f'{{"iteration": {i}, "source": {loss}, "miou": {loss}}}\n' for i in (1, 2)]
    (runs[0] / "segmentor" / "training.jsonl").write_text("".join(lines))
    report(runs=runs[:1], output=tmp_path / "report")
    assert (tmp_path / "report" / "report.html").read_text().count("<polyline") == 2


def test_generated_images_are_the_first_of_each_prompt(runs: list[Path], tmp_path: Path) -> None:
    report(runs=runs[:1], output=tmp_path / "report")
    page = Page(tmp_path / "report" / "report.html")
    alts = [str(a["alt"]) for tag, a in page.elements if tag == "img" and "Image generated" in str(a["alt"])]
    assert [alt.partition(": ")[2] for alt in alts] == [*PROMPTS, *PROMPTS, *PROMPTS, PROMPTS[0]]


def test_the_summary_table_is_aligned_and_has_a_line_a_method(runs: list[Path], tmp_path: Path) -> None:
    baseline = [write_run(tmp_path / "b", seed=7, miou=9.5, method="source-only")]
    table = report(runs=runs, output=tmp_path / "report", baselines={"source-only": baseline})
    assert table == summary_table(read_json(tmp_path / "report"))
    assert table.splitlines() == [
        "mIoU over 19 classes, percent, gta-to-cityscapes",
        "method             mean  ± 95 %  deviation  median  seeds",
        "DATUM + DAFormer  26.00   13.14       5.29   28.00  1:30.00 2:20.00 3:28.00",
        "source-only        9.50       -          -    9.50  7:9.50",
    ]


def test_a_report_that_is_written_is_kept_and_gives_way_to_one_of_other_runs_only(
    runs: list[Path], tmp_path: Path
) -> None:
    report(runs=runs, output=tmp_path / "report")
    before = (tmp_path / "report" / "report.html").stat().st_mtime_ns
    report(runs=runs, output=tmp_path / "report")
    assert (tmp_path / "report" / "report.html").stat().st_mtime_ns == before
    report(runs=runs[:2], output=tmp_path / "report")
    assert len(json.loads((tmp_path / "report" / "report.json").read_text())["methods"][0]["seeds"]) == 2
    with pytest.raises(InputError, match="already holds something else"):
        report(runs=runs, output=runs[0])


def replace_in(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).write_bytes((run / name).read_bytes()[:-300])

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("run.json"), "run.json: missing"),
        (remove("one_shot.png"), "one_shot.png: missing"),
        (remove("segmentor/last.safetensors"), "last.safetensors: missing"),
        (remove("segmentor/provenance.json"), "provenance.json: missing"),
        (remove("evaluation/metrics.json"), "metrics.json: missing"),
        (remove("generated/manifest.jsonl"), "manifest.jsonl: missing"),
        (remove("generated/images/im_0_p0.png"), "im_0_p0.png: missing"),
        (remove("evaluation/examples/bonn_000001_000019_label.png"), "bonn_000001_000019_label.png: missing"),
        (cut("generated/images/im_0_p0.png"), "im_0_p0.png: cannot be decoded"),
        (cut("evaluation/metrics.json"), "metrics.json: is not JSON"),
        (replace_in("run.json", '"seed": 3', '"seed": "3"'), "run.json: found seed '3', expected .* int"),
        (replace_in("run.json", "mit-b0", "mit-b5"), "found encoder 'mit-b5', expected 'mit-b0'"),
        (replace_in("run.json", '"seed": 3', '"seed": 1'), "has seed 1, as has"),
        (replace_in("evaluation/metrics.json", '"road"', '"rood"'), "metrics.json: is not a metrics.json"),
        (
            replace_in("evaluation/metrics.json", '"images": 3', '"images": 4'),
            "evaluated on 4 images, .* on 3",
        ),
        (
            replace_in("evaluation/metrics.json", '"checkpoint_sha256": "', '"checkpoint_sha256": "0'),
            "64 hexadecimal digits",
        ),
        (replace_in("segmentor/training.jsonl", "2.0", '"x"'), "training.jsonl, line 1: expected"),
        (replace_in("generated/manifest.jsonl", "images/im_0", "../../../im"), "line 1: file is .*im_p0"),
    ],
)
def test_a_missing_or_broken_part_is_named_and_nothing_is_written(
    runs: list[Path], tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    replace_in("segmentor/training.jsonl", "1.99", "2.0")(runs[2])
    damage(runs[2])
    with pytest.raises(InputError, match=message):
        report(runs=runs, output=tmp_path / "report")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed-1", "seed-2", "seed-3"]


def test_a_baseline_of_another_benchmark_is_refused(runs: list[Path], tmp_path: Path) -> None:
    other = write_run(tmp_path / "o", seed=1, miou=9, method="source-only", benchmark="synthia-to-cityscapes")
    with pytest.raises(InputError, match=r"--baseline source-only .*found benchmark"):
        report(runs=runs, output=tmp_path / "report", baselines={"source-only": [other]})
