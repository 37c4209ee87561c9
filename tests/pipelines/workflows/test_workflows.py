"""Whether KFP's compiler makes what is kept here; `tests/pipelines/kfp_compiler.py` says what it needs."""

import json
import os
from pathlib import Path

from tests.pipelines.kfp_compiler import SOURCE, WORKFLOWS, compile_workflows


def test_kfps_own_compiler_makes_what_is_kept() -> None:
    sizes, ingest = compile_workflows(Path(os.environ[SOURCE]))
    assert ingest == (WORKFLOWS / "ingest.yaml").read_text(encoding="utf-8")
    assert sizes == json.loads((WORKFLOWS / "sizes.json").read_text(encoding="utf-8"))["bytes"]
