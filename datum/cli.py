"""The `datum` command: one sub-command a stage, each a thin call of the stage's function.

Nothing heavy is imported before a sub-command needs it, so that `datum --help` answers at once.
"""

import argparse
import os
import re
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from datum import __version__
from datum.cluster.commands import add_cluster_commands
from datum.config import PAPER, PROFILES, STAGES_WITH_SETTINGS, Settings, describe, load_settings
from datum.errors import BAD_INPUT, exit_status
from datum.methods import BENCHMARKS, ENCODERS, METHODS, METHODS_IN_WORDS, DatasetName


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one sub-command; ends the process with the exit statuses of `datum.errors`."""
    options = _parser().parse_args(arguments)
    with exit_status():
        options.command(options)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Wrong arguments are bad input like any other: one line, without the usage."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="datum",
        description="One-shot unsupervised domain adaptation of semantic segmentation: "
        "personalize, generate, adapt, evaluate, report.",
        epilog="exit status: 0 done; 2 the input is wrong; 75 a fault that may pass, the same command "
        "resumes; 1 a defect of datum",
    )
    parser.add_argument("--version", action="version", version=f"datum {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_convert(commands)
    _add_personalize(commands)
    _add_generate(commands)
    _add_adapt(commands)
    _add_evaluate(commands)
    _add_report(commands)
    _add_run(commands)
    add_cluster_commands(commands)
    return parser


def _add_convert(commands: Any) -> None:
    command = _command(commands, "convert", _convert, "write train ids and class statistics into a data set")
    command.add_argument("dataset", choices=typing.get_args(DatasetName), help="layout and label space")
    command.add_argument("root", type=Path, metavar="ROOT", help="folder of the data set")
    _integer(command, "--workers", os.cpu_count() or 1, 1, "processes")


def _add_personalize(commands: Any) -> None:
    command = _command(
        commands,
        "personalize",
        _personalize,
        "fine-tune a diffusion model on the one-shot image",
        "personalization",
    )
    command.add_argument(
        "--image", type=Path, required=True, metavar="FILE", help="the one-shot image, 8-bit RGB"
    )
    _output(command, "folder for checkpoint-<step>/, each a whole StableDiffusionPipeline")
    _base_model(command)
    _seed(command)
    _state(command)


def _add_generate(commands: Any) -> None:
    command = _command(commands, "generate", _generate, "draw images of the new place", "generation")
    command.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="DIR",
        help="output of personalize (generation.checkpoint_step chooses) or one checkpoint folder",
    )
    _output(command, "folder for images/ and manifest.jsonl")
    command.add_argument(
        "--count", type=int, metavar="N", help="images in all shards together (default: generation.count)"
    )
    command.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="I/K", help="draw part I of K (default: 1/1, all)"
    )
    _seed(command)
    _state(command)


def _add_adapt(commands: Any) -> None:
    command = _command(
        commands, "adapt", _adapt, "train the segmentation network", "adaptation", "evaluation"
    )
    for name, table, meaning in (
        ("benchmark", BENCHMARKS, "data sets"),
        ("method", METHODS, METHODS_IN_WORDS),
        ("encoder", ENCODERS, "encoder of the network"),
    ):
        default = getattr(PAPER.run, name)
        command.add_argument(f"--{name}", choices=tuple(table), default=default, help=_default(meaning))
    command.add_argument(
        "--source", type=Path, required=True, metavar="ROOT", help="converted GTA or SYNTHIA root"
    )
    command.add_argument(
        "--target",
        type=Path,
        metavar="DIR",
        help="output of generate or a folder of images; for one-image that image; none for source-only",
    )
    command.add_argument(
        "--validation",
        type=Path,
        metavar="ROOT",
        help="Cityscapes-layout root whose val split chooses best.safetensors (default: best is the last)",
    )
    _output(command, "folder for last.safetensors, best.safetensors, config.yaml, training.jsonl")
    _seed(command)
    _state(command)


def _add_evaluate(commands: Any) -> None:
    command = _command(commands, "evaluate", _evaluate, "test a checkpoint on Cityscapes val", "evaluation")
    command.add_argument(
        "--checkpoint", type=Path, required=True, metavar="FILE", help="best.safetensors or last.safetensors"
    )
    command.add_argument("--dataset", type=Path, required=True, metavar="ROOT", help="Cityscapes-layout root")
    _output(command, "folder for metrics.json and predictions/")


def _add_report(commands: Any) -> None:
    command = _command(commands, "report", _report, "report over the seeds and publish the median checkpoint")
    command.add_argument(
        "--run",
        type=Path,
        action="append",
        required=True,
        dest="runs",
        metavar="DIR",
        help="folder of one seed (one_shot.png, generated/, segmentor/, evaluation/); once a seed",
    )
    command.add_argument(
        "--baseline",
        type=_named_folder,
        action="append",
        default=[],
        dest="baselines",
        metavar="NAME=DIR",
        help="folder of one seed of a baseline, such as source-only=DIR; once a seed",
    )
    _output(command, "folder for report.html, report.json and median_checkpoint/")


def _add_run(commands: Any) -> None:
    command = _command(
        commands,
        "run",
        _run,
        "run the whole pipeline on this machine",
        *STAGES_WITH_SETTINGS,
        profile="demo",
    )
    command.add_argument(
        "--source", type=Path, metavar="ROOT", help="labeled source data set (default: drawn street scenes)"
    )
    command.add_argument(
        "--target", type=Path, metavar="ROOT", help="Cityscapes-layout target (default: drawn street scenes)"
    )
    command.add_argument(
        "--one-shot",
        type=Path,
        action="append",
        default=[],
        dest="one_shots",
        metavar="FILE",
        help="one-shot image, once a seed (default: drawn from the target's leftImg8bit/train by the seeds)",
    )
    _base_model(command)
    command.add_argument(
        "--baselines", action="store_true", help="also train source-only and one-image, for each seed"
    )
    _output(command, "folder for everything; the report is DIR/report/report.html")


def _convert(options: argparse.Namespace) -> None:
    from datum.datasets.convert import convert

    convert(options.dataset, options.root, workers=options.workers)


def _personalize(options: argparse.Namespace) -> None:
    from datum.personalization.personalize import personalize

    given = _given(options, "image", "output", "seed", "state_uri")
    personalize(**given, settings=_settings(options).personalization)


def _generate(options: argparse.Namespace) -> None:
    from datum.generation.generate import generate

    given = _given(options, "model", "output", "seed", "shard", "state_uri")
    generate(**given, settings=_settings(options).generation)


def _adapt(options: argparse.Namespace) -> None:
    from datum.adaptation.adapt import adapt

    given = _given(options, "benchmark", "method", "encoder", "source", "target", "validation", "output")
    settings = _settings(options)
    adapt(
        **given,
        **_given(options, "seed", "state_uri"),
        settings=settings.adaptation,
        evaluation=settings.evaluation,
    )


def _evaluate(options: argparse.Namespace) -> None:
    from datum.evaluation.evaluate import evaluate

    given = _given(options, "checkpoint", "dataset", "output")
    evaluate(**given, settings=_settings(options).evaluation)


def _report(options: argparse.Namespace) -> None:
    from datum.reporting.report import report

    baselines: dict[str, list[Path]] = {}
    for name, folder in options.baselines:
        baselines.setdefault(name, []).append(folder)
    print(report(runs=options.runs, output=options.output, baselines=baselines))


def _run(options: argparse.Namespace) -> None:
    from pipelines.local import run_locally

    given = _given(options, "profile", "source", "target", "one_shots", "baselines", "output")
    run_locally(**given, overrides=_overrides(options))


def _given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The options that a stage's function takes under the same names."""
    return {name: getattr(options, name) for name in names}


