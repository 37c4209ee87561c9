"""What the report says of labeled drawings, and the intervals by which methods are told apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from datum.errors import InputError
from datum.formats.generated import write_manifest
from datum.formats.labeled import LabeledImage, write_gate
from datum.reporting.report import report
from datum.reporting.summary import student_t
from tests.formats.test_labeled import drawing
from tests.reporting.test_report import Page, read_json, write_run

CAR, PERSON = 13, 11


def label(folder: Path, *, judged: bool = True) -> None:
    """Adds labeled drawings to a run: two of cars, of which one is dropped, and one of persons."""
    labeled = folder / "generated" / "labeled"
    shares = {0: (CAR, 0.9), 1: (CAR, 0.3), 2: (PERSON, 0.6)}
    drawings: list[LabeledImage] = []
    for index, (train_id, share) in shares.items():
        names = {"agreement": share, "agreement_by_class": {"car" if train_id == CAR else "person": share}}
        unjudged: dict[str, Any] = dict.fromkeys(names)
        drawings.append(drawing(labeled, index, train_id, **(names if judged else unjudged)))
    if judged:
        write_gate(labeled, [drawings[0], drawings[2]], [drawings[1]], share=0.5)
    else:
        write_manifest(labeled, drawings, [])
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | {"labels": "source"}))


def write_runs(root: Path, scores: list[float], **options: Any) -> list[Path]:
    return [
        write_run(root / f"seed-{seed}", seed=seed, miou=score, **options)
        for seed, score in enumerate(scores, start=1)
    ]


def pictures(page: Page) -> list[str]:
    """What the pictures of labeled drawings are called."""
    names = [str(attributes["alt"]) for tag, attributes in page.elements if tag == "img"]
    return [name for name in names if "Drawing for" in name or "Label of the drawing" in name]


def test_what_was_drawn_and_dropped_and_agreed_by_class_is_told_over_all_seeds(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, [30.0, 20.0])
    for run in runs:
        label(run)
    report(runs=runs, output=tmp_path / "report")
    figures = read_json(tmp_path / "report")
    assert figures["methods"][0]["name"] == "DATUM + DAFormer, labeled drawings"
    assert figures["labeled_drawings"] == {
        "judged": True,
        "kept": 4,
        "dropped": 2,
        "by_class": {
            "person": {"kept": 2, "dropped": 0, "agreement": 0.6},
            "car": {"kept": 2, "dropped": 2, "agreement": 0.6},
        },
    }
    page = Page(tmp_path / "report" / "report.html")
    assert "6 labeled drawings in all" in page.text and "2 of the worst were dropped, 4 were" in page.text
    # One of persons and one of cars, each beside its label.
    assert len(pictures(page)) == 4


def test_drawings_that_no_network_judged_are_shown_without_an_agreement(tmp_path: Path) -> None:
    (run,) = write_runs(tmp_path, [30.0])
    label(run, judged=False)
    report(runs=[run], output=tmp_path / "report")
    page = Page(tmp_path / "report" / "report.html")
    assert "No network judged them" in page.text and "agreement" not in page.text.lower()
    assert len(pictures(page)) == 6


def test_where_only_a_method_beside_has_labels_its_drawings_are_shown(tmp_path: Path) -> None:
    runs, beside = write_runs(tmp_path / "ours", [30.0]), write_runs(tmp_path / "beside", [25.0])
    label(beside[0])
    report(runs=runs, output=tmp_path / "report", baselines={"labeled drawings": beside})
    assert read_json(tmp_path / "report")["labeled_drawings"]["kept"] == 2
    assert len(pictures(Page(tmp_path / "report" / "report.html"))) == 4


def test_without_labels_nothing_is_said_of_them(tmp_path: Path) -> None:
    report(runs=write_runs(tmp_path, [30.0]), output=tmp_path / "report")
    assert read_json(tmp_path / "report")["labeled_drawings"] is None
    assert "Drawings with labels" not in Page(tmp_path / "report" / "report.html").text


def test_a_report_is_written_again_where_a_label_that_it_shows_has_changed(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, [30.0])
    label(runs[0])
    report(runs=runs, output=tmp_path / "report")
    before = (tmp_path / "report" / "report.html").read_bytes()
    labels = runs[0] / "generated" / "labeled" / "labels"
    (labels / "im_0_p13_labelTrainIds.png").write_bytes((labels / "im_2_p11_labelTrainIds.png").read_bytes())
    report(runs=runs, output=tmp_path / "report")
    assert (tmp_path / "report" / "report.html").read_bytes() != before


def test_a_run_whose_labeled_drawings_are_gone_is_refused(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, [30.0])
    label(runs[0])
    (runs[0] / "generated" / "labeled" / "manifest.jsonl").unlink()
    with pytest.raises(InputError, match=r"labeled/manifest\.jsonl: missing"):
        report(runs=runs, output=tmp_path / "report")


@pytest.mark.parametrize(
    "degrees, expected", [(1, 12.7062), (4, 2.7764), (10, 2.2281), (11, 2.2010), (24, 2.0639), (100, 1.9840)]
)
def test_student_s_t_is_that_of_the_tables(degrees: int, expected: float) -> None:
    assert student_t(degrees) == pytest.approx(expected, abs=2e-4)


def test_methods_are_told_apart_by_their_intervals_over_the_seeds(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "ours", [30.0, 31.0, 30.5, 29.5, 30.2])
    near = write_runs(tmp_path / "near", [29.0, 30.0, 31.0, 30.0, 30.0])
    far = write_runs(tmp_path / "far", [20.0, 21.0, 20.5, 19.5, 20.2])
    one = write_runs(tmp_path / "one", [25.0])
    baselines = {"near": near, "far": far, "one": one}
    report(runs=runs, output=tmp_path / "report", baselines=baselines)
    figures = read_json(tmp_path / "report")
    # 2.7764 times the sample deviation over the root of five.
    assert figures["methods"][0]["interval"] == pytest.approx(2.7764 * 0.55946 / 5**0.5, abs=1e-3)
    assert figures["methods"][3]["interval"] is None
    assert [d["intervals_overlap"] for d in figures["differences"]] == [True, False, None]
    page = Page(tmp_path / "report" / "report.html")
    assert "29.5 – 30.9" in page.text and "19.5 – 20.9" in page.text
