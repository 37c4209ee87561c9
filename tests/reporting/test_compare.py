"""`datum compare`: its numbers against independent ones, its three files, and what it refuses."""

import json
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datum.cli import main
from datum.errors import InputError
from datum.formats.image_scores import image_score, write_image_scores
from datum.labels import CLASS_NAMES, SYNTHIA_13, SYNTHIA_16
from datum.outputs import sha256
from datum.reporting.bootstrap import RESAMPLES
from datum.reporting.compare import compare, short_names
from datum.reporting.report import report
from datum.segmentation.iou import score
from tests.reporting.test_report import Page, write_run

IMAGES = 24
OVER = {"19": CLASS_NAMES, "16": SYNTHIA_16, "13": SYNTHIA_13}
ROAD, CAR, TRAIN = 0, 13, 16


def matrices(seed: int, right: float, images: int = IMAGES, absent: Sequence[int] = (TRAIN,)) -> np.ndarray:
    """int64[images, 19, 19]: the same ground truth for every `seed`, of which about `right` is predicted
    right; the classes `absent` do not occur."""
    labels, noise = np.random.default_rng(7), np.random.default_rng(seed)
    truth = labels.integers(0, 400, (images, 19))
    truth[:, list(absent)] = 0
    found = np.zeros((images, 19, 19), dtype=np.int64)
    for image in range(images):
        for train_id in range(19):
            hits = noise.binomial(truth[image, train_id], min(1.0, right * noise.uniform(0.8, 1.2)))
            found[image, train_id, train_id] = hits
            found[image, train_id, ROAD if train_id else CAR] += truth[image, train_id] - hits
    return found


def evaluated(folder: Path, counted: np.ndarray, *, kept: bool = True) -> Path:
    """A run whose reported checkpoint has these counts, which are kept by image, or not."""
    evaluation = folder / "evaluation"
    about = {"images": len(counted), "checkpoint_sha256": sha256(folder / "segmentor" / "best.safetensors")}
    (evaluation / "metrics.json").write_text(json.dumps(score(counted.sum(axis=0)) | about))
    if kept:
        scores = [image_score(f"bonn_{i:06d}_000019", one) for i, one in enumerate(counted)]
        # The order in which images were tested says nothing.
        write_image_scores(evaluation, scores[:: 1 if scores[0].right[0] % 2 else -1])
    return folder


def reported(folder: Path, counted: Mapping[int, np.ndarray], *, kept: bool = True, **options: Any) -> Path:
    """A report on a run for each seed."""
    runs = [
        evaluated(write_run(folder / f"seed-{seed}", seed=seed, miou=10, **options), one, kept=kept)
        for seed, one in counted.items()
    ]
    report(runs=runs, output=folder / "report")
    return folder / "report"


def compared(tmp_path: Path, *places: Path) -> Any:
    compare({str(place): place for place in places}, tmp_path / "comparison")
    return json.loads((tmp_path / "comparison" / "comparison.json").read_text())


def miou(confusion: np.ndarray, over: str) -> float:
    """Written apart from the product's: a loop over classes."""
    scores = []
    for name in OVER[over]:
        k = CLASS_NAMES.index(name)
        union = confusion[k, :].sum() + confusion[:, k].sum() - confusion[k, k]
        if union:
            scores.append(100.0 * confusion[k, k] / union)
    return float(np.mean(scores))


