"""Compiles the pipelines to YAML: `python -m pipelines.compile --output FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from kfp import compiler

from pipelines.reproduction import reproduction


def compile_all(output: Path) -> None:
    """Writes one YAML a pipeline into `output`."""
    output.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(reproduction(baselines=True), str(output / "reproduction.yaml"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder that the YAML files go to")
    compile_all(parser.parse_args().output)
