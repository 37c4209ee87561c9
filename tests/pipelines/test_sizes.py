"""What a run takes of Argo's limit: a Workflow and the state of its nodes are one object of 1 MiB at most."""

import json

import pytest
import yaml

from tests.pipelines.test_compile import GOLDEN

BUDGET = 900_000
"""Bytes. KFP offloads nothing, and overrides and places of a run may be longer than the defaults."""

# Measured with the compiler of KFP 2.17.0 (backend/src/v2/compiler) on the golden files, 2026-11-26: the
# Workflow takes 18 to 38 kB more than the pipeline's own JSON.
TEMPLATES = 45_000
# Of a real run of 62 tasks: Argo compresses the state of its nodes to 207 kB.
NODES_OF_A_TASK = 3_400


@pytest.mark.parametrize("name", ["reproduction", "ingest", "ablation", "baselines"])
def test_the_workflow_of_a_run_and_the_state_of_its_nodes_stay_below_argo_s_limit(name: str) -> None:
    documents = list(yaml.safe_load_all((GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")))
    compiled = sum(len(json.dumps(document, separators=(",", ":"))) for document in documents)
    tasks = len(documents[0]["root"]["dag"]["tasks"])
    assert compiled + TEMPLATES + NODES_OF_A_TASK * tasks < BUDGET
