"""`datum adapt`: trains the segmentation network for the new place."""

import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from datum.adaptation.initial import Initial, find_initial
from datum.adaptation.inputs import find_labeled, find_source, find_target, input_digests
from datum.adaptation.learner import Learner
from datum.adaptation.processes import helped, require_gpus
from datum.adaptation.requirements import (
    network_of,
    require_recipe,
    require_room_to_save,
    require_room_to_train,
    require_trainable,
)
from datum.adaptation.sampling import CropRules, TrainingSamples
from datum.adaptation.self_training import REFERENCE_CROP
from datum.adaptation.training import Training, is_trained
from datum.config import AdaptationSettings, EvaluationSettings
from datum.device import choose_device
from datum.formats.class_statistics import SourceImage
from datum.formats.generated import MANIFEST
from datum.formats.labeled import LABELED, LabeledPair
from datum.formats.mix_pictures import MixPictures
from datum.formats.source_scale import training_scale
from datum.formats.training_log import TrainingLog
from datum.outputs import building, is_complete, sha256
from datum.provenance import LABELED_DIGEST, MANIFEST_DIGEST, NAMED, Provenance, record_of
from datum.segmentation.checkpoints import Checkpoint
from datum.segmentation.encoders.pretrained import Pretrained, load_pretrained
from datum.segmentation.pretrained_file import RANDOM, pretrained_file
from datum.segmentation.segmentor import Segmentor, SegmentorConfig, build_segmentor
from datum.segmentation.validation import find_validation_images
from datum.stopping import deferred
from datum.store import open_store
from datum.telemetry import log
from datum.training_state import TrainingState, state_place


def adapt(
    *,
    benchmark: str,
    method: str,
    encoder: str,
    source: Path,
    target: Path | None,
    output: Path,
    settings: AdaptationSettings,
    evaluation: EvaluationSettings,
    seed: int,
    labeled: Path | None = None,
    validation: Path | None = None,
    state_uri: str | None = None,
    device: str = "auto",
) -> None:
    """Trains the network and writes `last.safetensors`, `best.safetensors` (the best mIoU on the `val` split
    of `validation`; without one a copy of the last), `config.yaml`, `training.jsonl`, `provenance.json` and,
    where images are mixed, `pictures/` of them to `output`.

    `method` is a name of `datum.methods.METHODS`, which says what `target` is to hold; `labeled` is an output
    of `datum generate` with labeled drawings. Killed and started again with the same arguments, it resumes
    from its last saved state (in the unfinished output, or in a folder of its own under `state_uri`) and ends
    with the same weights, on a CPU to the last bit.

    Raises `InputError` before anything is written (see `datum.adaptation.inputs`), and where it diverges.
    """
    require_recipe(method, settings)
    where = choose_device(device)
    require_gpus(settings.processes, where)
    config = network_of(encoder, settings)
    activations = require_trainable(config, settings)
    initial = find_initial(settings.initial_segmentor, config)
    pretrained = pretrained_file(encoder, settings.pretrained_encoder or (RANDOM if initial else ""))
    source_images = find_source(benchmark, source, training_scale(benchmark, settings))
    target_images, street_scale = find_target(method, target)
    rules = crop_rules(settings, benchmark, street_scale)
    draw = _drawing(source_images, target_images, find_labeled(labeled), rules, settings, seed)
    validation_images = find_validation_images(validation) if validation else []
    digests = input_digests(source, source_images, target_images, labeled, validation, validation_images)
    samples = draw()
    start, weights = _build_student(config, pretrained, seed)
    student = _started_from(initial.checkpoint, config) if initial else start
    provenance = Provenance(
        stage="adapt",
        settings={"adaptation": settings, "evaluation": evaluation},
        inputs=digests | _start(weights, initial) | _named(source, target, labeled, validation, initial),
        seed=seed,
        arguments={"benchmark": benchmark, "method": method, "encoder": encoder, "best": _best(validation)},
        made_from=_made_from(target, labeled),
    )
    if is_complete(output, provenance):
        return
    if state_uri:
        open_store(state_uri).exists("any")  # A wrong endpoint or secret is said before anything is written.
    _say_start(weights, initial, seed)
    require_room_to_train(student, activations, settings, device=where, best=bool(validation_images))
    with building(output, provenance) as folder, deferred():
        _write_config(folder, provenance)
        if is_trained(folder, settings.iterations):
            log(f"resuming at iteration {settings.iterations}, the last")
        else:
            state = state_place(state_uri, provenance) if state_uri else str(folder / "state")
            require_room_to_save(student, folder, state, best=bool(validation_images))
            states, helping = open_store(state), functools.partial(_help, config, settings, seed, draw)
            with TrainingState(states, folder / "state") as kept, helped(settings.processes, where, helping):
                training = Training(
                    student=student.to(where),
                    settings=settings,
                    evaluation=evaluation,
                    validation=validation_images,
                    seed=seed,
                    state=kept,
                    training_log=TrainingLog(folder),
                    pictures=MixPictures(folder),
                    imagenet=start.to(where) if initial and weights else None,
                )
                training.run(samples)
                training.write(folder)
        shutil.rmtree(folder / "state", ignore_errors=True)


