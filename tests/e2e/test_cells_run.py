"""`datum run --cells`, from drawn scenes to the report, with a ControlNet of random weights."""

import json
import os
from pathlib import Path

from tests.base_models import untrained_controlnet
from tests.e2e.test_demo_run import command, run

CELLS = ["unlabeled drawings", "labeled drawings", "source-only", "one-image", "all target images"]


def test_the_four_cells_are_trained_and_reported_beside_each_other(tmp_path: Path) -> None:
    untrained_controlnet(20).save_pretrained(tmp_path / "controlnet")
    labeled = {
        "generation__controlnet": tmp_path / "controlnet",
        "generation__labeled_count": 4,
        "generation__labeled_steps": 2,
        "generation__labeled_min_pixels": 0,
    }
    words = [*command(tmp_path / "output", adaptation__iterations=2, run__shards=1, **labeled), "--cells"]
    status, printed = run(words, {**os.environ, "OMP_NUM_THREADS": "1"})
    assert status == 0, printed
    figures = json.loads((tmp_path / "output" / "report" / "report.json").read_text())
    assert [method["name"] for method in figures["methods"]] == ["DATUM + DAFormer, labeled drawings", *CELLS]
    seen = {}
    for name in ("", *CELLS):
        folder = tmp_path / "output" / name.replace(" ", "-") / "seed-7"
        inputs = json.loads((folder / "segmentor" / "provenance.json").read_text())["inputs"]
        seen[name] = ("target" in inputs, "labeled" in inputs)
    assert seen == {
        "": (True, True),
        "unlabeled drawings": (True, False),
        "labeled drawings": (False, True),
        "source-only": (False, False),
        "one-image": (True, False),
        "all target images": (True, False),
    }
    page = (tmp_path / "output" / "report" / "report.html").read_text(encoding="utf-8")
    assert "4 labeled drawings" in page
