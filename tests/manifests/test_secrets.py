"""No file of the repository holds a credential."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCAN = [str(Path(sys.executable).with_name("detect-secrets")), "scan"]
NODES = r"^datum-reproduction-\w{5}"
"""Names of nodes in a Workflow end in the hash of their path."""
NAMES = r"^'?(mlpipeline-minio-artifact|datum-store|store$|secretName: mlpipeline-minio-artifact\n.*)"
"""Names of Secrets in the manifests: the scanner takes what follows the word secret for one."""


def _found(folder: Path, options: list[str], files: list[str]) -> list[str]:
    """Files and lines of what the scanner takes for a credential."""
    run = subprocess.run([*SCAN, *options, *files], cwd=folder, capture_output=True, text=True, check=True)
    return [
        f"{file}:{entry['line_number']}: {entry['type']}"
        for file, entries in json.loads(run.stdout)["results"].items()
        for entry in entries
    ]


def test_a_secrets_scan_finds_nothing() -> None:
    list_files = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(list_files, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # Lock files and the records of what the packaged models were made from are lists of hashes.
    files = [file for file in listed.splitlines() if not file.endswith((".lock", "/provenance.json"))]
    assert _found(ROOT, ["--exclude-secrets", NAMES], [f for f in files if not f.startswith("tests/")]) == []
    # Tests make up passwords, so there the word alone is no sign of a real one.
    options = ["--disable-plugin", "KeywordDetector", "--exclude-secrets", NODES]
    assert _found(ROOT, options, [file for file in files if file.startswith("tests/")]) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("settings.env", "STORE_SECRET=hunter2hunter2"),
        ("minio.yaml", "password: correct-horse"),
        ("key.txt", "-----BEGIN RSA " + "PRIVATE KEY-----"),
        ("code.py", 'url = "https://somebody:' + 'hunter2@example.org"'),
    ],
)
def test_the_scan_finds_a_credential(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(f"{text}\n")
    assert _found(tmp_path, ["--exclude-secrets", NAMES], [name])