def _start(weights: Pretrained | None, initial: Initial | None) -> dict[str, str]:
    """SHA-256 of what the training starts from."""
    pretrained = {"pretrained_encoder": weights.sha256 if weights else RANDOM}
    return pretrained | ({"initial_segmentor": initial.sha256} if initial else {})


def _drawing(
    source: Sequence[SourceImage],
    target: Sequence[Path],
    labeled: Sequence[LabeledPair],
    rules: CropRules,
    settings: AdaptationSettings,
    seed: int,
) -> Callable[[], TrainingSamples]:
    """What makes the samples, in any process."""
    temperature = settings.rare_class_temperature if settings.rare_class_sampling else None
    return functools.partial(
        TrainingSamples,
        source=source,
        target=target,
        labeled=labeled,
        rules=rules,
        temperature=temperature,
        seed=seed,
    )


def _help(
    config: SegmentorConfig,
    settings: AdaptationSettings,
    seed: int,
    draw: Callable[[], TrainingSamples],
    device: torch.device,
) -> None:
    """The part of one of several processes in the training; it is given the weights by the first."""
    Learner(student=build_segmentor(config).to(device), settings=settings, seed=seed).help(draw())


def _made_from(target: Path | None, labeled: Path | None) -> dict[str, Any]:
    """Records of the outputs with drawings; most have both kinds."""
    folders = {"target": target, "labeled": labeled if labeled != target else None}
    return {name: record_of(folder, MANIFEST) for name, folder in folders.items() if folder}


def _named(
    source: Path,
    target: Path | None,
    labeled: Path | None,
    validation: Path | None,
    initial: Initial | None,
) -> dict[str, Any]:
    """What the inputs were called, and the digests of the manifests that drawn images come with: recorded,
    and not compared."""
    paths = {
        "source": source,
        "target": target,
        "labeled": labeled,
        "validation": validation,
        "initial_segmentor": initial.checkpoint.file if initial else None,
    }
    named = {name: str(path) for name, path in paths.items() if path}
    if target and (target / MANIFEST).is_file():
        named[MANIFEST_DIGEST] = sha256(target / MANIFEST)
    if labeled:
        named[LABELED_DIGEST] = sha256(labeled / LABELED / MANIFEST)
    return {NAMED: named}


def _best(validation: Path | None) -> str:
    return "highest mIoU on the validation set" if validation else "copy of last: no validation set"


def _write_config(folder: Path, provenance: Provenance) -> None:
    text = yaml.safe_dump(provenance.decisive(), sort_keys=False)
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def crop_rules(
    settings: AdaptationSettings, benchmark: str, street_scale: tuple[int, int] | None
) -> CropRules:
    """How crops are drawn by the settings; `street_scale` is that of `find_target`."""
    factor = settings.resolution_factor
    # Pixels are given for the reference's crop.
    candidate = settings.rare_class_min_pixels * (settings.crop / (REFERENCE_CROP * factor)) ** 2
    target = settings.target_scale or street_scale
    margins = (settings.pseudo_ignore_top, settings.pseudo_ignore_bottom, settings.pseudo_ignore_sides)
    top, bottom, side = (margin / (REFERENCE_CROP * factor) for margin in margins)
    return CropRules(
        size=settings.crop,
        class_max_ratio=settings.cat_max_ratio,
        rare_min_pixels=candidate,
        rare_min_crop_pixels=candidate * settings.rare_class_min_crop_ratio,
        source_scale=training_scale(benchmark, settings),
        target_scale=_times(target, factor) if target else None,
        target_factor=factor,
        distorted=settings.photometric_distortion,
        labeled_share=settings.labeled_share,
        target_margins=(top, bottom, side) if settings.pseudo_margins_of == "image" else None,
    )


def _times(scale: tuple[int, int], factor: int) -> tuple[int, int]:
    return scale[0] * factor, scale[1] * factor


def _build_student(
    config: SegmentorConfig, pretrained: Path | None, seed: int
) -> tuple[Segmentor, Pretrained | None]:
    torch.manual_seed(seed)
    student = build_segmentor(config)
    return student, load_pretrained(student.encoder, config.encoder, pretrained) if pretrained else None


def _say_start(weights: Pretrained | None, initial: Initial | None, seed: int) -> None:
    if initial:
        distance = f"the feature distance is to {weights}" if weights else "no feature distance"
        log(f"adapt: starts from {initial.checkpoint}, sha256 {initial.sha256}; {distance}")
    else:
        log(f"adapt: {weights or 'encoder: random weights'}; decode head: random weights (seed {seed})")


def _started_from(checkpoint: Checkpoint, config: SegmentorConfig) -> Segmentor:
    """The network of `checkpoint`, with the dropout of the training."""
    student = build_segmentor(config)
    # A mask token may be in one of them alone.
    student.load_state_dict(checkpoint.segmentor.state_dict(), strict=False)
    return student
