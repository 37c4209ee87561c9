"""How the published experiments are shown, for a terminal, for README and as JSON, and named by a command."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from datum.command_parser import CommandParser
from datum.experiments import BAND, EXPERIMENTS, Experiment
from datum.text_tables import aligned, between_marks
from datum.values import did_you_mean

COLUMNS = ("experiment", "trains on", "published", "counts from", "others reached", "GPU hours", "memory")


def as_table() -> str:
    """A line an experiment, aligned; what is unknown is a dash."""
    lines = aligned([COLUMNS, *map(_row, EXPERIMENTS.values())])
    notes = [f"{one.name}: {one.beside}" for one in EXPERIMENTS.values() if one.beside]
    heading = "Beside them, by other recipes under the same conditions:"
    return "\n".join([*lines, "", *_notes(), "", heading, *notes])


def as_markdown() -> str:
    """The same in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for experiment in EXPERIMENTS.values():
        name, *cells = _row(experiment)
        lines.append("| " + " | ".join([f"`{name}`", *cells]) + " |")
    return "\n".join(lines)


def with_table(readme: str) -> str:
    """The text `readme` with the table of now between its two marks."""
    return between_marks(readme, "experiments", "datum.experiments_table", as_markdown())


def as_json_text() -> str:
    """All that is known of each experiment, by name."""
    known = {name: dataclasses.asdict(experiment) for name, experiment in EXPERIMENTS.items()}
    return json.dumps(known, indent=2)


def add_experiment(command: CommandParser) -> None:
    """Adds the option `--experiment`."""

    def parse(text: str) -> str:
        if text not in EXPERIMENTS:
            known = did_you_mean(text, EXPERIMENTS, "`datum experiments` lists them:")
            raise argparse.ArgumentTypeError(f"unknown experiment {text!r}; {known}")
        return text

    meaning = (
        "a published experiment (`datum experiments` lists them); what is set beside it wins (default: none)"
    )
    command.add_argument("--experiment", type=parse, metavar="NAME", help=meaning)


def _row(experiment: Experiment) -> tuple[str, ...]:
    published, cost = experiment.published, experiment.cost
    return (
        experiment.name,
        _TRAINS_ON[experiment.target_images],
        f"{published.miou:.1f}" if published else "-",
        f"{published.miou - BAND:.1f}" if published else "-",
        (published and published.reached) or "-",
        f"{cost.hours:.0f}" if cost and cost.hours else "-",
        f"{cost.memory:.1f} GB" if cost else "-",
    )


_TRAINS_ON = {
    "generated": "images drawn from one photograph",
    "one-shot": "the photograph alone",
    "all": "all target images",
    "none": "the source alone",
}


def _notes() -> list[str]:
    """Where figures and costs come from."""
    figures = [e.published.source for e in EXPERIMENTS.values() if e.published]
    costs = [e.cost.where for e in EXPERIMENTS.values() if e.cost]
    return [
        "Published: mIoU in percent on Cityscapes val, over 19 classes from GTA, 16 from SYNTHIA; "
        f"{'; '.join(dict.fromkeys(figures))}.",
        f"Counts from: {BAND} points below it, by what others reached who ran the references.",
        f"GPU hours and memory of one training: {'; '.join(dict.fromkeys(costs))}.",
        "A dash: unknown.",
    ]


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
