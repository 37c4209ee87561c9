"""The report, the comparison, the history, the curves and the live page as a browser shows them."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datum.formats.history import append_reproduction
from datum.reporting.compare import compare
from datum.reporting.curves import curves
from datum.reporting.history_page import show_history
from datum.reporting.report import report
from datum.store import open_store
from pipelines.live_server import live_page_of
from tests.browser import LOOKS, assert_fits_and_is_accessible, needs_browser, opened_browser, opened_page
from tests.reporting.test_compare import matrices, reported
from tests.reporting.test_drift import reproduction
from tests.reporting.test_history import filled
from tests.reporting.test_same_figures import scored_run
from tests.reporting.test_training_section import write_training

pytestmark = needs_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds beside a baseline, their report and their curves; two compared runs; a history."""
    folder = tmp_path_factory.mktemp("made")
    runs = [folder / "seed-1", folder / "seed-2", folder / "source-only" / "seed-1"]
    for number, run in enumerate(runs):
        baseline = run.parent.name == "source-only"
        method = "source-only" if baseline else "daformer"
        scored_run(
            run, seed=2 if number == 1 else 1, random=number, right=2 if baseline else 3, method=method
        )
        write_training(run)
    report(runs=runs[:2], output=folder / "report", baselines={"source-only": runs[2:]})
    sides = {"better": 0.8, "worse": 0.7}
    for name, right in sides.items():
        reported(folder / name, {seed: matrices(seed, right) for seed in (1, 2)})
    compare({name: folder / name / "report" for name in sides}, folder / "comparison")
    curves(run=folder, output=folder / "curves.html")
    history = str(folder / "history")
    filled(history, [30 + n % 3 for n in range(9)])
    drifted = reproduction(1_700_100_000, [20.0] * 3, reasons=["the median mIoU 20.00 is outside the band"])
    append_reproduction(open_store(history), drifted)
    show_history(open_store(history), history, folder / "history.html")
    return folder


PAGES = ["report/report.html", "comparison/comparison.html", "history.html", "curves.html"]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_page_fits_asks_for_nothing_and_shuts_nobody_out(
    made: Path, browser: Any, name: str, width: int, scheme: str
) -> None:
    url = (made / name).as_uri()
    with opened_page(browser, url, width, scheme) as (page, asked, errors):
        assert_fits_and_is_accessible(page)
        assert [other for other in asked if other != url and not other.startswith("data:")] == []
        assert errors == []


def test_the_first_screen_of_a_report_shows_figures_and_pictures(made: Path, browser: Any) -> None:
    with opened_page(browser, (made / "report/report.html").as_uri(), 1400, "light") as (page, _, _):
        for picture in page.locator(".hero .example img").all():
            place = picture.bounding_box()
            assert place["y"] + place["height"] < 900 and place["width"] > 100
        captions = page.locator(".hero .example figcaption").all_inner_texts()
    assert captions[1:] == ["ground truth", "DATUM + DAFormer", "source-only"]


A4 = 794
"""Pixels that a sheet is wide, in the browser's measure of 96 to an inch."""


@pytest.mark.parametrize("name", PAGES[:3])
def test_nothing_of_a_printed_page_is_cut_off(made: Path, browser: Any, name: str) -> None:
    with opened_page(browser, (made / name).as_uri(), A4, "light") as (page, _, _):
        page.emulate_media(media="print")
        wide = page.locator("table, .scroll, svg, img").evaluate_all(
            "(all, width) => all.map(one => one.getBoundingClientRect().right).filter(end => end > width)", A4
        )
        pdf = page.pdf(format="A4")
    assert wide == []
    assert pdf.startswith(b"%PDF") and re.findall(rb"/Type\s*/Page\b", pdf)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_live_page_follows_a_run_to_its_end(
    made: Path, browser: Any, capfd: pytest.CaptureFixture[str], width: int, scheme: str
) -> None:
    """Tasks come in with what they say, and the end is told before the server goes."""
    told, ends = threading.Event(), threading.Event()

    def run() -> None:
        with live_page_of(made, 0) as tell:
            for name in ("check parameters", "seed 1 · adapt", "seed <b>2</b> · adapt", "report"):
                tell(name, "waiting", "")
            tell("check parameters", "done", "")
            tell("seed 1 · adapt", "running", "adapt: 40/600 iterations, 3.1/s, <i>3m01s</i> left")
            told.set()
            ends.wait()
            for name in ("seed 1 · adapt", "seed <b>2</b> · adapt", "report"):
                tell(name, "done", "")

    thread = threading.Thread(target=run)
    thread.start()
    assert told.wait(60)
    (url,) = [line.split()[-1] for line in capfd.readouterr().err.splitlines() if line.startswith("watch: ")]
    try:
        with opened_page(browser, url, width, scheme) as (page, asked, errors):
            page.get_by_text("<i>3m01s</i> left").wait_for()
            page.get_by_role("heading", name="seed <b>2</b>").wait_for()
            assert page.locator("#curves svg").count() == 4
            captions = page.locator("#drawings figcaption").all_inner_texts()
            assert len(captions) == 12
            assert all(re.fullmatch(r"worse · seed-2 · im_\d+_p\d", text) for text in captions)
            assert_fits_and_is_accessible(page)
            ends.set()
            page.get_by_text("The run has ended; its report is").wait_for()
            page.get_by_text("4 of 4 tasks are done").wait_for()
            assert [other for other in asked if not other.startswith((url, "data:"))] == []
            assert errors == []
    finally:
        ends.set()
        thread.join()