@pytest.mark.parametrize("seeds", [(1,), (1, 2), (1, 2, 3, 4, 5)], ids=str)
def test_means_and_differences_are_those_of_an_independent_count(
    tmp_path: Path, seeds: Sequence[int]
) -> None:
    ours = {seed: matrices(seed, 0.8) for seed in seeds}
    # Its second seed has failed.
    others = {seed: matrices(10 + seed, 0.7) for seed in seeds if seed != 2}
    found = compared(tmp_path, reported(tmp_path / "a", others), reported(tmp_path / "b", ours))
    for over in OVER:
        means = [
            statistics.fmean(miou(one.sum(axis=0), over) for one in side.values()) for side in (others, ours)
        ]
        assert [run["mean"][over] for run in found["runs"]] == pytest.approx(means)
        (difference,) = found["differences"]
        assert difference["miou"][over] == pytest.approx(means[1] - means[0])
        for seed in difference["seeds"]:
            expected = miou(ours[seed["seed"]].sum(axis=0), over) - miou(
                others[seed["seed"]].sum(axis=0), over
            )
            assert seed["miou"][over] == pytest.approx(expected)
    assert [seed["seed"] for seed in found["differences"][0]["seeds"]] == list(others)
    values = sorted(miou(one.sum(axis=0), "19") for one in ours.values())
    assert found["runs"][1]["median"] == pytest.approx(values[(len(values) - 1) // 2])


def test_intervals_are_those_of_a_plain_bootstrap_over_the_same_images(tmp_path: Path) -> None:
    ours, others = matrices(1, 0.8), matrices(2, 0.7)
    found = compared(tmp_path, reported(tmp_path / "a", {1: others}), reported(tmp_path / "b", {1: ours}))
    random = np.random.default_rng(3)
    draws = [random.integers(0, IMAGES, IMAGES) for _ in range(RESAMPLES)]
    values = np.array([[miou(one[draw].sum(axis=0), "19") for one in (ours, others)] for draw in draws])
    spread = values.std(axis=0)
    for expected, interval in (
        (np.percentile(values[:, 0], [2.5, 97.5]), found["runs"][1]["seeds"][0]["interval"]["19"]),
        (np.percentile(values[:, 1], [2.5, 97.5]), found["runs"][0]["interval"]["19"]),
        (np.percentile(values[:, 0] - values[:, 1], [2.5, 97.5]), found["differences"][0]["interval"]["19"]),
    ):
        # Two bootstraps of other draws differ by some hundredths of the spread.
        assert interval == pytest.approx(expected, abs=0.2 * spread.max())
    assert found["differences"][0]["may_be_images"] is False


def test_runs_that_are_equal_have_no_difference_and_no_winner(tmp_path: Path) -> None:
    counted = {1: matrices(1, 0.8), 2: matrices(2, 0.8)}
    found = compared(tmp_path, reported(tmp_path / "a", counted), reported(tmp_path / "b", counted))
    (difference,) = found["differences"]
    assert difference["miou"]["19"] == 0 and difference["interval"]["19"] == [0, 0]
    assert "b is level with a." in Page(tmp_path / "comparison" / "comparison.html").text


def test_a_class_that_does_not_occur_has_no_figure_anywhere(tmp_path: Path) -> None:
    found = compared(
        tmp_path,
        reported(tmp_path / "a", {1: matrices(1, 0.8)}),
        reported(tmp_path / "b", {1: matrices(2, 0.8)}),
    )
    by_class = {row["class"]: row for row in found["classes"]}
    assert by_class["train"] == {
        "class": "train",
        "iou": [None, None],
        "differences": [None],
        "intervals": [None],
    }
    low, high = by_class["car"]["intervals"][0]
    assert low <= by_class["car"]["differences"][0] <= high
    text = (tmp_path / "comparison" / "comparison.md").read_text()
    assert "| train | – | – | – | – |" in text


def test_page_and_markdown_show_the_numbers_of_the_json(tmp_path: Path) -> None:
    sides = [
        reported(tmp_path / name, {s: matrices(s + 10 * n, 0.7 + n / 20) for s in (1, 2, 3)})
        for n, name in enumerate("abc")
    ]
    found = compared(tmp_path, *sides)
    page = Page(tmp_path / "comparison" / "comparison.html")
    text = (tmp_path / "comparison" / "comparison.md").read_text()
    assert page.open == []

    def shown(value: float) -> str:
        return f"{value:.2f}".replace("-", "−")

    numbers = [run["mean"][over] for run in found["runs"] for over in OVER]
    numbers += [end for run in found["runs"] for end in run["interval"]["19"]]
    numbers += [seed["miou"]["19"] for run in found["runs"] for seed in run["seeds"]]
    numbers += [abs(one["miou"][over]) for one in found["differences"] for over in OVER]
    numbers += [value for row in found["classes"] for value in row["iou"] if value is not None]
    for number in numbers:
        assert shown(number) in page.text and shown(number) in text
    # Every number of the tables stands in both.
    assert [cell for cell in re.findall(r"[+−]?\d+\.\d\d\b", text) if cell not in page.text] == []


def test_the_page_runs_no_script_and_asks_for_nothing(tmp_path: Path) -> None:
    odd = tmp_path / "<script>alert(1)</script>"
    compared(
        tmp_path,
        reported(tmp_path / "a", {1: matrices(1, 0.8)}),
        reported(odd, {1: matrices(2, 0.8)}),
    )
    page = Page(tmp_path / "comparison" / "comparison.html")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset"):
            assert str(attributes.get(name, "data:")).startswith("data:"), tag
    assert "<script>" not in (tmp_path / "comparison" / "comparison.md").read_text()


def test_the_same_pictures_stand_side_by_side_with_the_curves_of_every_seed(tmp_path: Path) -> None:
    compared(
        tmp_path,
        reported(tmp_path / "a", {1: matrices(1, 0.8), 2: matrices(2, 0.8)}),
        reported(tmp_path / "b", {1: matrices(3, 0.8)}),
    )
    page = Page(tmp_path / "comparison" / "comparison.html")
    called = [str(attributes["alt"]) for tag, attributes in page.elements if tag == "img"]
    for name in ("aachen_000000_000019", "bonn_000001_000019"):
        assert [c for c in called if name in c] == [
            f"Validation image {name}",
            f"Ground truth of {name}",
            f"Prediction of a for {name}",
            f"Prediction of b for {name}",
        ]
    lines = [attributes["class"] for tag, attributes in page.elements if tag == "polyline"]
    assert lines[:3] == ["line seed-0", "line seed-0", "line seed-1"]


def test_a_report_of_an_earlier_release_is_compared_without_intervals_and_says_so(tmp_path: Path) -> None:
    sides = [
        reported(tmp_path / name, {1: matrices(n, 0.8), 2: matrices(n + 5, 0.8)}, kept=name == "new")
        for n, name in enumerate(("old", "new"))
    ]
    alone = shutil.copytree(sides[0], tmp_path / "elsewhere" / "old")
    shutil.rmtree(alone / "seeds")
    figures = json.loads((alone / "report.json").read_text())
    for key in ("experiment", "target_images", "data", "published", "labeled_drawings"):
        del figures[key]
    for method in figures["methods"]:
        del method["interval"], method["one_shot_spread"]
    (alone / "report.json").write_text(json.dumps(figures))
    found = compared(tmp_path, alone, sides[1])
    old, new = found["runs"]
    assert old["interval"] is None and new["interval"] is not None
    assert found["differences"][0]["interval"] is None
    assert found["differences"][0]["may_be_images"] is None
    text = Page(tmp_path / "comparison" / "comparison.html").text
    assert "old lacks the counts by image, so its figures have no intervals." in text
    assert "old lacks training logs" in text and "Ground truth" not in text.split("What the numbers mean")[1]
    assert "what the choice of images makes cannot be told" in text


def test_a_seeds_run_and_the_output_of_a_whole_run_are_compared_too(tmp_path: Path) -> None:
    ours, others = {1: matrices(1, 0.8), 2: matrices(2, 0.8)}, {1: matrices(3, 0.8)}
    reported(tmp_path / "a", ours)
    reported(tmp_path / "b", others)
    found = compared(tmp_path, tmp_path / "a", tmp_path / "b" / "seed-1")
    assert [run["name"] for run in found["runs"]] == ["a", "seed-1"]
    assert found["runs"][1]["mean"]["19"] == pytest.approx(miou(others[1].sum(axis=0), "19"))
    assert found["runs"][1]["interval"] is not None


def test_settings_that_differ_are_told_and_others_are_not(tmp_path: Path) -> None:
    sides = []
    for n, name in enumerate("ab"):
        sides.append(reported(tmp_path / name, {1: matrices(n, 0.8)}))
        training = {
            "stage": "adapt",
            "settings": {"adaptation": {"iterations": 40 + n, "crop": 64}, "evaluation": {"flip": n == 0}},
            "versions": {"torch": f"2.{n}"},
        }
        drawing = {"stage": "generate", "settings": {"count": 8}}
        testing = {"stage": "evaluate", "settings": {"flip": False}, "made_from": {"checkpoint": training}}
        training["made_from"] = {"target": drawing}
        record = {"stage": "report", "made_from": {"evaluations": [testing, {}]}}
        (sides[-1] / "provenance.json").write_text(json.dumps(record))
    found = compared(tmp_path, *sides)
    assert found["settings"] == [
        {"setting": "adaptation.iterations", "values": [40, 41]},
        {"setting": "made with torch", "values": ["2.0", "2.1"]},
    ]


def change(name: str, old: str, new: str) -> Any:
    def apply(place: Path) -> None:
        text = (place / name).read_text()
        assert old in text
        (place / name).write_text(text.replace(old, new))

    return apply


@pytest.mark.parametrize(
    "damage, message",
    [
        (change("report.json", '"benchmark": "gta', '"benchmark": "synthia'), "found benchmark 'synthia-"),
        (change("report.json", '"data": ""', '"data": "camvid"'), "found data 'camvid', expected ''"),
        (change("report.json", '"images": 24', '"images": 23'), "found images 23, expected 24"),
        (change("report.json", '"classes": "19"', '"classes": "16"'), "over 16 classes, expected 19"),
        (change("report.json", '"classes": "19"', '"classes": "18"'), "how many classes"),
        (change("report.json", '"road"', '"rood"'), "has no methods with a name and seeds"),
        (change("report.json", '"seed": 1', '"seed": "one"'), "has no methods|names no median"),
        (change("report.json", "{", "["), "is not JSON"),
        (
            change("seeds/1/image_scores.jsonl", "bonn_000003", "jena_000003"),
            "other images than .* bonn_000003",
        ),
        (change("seeds/1/image_scores.jsonl", "[", "[-1,"), "expected an image and 19 counts"),
        (change("seeds/1/training.jsonl", "{", ""), "is not JSON"),
        (lambda place: shutil.rmtree(place / "median_checkpoint"), "metrics.json: missing"),
        (lambda place: (place / "report.json").unlink(), "holds neither report.json nor run.json"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_nothing_is_written(
    tmp_path: Path, damage: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [reported(tmp_path / name, {1: matrices(n, 0.8)}) for n, name in enumerate("ab")]
    alone = shutil.copytree(sides[1], tmp_path / "c")
    damage(alone)
    with pytest.raises(SystemExit) as end:
        main(["compare", str(sides[0]), str(alone), "--output", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and said.startswith("datum: ")
    assert re.search(message, said)
    assert not (tmp_path / "out").exists()


def test_other_labels_of_the_same_images_are_refused(tmp_path: Path) -> None:
    first = reported(tmp_path / "a", {1: matrices(1, 0.8)})
    second = reported(tmp_path / "b", {1: matrices(1, 0.8, absent=(TRAIN, CAR))})
    with pytest.raises(InputError, match="0 labeled pixels of car, expected"):
        compared(tmp_path, first, second)


def test_a_published_report_is_compared_by_its_uri(
    tmp_path: Path, s3_bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from datum.formats.published_report import publish_report_at

    places = []
    for n, name in enumerate("ab"):
        places.append(f"s3://{s3_bucket}/reports/{name}")
        publish_report_at(places[-1], reported(tmp_path / name, {1: matrices(n, 0.8)}))
    main(["compare", *places, "--output", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [run["place"] for run in found["runs"]] == places
    assert found["differences"][0]["interval"] is not None
    assert capsys.readouterr().out.strip().endswith("comparison.html")
    with pytest.raises(SystemExit) as end:
        main(["compare", places[0], f"s3://{s3_bucket}/none", "--output", str(tmp_path / "again")])
    assert end.value.code == 2


def test_a_run_on_the_cluster_is_compared_by_its_id(tmp_path: Path) -> None:
    run = "9546c397-0f5a-4400-89ed-7b3bfe56087d"
    reported(tmp_path / "a", {1: matrices(1, 0.8)}).rename(tmp_path / run)
    other = reported(tmp_path / "b", {1: matrices(2, 0.8)})
    settings = ["--set", f"reports=file://{tmp_path}"]
    main(["compare", run, str(other), *settings, "--output", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [one["name"] for one in found["runs"]] == [run, "b"]
    assert found["differences"][0]["interval"] is not None


@pytest.mark.parametrize("words", [["a"], ["a", "a"], ["a", "b"]])
def test_fewer_than_two_runs_and_runs_that_are_not_there_are_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["compare", *words, "--output", "out"])
    assert end.value.code == 2


def test_runs_are_called_by_what_tells_them_apart() -> None:
    assert list(short_names(["/x/a/report", "/x/b/"]).values()) == ["a", "b"]
    assert list(short_names(["one/run", "two/run"]).values()) == ["one/run", "two/run"]
