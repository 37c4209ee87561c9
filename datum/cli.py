"""The `datum` command: one sub-command a stage, each a thin call of the stage's function.

Nothing heavy is imported before a sub-command needs it, so that `datum --help` answers at once.
"""

import argparse
import re
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datum import __version__
from datum.checkpoint_commands import add_checkpoint_commands
from datum.cluster.commands import add_cluster_commands
from datum.command_parser import ANY_CHECKPOINT, CommandParser, add_command
from datum.comparison_commands import add_comparison_commands
from datum.config import MOST_SEED, PAPER, PROFILES, STAGES_WITH_SETTINGS, Settings, describe, load_settings
from datum.errors import InputError, exit_status
from datum.experiments_table import add_experiment, as_json_text, as_table
from datum.exposition import add_metrics_port, exposed_command
from datum.methods import (
    BENCHMARKS,
    ENCODERS,
    METHODS,
    METHODS_IN_WORDS,
    ONE_SHOT_PROTOCOLS,
    DatasetName,
)
from datum.prediction import DEFAULT_KINDS, PREDICTION_KINDS
from datum.processors import processors
from datum.report_commands import add_report_commands, add_watch
from datum.store import require_place


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one sub-command; ends the process with the exit statuses of `datum.errors`."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    with exit_status(), exposed_command(command, options):
        command(**options)


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="datum",
        description="One-shot unsupervised domain adaptation of semantic segmentation: "
        "personalize, generate, adapt, evaluate, report.",
        epilog="exit status: 0 done; 2 the input is wrong; 75 a fault that may pass, the same command "
        "resumes; 1 a defect of datum, or a cluster's run failed",
    )
    parser.add_argument("--version", action="version", version=f"datum {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_convert(commands)
    _add_personalize(commands)
    _add_generate(commands)
    _add_adapt(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    add_checkpoint_commands(commands)
    add_report_commands(commands)
    add_comparison_commands(commands)
    _add_run(commands)
    _add_verify(commands)
    _add_experiments(commands)
    add_cluster_commands(commands)
    return parser


def _add_convert(commands: Any) -> None:
    command = add_command(
        commands, "convert", _convert, "write train ids and class statistics into a data set"
    )
    command.add_argument("dataset", choices=typing.get_args(DatasetName), help="layout and label space")
    command.add_argument("root", type=Path, metavar="ROOT", help="folder of the data set")
    command.add_number("--workers", processors(), "processes")


def _add_personalize(commands: Any) -> None:
    summary = "fine-tune a diffusion model on the one-shot image"
    command = _add_stage(commands, "personalize", _personalize, summary, "personalization")
    command.add_path("--image", "FILE", "the one-shot image, 8-bit RGB", required=True)
    _output(command, "folder for checkpoint-<step>/, each a whole StableDiffusionPipeline")
    _base_model(command)
    _seed_and_state(command)


def _add_generate(commands: Any) -> None:
    command = _add_stage(commands, "generate", _generate, "draw images of the new place", "generation")
    command.add_path(
        "--model",
        "DIR",
        "output of personalize (generation.checkpoint_step chooses) or one checkpoint folder",
        required=True,
    )
    _output(command, "folder for images/ and manifest.jsonl, and with generation.labels=source labeled/")
    command.add_argument(
        "--count",
        type=int,
        dest="generation.count",
        metavar="N",
        help="images in all shards together (default: generation.count)",
    )
    command.add_argument(
        "--shard", type=_shard, default=(1, 1), metavar="I/K", help="draw part I of K (default: 1/1, all)"
    )
    meaning = "converted GTA or SYNTHIA root that labeled images are drawn from (default: none)"
    command.add_path("--source", "ROOT", meaning)
    _setting(
        command,
        "--controlnet",
        "FOLDER_OR_HUB_ID",
        "generation.controlnet",
        "the ControlNet of labeled images",
    )
    _setting(command, "--judge", "CHECKPOINT", "generation.judge", "judges labeled images")
    _seed_and_state(command)


def _add_adapt(commands: Any) -> None:
    summary = "train the segmentation network"
    command = _add_stage(commands, "adapt", _adapt, summary, "adaptation", "evaluation")
    command.add_choice("--benchmark", BENCHMARKS, PAPER.run.benchmark, "data sets")
    command.add_choice("--method", METHODS, PAPER.run.method, METHODS_IN_WORDS)
    command.add_argument(
        "--encoder",
        dest="run.encoder",
        choices=tuple(ENCODERS),
        help="encoder of the network (default: run.encoder, the profile's)",
    )
    command.add_path("--source", "ROOT", "converted GTA or SYNTHIA root", required=True)
    command.add_path(
        "--target",
        "DIR",
        "output of generate or a folder of images; for one-image that image; none for "
        "source-only and its like",
    )
    meaning = "output of generate with labeled drawings, a second labeled source (default: none)"
    command.add_path("--labeled", "DIR", meaning)
    command.add_argument(
        "--initial-segmentor",
        dest="adaptation.initial_segmentor",
        metavar="FILE_OR_DIR",
        help="trained network to start from, such as a published one (default: adaptation.initial_segmentor)",
    )
    command.add_path(
        "--validation",
        "ROOT",
        "Cityscapes-layout root whose val split chooses best.safetensors (default: best is the last)",
    )
    _output(command, "folder for last.safetensors, best.safetensors, config.yaml, training.jsonl")
    _seed_and_state(command)


def _add_evaluate(commands: Any) -> None:
    command = _add_stage(commands, "evaluate", _evaluate, "test a checkpoint on Cityscapes val", "evaluation")
    command.add_path("--checkpoint", "FILE", ANY_CHECKPOINT, required=True)
    command.add_path("--dataset", "ROOT", "Cityscapes-layout root", required=True)
    _output(command, "folder for metrics.json and predictions/")


def _add_predict(commands: Any) -> None:
    summary = "label photographs and videos with a trained network"
    command = _add_stage(commands, "predict", _predict, summary, "evaluation")
    command.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=ANY_CHECKPOINT)
    meaning = "PNG, JPEG or video files, folders with some at any depth, or patterns such as 'drive/**/*.jpg'"
    command.add_argument("inputs", nargs="+", metavar="INPUT", help=meaning)
    _output(command, "folder for <kind>/<name of the input> and predictions.jsonl")
    kinds = "; ".join(f"{kind}: {meaning}" for kind, meaning in PREDICTION_KINDS.items())
    meaning = f"what is written, with commas between (default: %(default)s). {kinds}. Videos are WebM (VP9)"
    default = ",".join(DEFAULT_KINDS)
    command.add_argument("--write", dest="kinds", type=_kinds, default=default, metavar="KIND", help=meaning)
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")


def _add_run(commands: Any) -> None:
    summary = "run the whole pipeline on this machine"
    command = _add_stage(commands, "run", _run, summary, *STAGES_WITH_SETTINGS, profile="demo")
    command.add_path("--source", "ROOT", "labeled source data set (default: drawn street scenes)")
    command.add_path("--target", "ROOT", "Cityscapes-layout target (default: drawn street scenes)")
    command.add_repeated(
        "--one-shot",
        "FILE",
        "one_shots",
        "one-shot image, once a seed (default: drawn from the target's leftImg8bit/train by the seeds)",
        type=Path,
    )
    meaning = (
        "published one-shot images, each repeated as published, in place of --one-shot: sm-ppm, five of "
        "Cityscapes, five times; run.seeds of another multiple of five repeats them otherwise (default: none)"
    )
    command.add_argument("--one-shot-protocol", choices=tuple(ONE_SHOT_PROTOCOLS), help=meaning)
    meaning = "what the data are, for the report (default: the benchmark's own, or that scenes were drawn)"
    command.add_argument("--title", default="", help=meaning)
    add_experiment(command)
    _base_model(command)
    command.add_argument(
        "--baselines", action="store_true", help="also train source-only and one-image, for each seed"
    )
    meaning = "train with and without drawn images and labels in them, beside one image and all target images"
    command.add_argument("--cells", action="store_true", help=meaning)
    _output(command, "folder for everything; the report is DIR/report/report.html")
    add_watch(command)


def _add_verify(commands: Any) -> None:
    summary = "verify finished outputs: every file, and the chain from the report to the photograph"
    command = add_command(commands, "verify", _verify, summary)
    meaning = "an output, a folder with some (of `datum run`), or a URI of a published report"
    command.add_argument("place", metavar="DIR_OR_URI", help=meaning)


def _add_experiments(commands: Any) -> None:
    summary = "list the published experiments that `--experiment` names, and the figures they are measured by"
    command = add_command(commands, "experiments", _experiments, summary)
    command.add_argument("--json", action="store_true", dest="as_json", help="all that is known, as JSON")


def _convert(**options: Any) -> None:
    from datum.datasets.convert import convert

    convert(**options)


def _personalize(**options: Any) -> None:
    from datum.personalization.personalize import personalize

    settings = _settings(options)
    personalize(**options, settings=settings.personalization)


def _generate(**options: Any) -> None:
    from datum.generation.generate import generate

    settings = _settings(options)
    generate(**options, settings=settings.generation)


def _adapt(**options: Any) -> None:
    from datum.adaptation.adapt import adapt
    from datum.segmentation.segmentor import read_header

    settings = _settings(options, method=options["method"])
    encoder = settings.run.encoder
    adapt(**options, encoder=encoder, settings=settings.adaptation, evaluation=settings.evaluation)
    best = options["output"] / "best.safetensors"
    found = read_header(best)["metadata"]
    score = f"mIoU {found['miou']:.2f} on the validation set" if "miou" in found else "no validation set"
    print(f"{score}, iteration {found['iteration']}: {best}")


def _evaluate(**options: Any) -> None:
    from datum.evaluation.evaluate import evaluate
    from datum.formats.metrics import METRICS, read_metrics
    from datum.segmentation.checkpoints import method_tested_as

    settings = _settings(options, method=method_tested_as(options["checkpoint"], "--checkpoint"))
    evaluate(**options, settings=settings.evaluation)
    scores = read_metrics(options["output"])
    over = [
        f"{score:.2f} over {names} classes" for names, score in scores["miou"].items() if score is not None
    ]
    print(f"mIoU {', '.join(over)}, {scores['images']} images: {options['output'] / METRICS}")


def _predict(**options: Any) -> None:
    from datum.prediction.predict import predict
    from datum.segmentation.checkpoints import method_tested_as

    settings = _settings(options, method=method_tested_as(options["checkpoint"], "CHECKPOINT"))
    print(predict(**options, settings=settings.evaluation))


def _run(**options: Any) -> None:
    from pipelines.local import run_locally

    run_locally(overrides=_overrides(options), **options)


def _verify(place: str) -> None:
    from datum.verification import verify

    print("\n".join([*verify(place), "verified"]))


def _experiments(as_json: bool) -> None:
    print(as_json_text() if as_json else as_table())


def _add_stage(
    commands: Any,
    name: str,
    function: Callable[..., None],
    summary: str,
    *stages: str,
    profile: str = "paper",
) -> CommandParser:
    """A sub-command that reads the settings of `stages`: it takes `--profile` and `--set`."""
    settings = [
        f"  {stage}.{key} = {_shown(value)}\n      {text}"
        for stage in stages
        for key, value, text in describe(getattr(PROFILES[profile], stage))
    ]
    epilog = "\n".join([f"settings (profile {profile}):", *settings])
    command = add_command(commands, name, function, summary, epilog)
    command.add_choice("--profile", PROFILES, profile, "which set of settings")
    meaning = "change one setting, in YAML's notation; may be given again"
    command.add_repeated("--set", "STAGE.KEY=VALUE", "overrides", meaning)
    add_metrics_port(command)
    return command


def _shown(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def _settings(options: dict[str, Any], method: str = PAPER.run.method) -> Settings:
    """Takes what says the settings out of `options`, which are left as the stage's function takes them."""
    return load_settings(options.pop("profile"), [f"run.method={method}", *_overrides(options)])


def _overrides(options: dict[str, Any]) -> list[str]:
    """Takes `--set` out of `options`, and those that are short for one, which have the setting's name."""
    short = {name: options.pop(name) for name in list(options) if "." in name}
    given = [f"{name}={value}" for name, value in short.items() if value not in (None, "")]
    return [*options.pop("overrides"), *given]


def _output(command: CommandParser, content: str) -> None:
    command.add_path("--output", "DIR", content, required=True)


def _setting(command: CommandParser, option: str, metavar: str, setting: str, meaning: str) -> None:
    """An option that is short for `--set` of the `setting`."""
    command.add_argument(option, dest=setting, metavar=metavar, help=f"{meaning} (default: {setting})")


def _base_model(command: CommandParser) -> None:
    meaning = "hub id or folder of a StableDiffusionPipeline, or streetscenes, the small one of the package"
    _setting(command, "--base-model", "ID_OR_DIR", "personalization.base_model", meaning)
    meaning = "branch, tag or commit of a base model from the hub"
    _setting(command, "--revision", "REVISION", "personalization.revision", meaning)
    meaning = "variant of the base model's weights, such as fp16"
    _setting(command, "--variant", "NAME", "personalization.variant", meaning)


def _seed_and_state(command: CommandParser) -> None:
    command.add_number("--seed", 1, "seed of all random numbers", least=0, most=MOST_SEED)
    command.add_argument(
        "--state",
        dest="state_uri",
        metavar="URI",
        type=_place,
        help="store of resumable state: file:///folder or s3://bucket/prefix (default: beside the output)",
    )


def _place(uri: str) -> str:
    try:
        require_place(uri)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return uri


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected I/K with 1 <= I <= K, such as 2/4")
    return int(match[1]), int(match[2])


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    for kind in kinds:
        if kind not in PREDICTION_KINDS:
            known = ", ".join(PREDICTION_KINDS)
            raise argparse.ArgumentTypeError(f"found {kind!r}, expected one or more of {known}")
    return kinds
