"""The sub-commands of `datum` that deal with files of weights, not with a stage."""

from pathlib import Path
from typing import Any

from datum.command_parser import ANY_CHECKPOINT, add_command
from datum.errors import InputError


def add_checkpoint_commands(commands: Any) -> None:
    """Adds `export` and `weights`."""
    command = add_command(commands, "export", _export, "write a checkpoint as the references read it")
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=ANY_CHECKPOINT)
    command.add_choice("--format", ("mmcv",), "mmcv", "for tools/test.py of DAFormer, HRDA, MIC and DATUM")
    command.add_path("--output", "FILE", "the .pth to write", required=True)
    command = add_command(commands, "weights", _weights, "list the published weights, and download them")
    meaning = "experiment, encoder, or hub id of the base model (default: all are listed)"
    command.add_argument("names", nargs="*", metavar="NAME", help=meaning)
    meaning = "download those that are named into the cache, and print where they are"
    command.add_argument("--fetch", action="store_true", help=meaning)


def _export(format: str, **options: Any) -> None:
    from datum.segmentation.mmcv_export import export_to_mmcv

    {"mmcv": export_to_mmcv}[format](**options)


def _weights(names: list[str], fetch: bool) -> None:
    from datum.weights_list import fetch_needed, needed_weights

    listed = needed_weights(names)
    if not fetch:
        print("\n".join(map(str, listed)))
        return
    if not names:
        raise InputError("--fetch: no weights are named, expected names of the list; see `datum weights`")
    for needed in listed:
        print(fetch_needed(needed))