def _command(
    commands: Any,
    name: str,
    function: Callable[[argparse.Namespace], None],
    summary: str,
    *stages: str,
    profile: str = "paper",
) -> argparse.ArgumentParser:
    """A sub-command; one that reads the settings of `stages` takes `--profile` and `--set` too."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=_settings_help(stages, profile),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(command=function)
    if stages:
        command.add_argument(
            "--profile", choices=tuple(PROFILES), default=profile, help=_default("which set of settings")
        )
        command.add_argument(
            "--set",
            action="append",
            default=[],
            dest="overrides",
            metavar="STAGE.KEY=VALUE",
            help="change one setting, in YAML's notation; may be given again",
        )
    return command


def _settings_help(stages: Sequence[str], profile: str) -> str:
    lines = []
    for stage in stages:
        for key, value, text in describe(getattr(PROFILES[profile], stage)):
            lines.append(f"  {stage}.{key} = {_shown(value)}\n      {text}")
    return f"settings (profile {profile}):\n" + "\n".join(lines) if lines else ""


def _shown(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def _settings(options: argparse.Namespace) -> Settings:
    return load_settings(options.profile, _overrides(options))


def _overrides(options: argparse.Namespace) -> list[str]:
    """`--set` overrides with those of the options that are short for one."""
    overrides = list(options.overrides)
    if getattr(options, "base_model", None):
        overrides.append(f"personalization.base_model={options.base_model}")
    if getattr(options, "count", None) is not None:
        overrides.append(f"generation.count={options.count}")
    return overrides


def _output(command: argparse.ArgumentParser, content: str) -> None:
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help=content)


def _base_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--base-model",
        metavar="ID_OR_DIR",
        help="hub id or folder of a StableDiffusionPipeline, or streetscenes, the small one shipped with "
        "datum (default: personalization.base_model)",
    )


def _seed(command: argparse.ArgumentParser) -> None:
    _integer(command, "--seed", 1, 0, "seed of all random numbers")


def _state(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--state",
        dest="state_uri",
        metavar="URI",
        help="store of resumable state: file:///folder or s3://bucket/prefix (default: beside the output)",
    )


def _integer(command: argparse.ArgumentParser, name: str, default: int, least: int, meaning: str) -> None:
    def parse(text: str) -> int:
        if not re.fullmatch(r"\d+", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number from {least}")
        return int(text)

    command.add_argument(name, type=parse, default=default, metavar="N", help=_default(meaning))


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected I/K with 1 <= I <= K, such as 2/4")
    return int(match[1]), int(match[2])


def _named_folder(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not separator or not name or not folder:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected NAME=DIR")
    return name, Path(folder)


def _default(meaning: str) -> str:
    return f"{meaning} (default: %(default)s)"
