"""What KFP's own compiler makes of the golden pipelines, kept as data in `workflows/`.

`KFP_SOURCE=FOLDER python -m tests.pipelines.kfp_compiler` writes them anew, and with the same variable
`python -m pytest tests/pipelines/workflows` compares them. FOLDER is kubeflow/pipelines at the release that
`workflows/sizes.json` names (`git worktree add FOLDER 2.17.0`), and Go is needed.
"""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pipelines.argo_limit import bytes_of_pipeline

GOLDEN = Path(__file__).parent / "golden"
WORKFLOWS = Path(__file__).parent / "workflows"
SOURCE = "KFP_SOURCE"
RELEASE = "2.17.0"
NAMES = ("reproduction", "ablation", "baselines", "ingest")
LONGEST = 120
"""Characters of a text that is kept as it is."""
DIGEST = re.compile("[0-9a-f]{64}")


def pipeline_documents(name: str) -> list[dict[str, Any]]:
    """The golden pipeline: its specification, and what of it is Kubernetes' own."""
    return list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")))


def pipeline_bytes(name: str) -> int:
    """Size of the golden pipeline as JSON without blanks."""
    return bytes_of_pipeline(pipeline_documents(name))


def compile_workflow(name: str, source: Path) -> str:
    """The Workflow of the golden pipeline, as JSON, by the compiler in the KFP source `source`."""
    specification, platform = pipeline_documents(name)
    job = {"pipelineSpec": specification, "displayName": f"datum-{name}", "runtimeConfig": {}}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "job.json", Path(folder) / "platform.json"]
        for file, content in zip(files, (job, platform)):
            file.write_text(json.dumps(content), encoding="utf-8")
        command = ["go", "run", str(WORKFLOWS / "main.go"), *map(str, files)]
        run = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def shortened(value: Any) -> Any:
    """`value` without the texts that repeat the pipeline's own parts, and without their digests."""
    match value:
        case dict():
            return {key: shortened(item) for key, item in value.items()}
        case list():
            return [shortened(item) for item in value]
        case str() if len(value) > LONGEST:
            return "…"
        case str():
            return DIGEST.sub("…", value)
    return value


def compile_workflows(source: Path) -> tuple[dict[str, dict[str, int]], str]:
    """Sizes by pipeline, and the shortened Workflow of the smallest one as YAML."""
    compiled = {name: compile_workflow(name, source) for name in NAMES}
    sizes = {
        name: {"pipeline": pipeline_bytes(name), "workflow": len(workflow.strip().encode())}
        for name, workflow in compiled.items()
    }
    return sizes, yaml.safe_dump(shortened(json.loads(compiled["ingest"])), allow_unicode=True)


if __name__ == "__main__":
    measured, ingest = compile_workflows(Path(os.environ[SOURCE]))
    text = json.dumps({"kfp": RELEASE, "bytes": measured}, indent=2)
    (WORKFLOWS / "sizes.json").write_text(text + "\n", encoding="utf-8")
    (WORKFLOWS / "ingest.yaml").write_text(ingest, encoding="utf-8")
