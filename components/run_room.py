"""What a run takes of the store and of a node's disk, estimated before anything is moved."""

import dataclasses
from pathlib import Path

from datum.config import DatasetSettings, Settings
from datum.diffusion.base_model import base_model_path
from datum.room import bytes_below
from datum.store import local_path
from datum.transfer import remote_files

STABLE_DIFFUSION = 5_500_000_000
"""Bytes of Stable Diffusion v1.4 in float32, which stands for every model that lies elsewhere."""

TRAINED_SHARE = 0.72
"""Share of it that DreamBooth trains: its UNet and text encoder, 3.93 GB of 5.5."""

NETWORK = {
    "mit-b5": 340_000_000,
    "dinov2-b": 354_000_000,
    "dinov2-l": 1_230_000_000,
    "resnet-18-half": 12_000_000,
}
"""Bytes of a segmentation network's weights; other encoders, all smaller, are counted as MiT-B5."""

KEPT_STATES = 2
"""States that stay in the store while a third is written: `datum.training_state`'s, which needs torch."""

NETWORKS_OF_STATE = 5
"""Weights that a training's state holds: student, teacher, AdamW's two numbers, the best so far."""

BYTES_OF_PIXEL = 2
"""Of a photograph or a drawing as PNG, which take two thirds of their raw size."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoomOfRun:
    """What a run takes at most, in bytes."""

    datasets: int
    """Of the ingested data sets, which later runs share."""
    artifacts: int
    """Of what KFP keeps: checkpoints, drawings, networks."""
    state: int
    """Of what tasks resume from, until the report is written."""


def room_of_run(
    settings: Settings, *, data: int, model: int, seeds: int, variants: int = 0, draws: bool = True
) -> RoomOfRun:
    """The room of a run over so many `seeds`, each of which trains once and once more per variant.

    `data` are the bytes of its data sets and `model` those of its base model; `draws` says whether it
    personalizes and draws, or trains the baselines, which are two a seed.
    """
    personalization, generation = settings.personalization, settings.generation
    checkpoints = -(-personalization.steps // max(1, personalization.checkpoint_every))
    trained = int(TRAINED_SHARE * model)
    models = seeds if draws else 0
    drawings = models * (1 + variants) * generation.count * BYTES_OF_PIXEL * generation.size**2
    network = NETWORK.get(settings.run.encoder, NETWORK["mit-b5"])
    trainings = seeds * (1 + variants if draws else 2)
    # AdamW keeps two numbers a weight. One state more than those kept is there while it is written.
    states = checkpoints - 1
    resumable = states * trained + (min(states, KEPT_STATES) + bool(states)) * 2 * trained
    return RoomOfRun(
        datasets=data,
        artifacts=models * checkpoints * model + drawings + trainings * 2 * network,
        state=models * resumable + drawings + trainings * (KEPT_STATES + 1) * NETWORKS_OF_STATE * network,
    )


def bytes_of_model(named: str, settings: Settings) -> int:
    """Bytes of the base model `named` in a form, or of that of the settings where it is empty."""
    if named.startswith("s3://"):
        return bytes_at(named)
    folder = Path(base_model_path(named or settings.personalization.base_model))
    return bytes_below(folder) if folder.is_dir() else STABLE_DIFFUSION


def bytes_of_scenes(settings: DatasetSettings) -> int:
    """Bytes of the street scenes that are drawn where no data set is given, and of their labels."""
    scenes = settings.source_scenes + settings.target_train_scenes + settings.target_val_scenes
    return scenes * (BYTES_OF_PIXEL + 1) * settings.height * settings.width


def bytes_at(uri: str) -> int:
    """Bytes of the files below a folder or an `s3://` URI; raises what the store raises."""
    folder = local_path(uri)
    if folder is not None:
        return bytes_below(folder)
    return sum(file.size for file in remote_files(uri).values())
