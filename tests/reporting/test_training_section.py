"""What the report says of trainings: learning curves, pictures of what was mixed, time and memory."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datum.errors import InputError
from datum.formats.mix_pictures import PANELS, MixPictures
from datum.reporting.report import report
from tests.reporting.test_report import Page, write_run


def write_training(run: Path, *, iterations: int = 1000, panels: int = 7, side: int = 32) -> Path:
    """Gives a run the log of a self-training, and noise for five pictures."""
    lines = [
        {
            "iteration": i,
            "source": 2.0,
            "source_detail": 0.25,
            "mixed": 0.5,
            "confident_share": i / iterations,
            "learning_rate": 1e-4,
            "images_per_second": 4.0 + (i == 10),
            "peak_memory": 2_500_000_000 + i,
            "seconds": 3.6 * i,
        }
        for i in range(10, iterations + 1, 10)
    ]
    text = "".join(json.dumps(line) + "\n" for line in [*lines, {"iteration": iterations, "miou": 30.0}])
    (run / "segmentor" / "training.jsonl").write_text(text)
    pictures = MixPictures(run / "segmentor")
    random = np.random.default_rng(0)
    for fifth in range(1, 6):
        squares = random.integers(0, 256, (panels, side, side, 3), dtype=np.uint8)
        pictures.add(iterations * fifth // 5, [Image.fromarray(square) for square in squares])
    return run


def captions(page: Page) -> list[str]:
    """Of the pictures of mixed images."""
    alts = [str(attributes["alt"]) for tag, attributes in page.elements if tag == "img"]
    return [alt for alt in alts if ", iteration " in alt]


@pytest.mark.parametrize("panels", [7, 8])
def test_the_median_seed_shows_what_it_learned_from_early_and_late_and_others_their_end(
    tmp_path: Path, panels: int
) -> None:
    runs = [
        write_training(write_run(tmp_path / f"{s}", seed=s, miou=20 + s), panels=panels) for s in (1, 2, 3)
    ]
    baseline = write_training(write_run(tmp_path / "b", seed=9, miou=9, method="one-image"), panels=panels)
    report(runs=runs, output=tmp_path / "report", baselines={"one-image": [baseline]})
    page = Page(tmp_path / "report" / "report.html")
    squares = list(PANELS.values())[:panels]
    expected = [("DATUM + DAFormer", 1, [1000]), ("DATUM + DAFormer", 2, [200, 600, 1000])]
    expected += [("DATUM + DAFormer", 3, [1000]), ("one-image", 9, [200, 600, 1000])]
    assert captions(page) == [
        f"{square}, iteration {iteration} of {method}, seed {seed}"
        for method, seed, iterations in expected
        for iteration in iterations
        for square in squares
    ]
    assert ("what is hidden is to be labeled all the same" in page.text) == (panels == 8)
    made_from = json.loads((tmp_path / "report" / "provenance.json").read_text())["inputs"]["runs"]
    assert [sum("pictures/" in name for name in run["files"]) for run in made_from] == [1, 3, 1]


def test_every_term_that_was_logged_has_a_curve_and_a_baseline_is_beside_it(tmp_path: Path) -> None:
    run = write_training(write_run(tmp_path / "run", seed=1, miou=30))
    baseline = write_run(tmp_path / "baseline", seed=1, miou=20, method="source-only")
    report(runs=[run], output=tmp_path / "report", baselines={"source-only": [baseline]})
    text = (tmp_path / "report" / "report.html").read_text()
    titles = re.findall(r'aria-label="([^"]*), by iteration, a line per seed"', text)
    assert titles == [
        "Loss on labeled source images",
        "Loss on mixed images",
        "Target pixels with a confident pseudo-label, percent",
        "Validation mIoU over 19 classes, percent",
    ]
    assert text.count('<polyline class="line seed-0') == 4
    assert text.count('<polyline class="line baseline') == 3


def test_what_a_training_took_is_told_where_its_log_says_so(tmp_path: Path) -> None:
    run = write_training(write_run(tmp_path / "run", seed=1, miou=30))
    old = write_run(tmp_path / "old", seed=1, miou=20, method="source-only")
    report(runs=[run], output=tmp_path / "report", baselines={"source-only": [old]})
    text = " ".join(Page(tmp_path / "report" / "report.html").text.split())
    assert "DATUM + DAFormer11h00m42.5" in text.replace(" ", "").replace("DATUM+DAFormer", "DATUM + DAFormer")


def test_a_run_without_pictures_and_with_an_older_log_has_a_page_all_the_same(tmp_path: Path) -> None:
    report(runs=[write_run(tmp_path / "run", seed=1, miou=30)], output=tmp_path / "report")
    page = Page(tmp_path / "report" / "report.html")
    assert captions(page) == [] and "What it learned from" not in page.text
    assert "What each training took" not in page.text and "Loss on labeled source images" in page.text


def test_a_broken_picture_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    run = write_training(write_run(tmp_path / "run", seed=1, miou=30))
    Image.new("RGB", (10, 10)).save(run / "segmentor" / "pictures" / "000600.jpg")
    with pytest.raises(
        InputError, match=r"pictures/000600\.jpg: found 10x10 pixels, expected 7 or 8 squares"
    ):
        report(runs=[run], output=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_page_with_noise_in_all_pictures_stays_below_5_megabytes(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"{s}", seed=s, miou=20 + s, size=(320, 640)) for s in (1, 2, 3)]
    baselines = {
        name: [write_run(tmp_path / name, seed=1, miou=9, method=name)] for name in ("one-image", "all", "c")
    }
    for run in [*runs, *(group[0] for group in baselines.values())]:
        write_training(run, panels=8, side=256)
    report(runs=runs, output=tmp_path / "report", baselines=baselines)
    assert (tmp_path / "report" / "report.html").stat().st_size < 5_000_000
