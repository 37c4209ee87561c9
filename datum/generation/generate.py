"""Drawing the data set of the new place, as DATUM's `dreambooth/generate_dreambooth.py` does, and beside it,
where that is asked for, images whose labels are known.

Images are drawn in blocks of `batch_size` consecutive indices, always whole ones: a matrix product rounds
differently for another batch size, so blocks that follow the index alone keep image j the same, to the byte
on one kind of processor, whatever the number of shards, the count, or where a run was interrupted.
"""

from pathlib import Path
from typing import Any

from datum.config import require_counts
from datum.diffusion.base_model import model_digest
from datum.diffusion.checkpoint import find_checkpoint
from datum.diffusion.fitness import require_fitting
from datum.diffusion.sizes import latent_cell, require_cells_of_image
from datum.errors import InputError
from datum.formats.generated import GeneratedImage
from datum.formats.labeled import LABELED
from datum.generation.kept_images import KeptImages
from datum.generation.labeled_drawing import LabeledDrawing
from datum.generation.painter import Painter, load_pipeline
from datum.generation.room_to_draw import require_room_to_draw
from datum.generation.series import PromptSeries
from datum.generation.shard import Shard
from datum.generation_settings import GenerationSettings
from datum.outputs import building, is_complete
from datum.prompts import build_prompts
from datum.provenance import NAMED, Provenance, read_provenance, record_of
from datum.stopping import deferred
from datum.store import open_store
from datum.telemetry import log
from datum.training_state import state_place


def generate(
    *,
    model: Path,
    output: Path,
    settings: GenerationSettings,
    seed: int,
    shard: tuple[int, int] = (1, 1),
    state_uri: str | None = None,
    source: Path | None = None,
) -> None:
    """Draws the images of shard (I, K), I from 1 to K, into `output/images/im_<index>_p<prompt>.png`.

    `output/manifest.jsonl` has one `GeneratedImage` a line. Shard I takes every K-th block of `batch_size`
    indices, from block I - 1 on; `merge_shards` joins shards to what one unsharded run writes. `model` is a
    pipeline folder or a personalization output.

    With `generation.labels=source`, images are drawn from label maps of `source`, a converted source data
    set, too, into `output/labeled` (`datum.formats.labeled`).

    An image that the safety checker rejects in every try is left out and listed in `output/rejected.jsonl`.

    A run that was killed keeps the images whose digest is right and draws the others. `state_uri` names a
    store that every image is copied to, so that a run can go on on another machine. On SIGTERM it ends with
    `Stopped`.

    Raises `InputError` for an unusable model, setting, shard, source or ControlNet, before anything is
    written, where the model draws what is no picture, and where more images are left out than should be.
    """
    _check(settings, shard)
    prompts = build_prompts(settings.prompt_template, settings.prompt_classes)
    folder = find_checkpoint(model, settings.checkpoint_step)
    require_fitting(folder, f"--model {folder}")
    require_cells_of_image(settings.size, latent_cell(folder))
    labeled = _labeled(folder, settings, source)
    digest = model_digest(folder)
    named = {"model": str(model)} | (labeled.names() if labeled else {})
    provenance = Provenance(
        stage="generate",
        settings=settings,
        inputs={"model_sha256": digest, **(labeled.digests() if labeled else {}), NAMED: named},
        seed=seed,
        arguments={"shard": list(shard)},
        made_from=_made_from(folder),
    )
    if is_complete(output, provenance):
        return
    require_room_to_draw(folder, output, settings, shard[1], labeled.controlnet if labeled else None)
    pipeline = load_pipeline(folder, settings)
    unlabeled = PromptSeries(Painter(pipeline, settings, prompts), prompts, settings.count, seed, digest)
    series = labeled.series(pipeline, seed, digest) if labeled else None
    store = open_store(state_place(state_uri, provenance)) if state_uri else None
    if store:
        # This asks for a key: a wrong endpoint or secret is said before anything is written.
        store.exists("any")
    with building(output, provenance) as partial, deferred():
        kept = KeptImages(store, GeneratedImage) if store else None
        Shard(unlabeled, partial, settings.batch_size, shard).draw(kept)
        if labeled and series:
            labeled.draw(series, partial / LABELED, shard, store)


def _labeled(folder: Path, settings: GenerationSettings, source: Path | None) -> LabeledDrawing | None:
    if settings.labels == "source":
        return LabeledDrawing(folder, settings, source)
    if source:
        log(f"generate: --source {source} is not used, since generation.labels is {settings.labels}")
    return None


def _made_from(checkpoint: Path) -> dict[str, Any]:
    """The record of the personalization that wrote the checkpoint, if one did."""
    if (read_provenance(checkpoint.parent) or {}).get("stage") != "personalize":
        return {}
    files = (f"{checkpoint.name}/{depth}" for depth in ("*", "*/*"))
    return {"model": record_of(checkpoint.parent, *files)}


def _check(settings: GenerationSettings, shard: tuple[int, int]) -> None:
    require_counts("generation", settings)
    number, total = shard
    if not 1 <= number <= total:
        raise InputError(f"--shard {number}/{total}: expected I/K with I from 1 to K")
