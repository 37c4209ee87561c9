"""How the sub-commands of `datum` declare themselves and the kinds of options that they share."""

import argparse
import difflib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NoReturn

from datum.errors import BAD_INPUT, one_line, shortened

ANY_CHECKPOINT = (
    "file or folder of `datum adapt`, median_checkpoint/, or a .pth of DAFormer, HRDA, MIC or DATUM"
)
"""What a command says that takes any checkpoint (`datum.segmentation.checkpoints`)."""


class CommandParser(argparse.ArgumentParser):
    """The parser of `datum` and of each of its sub-commands."""

    def error(self, message: str) -> NoReturn:
        """Wrong arguments are bad input like any other: one line, without the usage."""
        line = f"{self.prog}: {shortened(message, 400)}; see {self.prog} --help"
        self.exit(BAD_INPUT, one_line(line) + "\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuses what it does not know itself: argparse would leave that to the parser of `datum`, which
        knows no option of a sub-command."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            near = difflib.get_close_matches(unknown[0], self._option_string_actions, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return known, unknown

    def add_path(self, name: str, metavar: str, meaning: str, *, required: bool = False) -> None:
        self.add_argument(name, type=Path, required=required, metavar=metavar, help=meaning)

    def add_number(
        self, name: str, default: int, meaning: str, *, least: int = 1, most: int | None = None
    ) -> None:
        def parse(text: str) -> int:
            # Longer than any limit, and Python reads no number of thousands of digits.
            fits = text.isdecimal() and len(text) < 20 and int(text) >= least
            if not fits or (most is not None and int(text) > most):
                upto = "" if most is None else f" to {most}"
                raise argparse.ArgumentTypeError(
                    f"found {shortened(text)!r}, expected a whole number from {least}{upto}"
                )
            return int(text)

        self.add_argument(name, type=parse, default=default, metavar="N", help=_default(meaning))

    def add_choice(self, name: str, choices: Collection[str], default: str, meaning: str) -> None:
        self.add_argument(name, choices=tuple(choices), default=default, help=_default(meaning))

    def add_repeated(self, name: str, metavar: str, dest: str, meaning: str, **others: Any) -> None:
        """An option that may be given again; `others` are as argparse takes them."""
        self.add_argument(
            name, action="append", default=[], dest=dest, metavar=metavar, help=meaning, **others
        )


def add_command(
    commands: Any, name: str, function: Callable[..., None], summary: str, epilog: str = ""
) -> CommandParser:
    """A sub-command that calls `function` with its options by name."""
    command: CommandParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=function)
    return command


def _default(meaning: str) -> str:
    return f"{meaning} (default: %(default)s)"
