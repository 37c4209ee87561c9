"""The sub-commands of `datum` that deal with files of weights, not with a stage."""

from pathlib import Path
from typing import Any

from datum.command_parser import ANY_CHECKPOINT, add_command


def add_checkpoint_commands(commands: Any) -> None:
    """Adds `export`."""
    command = add_command(commands, "export", _export, "write a checkpoint as the references read it")
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=ANY_CHECKPOINT)
    command.add_choice("--format", ("mmcv",), "mmcv", "for tools/test.py of DAFormer, HRDA, MIC and DATUM")
    command.add_path("--output", "FILE", "the .pth to write", required=True)


def _export(format: str, **options: Any) -> None:
    from datum.segmentation.mmcv_export import export_to_mmcv

    {"mmcv": export_to_mmcv}[format](**options)
