"""Checks of a run's parameters that cost nothing, made before any data is moved and any GPU is asked for."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.inside import (
    PLACES,
    Row,
    connect_server,
    disks,
    look,
    rows_of_account,
    rows_of_disk,
    rows_of_services,
    rows_of_store,
    show_rows,
)
from components.installation import require_installation, require_plain
from components.run_room import bytes_at, bytes_of_model, bytes_of_scenes, room_of_run
from components.target_images import require_pipeline, require_target_images
from datum.config import Settings
from datum.datasets.one_shot import protocol_of, require_one_a_seed
from datum.datasets.remote import require_protocol
from datum.diffusion.base_model import base_model_path, check_base_model
from datum.diffusion.sizes import latent_cell, require_cells_of_crop, require_cells_of_image, require_crop
from datum.errors import InputError
from datum.experiments import run_settings
from datum.prompts import build_prompts, require_prompt
from datum.room import size_in_words
from datum.segmentation.pretrained_file import (
    RANDOM,
    address_of,
    is_downloaded,
    pretrained_file,
    require_named,
)
from datum.store import is_http_url, local_path, open_store, require_place, run_ids
from datum.weight_sources import is_remote


def check_parameters(
    *,
    draws: bool,
    benchmark: str,
    method: str,
    encoder: str,
    overrides: Sequence[str],
    variants: Sequence[str],
    seeds: Sequence[int],
    named: Sequence[str],
    source: str,
    target: str,
    base_model: str,
    pretrained_encoder: str,
    inputs: Sequence[str],
    resume_from: str,
    title: str,
    installation: Mapping[str, str],
) -> Settings:
    """The settings that parameters of a pipeline run make; raises `InputError` for those that cannot work.

    `method` names a method or an experiment; `benchmark` and `encoder` may be empty (`run_settings`). `draws`
    says whether the pipeline personalizes and draws. `variants` are further overrides, each of which is to go
    with the others; `inputs` are files or URIs that must be there, but for empty ones and weights that are
    downloaded; `resume_from` the ids of earlier runs, or empty.
    """
    require_installation("run_installation", installation)
    texts = (source, target, base_model, pretrained_encoder, title, encoder, list(named), list(overrides))
    require_plain("the form", (*texts, installation))
    profile = installation["profile"]
    registry = installation["model_registry"]
    if registry and not is_http_url(registry):
        raise InputError(f"run_installation: found model_registry={registry!r}, expected http:// or https://")
    places = [installation[name] for name in PLACES]
    protocol = protocol_of(named)
    photographs = () if protocol else named
    # What is downloaded is looked for where it is used; random weights are nowhere.
    inputs = [uri for uri in inputs if uri != RANDOM and not is_downloaded(uri)]
    for uri in filter(None, (source, target, base_model, *photographs, *inputs, *places)):
        require_place(uri)
    run_ids("resume_from", resume_from)
    fields = {"method": method, "benchmark": benchmark, "encoder": encoder}
    chosen = []
    if base_model and not base_model.startswith("s3://"):
        chosen.append(f"personalization.base_model={base_model}")
    if pretrained_encoder:
        chosen.append(f"adaptation.pretrained_encoder={pretrained_encoder}")
    settings = run_settings(profile, **fields, overrides=[*overrides, *chosen])
    if seeds:
        require_pipeline(settings, draws=draws)
        check_training(settings)
    check_settings(settings, asks_base_model=not base_model.startswith("s3://"))
    for variant in variants:
        varied = run_settings(profile, **fields, overrides=[*overrides, *chosen, variant])
        check_settings(varied, asks_base_model=False)
    if named:
        require_one_a_seed(seeds, named)
    require_both(source, target)
    if protocol:
        require_target(protocol, target)
        require_protocol(protocol, target, seeds)
    for uri in filter(None, inputs):
        path, (folder, _, name) = local_path(uri), uri.rpartition("/")
        if not (path.is_file() if path is not None else open_store(folder).exists(name)):
            raise InputError(f"{uri}: not there; name a file that is")
    return settings


def check_run(*, page: Path, in_cluster: bool, draws: bool, **parameters: Any) -> None:
    """Checks the `parameters`, as `check_parameters` takes them, and on a cluster the store, its room for the
    run, the metadata store and the disks, with the task's own secret and network; shows what was found and
    writes it to `page`.

    `draws` says whether the run personalizes and draws. Raises the first error after all was looked at.
    """

    checked: list[Settings] = []

    def check() -> str:
        checked.append(check_parameters(draws=draws, **parameters))
        return "go together"

    rows = [look("parameters", check)]
    if in_cluster:
        needed: dict[str, int] = {}
        rows += rows_of_account()
        for settings in checked:
            rows += _rows_of_run(settings, needed, draws=draws, **parameters)
        rows += rows_of_store(parameters["installation"], needed)
        rows += rows_of_services(parameters["installation"])
        rows += rows_of_disk(dict.fromkeys(disks(), 0))
    show_rows(rows, page)


def _rows_of_run(
    settings: Settings,
    needed: dict[str, int],
    *,
    draws: bool,
    installation: Mapping[str, str],
    seeds: Sequence[int],
    variants: Sequence[str],
    source: str,
    target: str,
    base_model: str,
    **_: Any,
) -> list[Row]:
    """What a run of these settings takes of the store, in bytes told in `needed` too, and whether the server
    answers that its trainings download weights from."""
    ingested = f"{installation['datasets'].rstrip('/')}/"
    new = [uri for uri in (source, target) if uri and not uri.startswith(ingested)]

    def estimate() -> str:
        room = room_of_run(
            settings,
            data=sum(map(bytes_at, new)) if source else bytes_of_scenes(settings.datasets),
            model=bytes_of_model(base_model, settings) if draws and seeds else 0,
            seeds=len(seeds),
            variants=len(variants),
            draws=draws,
        )
        needed.update(datasets=room.datasets, state=room.state)
        data, artifacts, state = map(size_in_words, (room.datasets, room.artifacts, room.state))
        return (
            f"the run needs up to {data} of data, {artifacts} of artifacts in KFP's own store, and "
            f"{state} of state until its report is written"
        )

    rows = [look("room", estimate)]
    encoder, weights = settings.run.encoder, settings.adaptation.pretrained_encoder
    if seeds and is_downloaded(weights):
        address = address_of(encoder, weights)
        rows.append(look("encoder weights", lambda: connect_server(address, encoder)))
    return rows


def check_settings(settings: Settings, *, asks_base_model: bool = True) -> None:
    """Raises `InputError` for settings of two stages that do not go together, and for a base model that is
    not there or does not fit, as far as its small files tell; `asks_base_model` says whether it can be looked
    at."""
    require_target_images(settings)
    _require_labels(settings)
    step, training = settings.generation.checkpoint_step, settings.personalization
    written = {*range(training.checkpoint_every, training.steps + 1, max(1, training.checkpoint_every))}
    if step not in written | {training.steps}:
        raise InputError(
            f"generation.checkpoint_step={step}: personalization writes no such checkpoint, expected "
            f"personalization.steps ({training.steps}) or a multiple of personalization.checkpoint_every "
            f"({training.checkpoint_every}) up to it"
        )
    prompts = build_prompts(settings.generation.prompt_template, settings.generation.prompt_classes)
    require_prompt("personalization.instance_prompt", training.instance_prompt)
    require_crop(training.crop, training.short_side)
    if asks_base_model:
        check_base_model(training.base_model, training.revision, training.variant)
        folder = Path(base_model_path(training.base_model))
        if folder.is_dir():
            require_cells_of_crop(training.crop, latent_cell(folder))
            require_cells_of_image(settings.generation.size, latent_cell(folder))
            if find_spec("diffusers"):
                from datum.diffusion.load import check_prompts

                given = {"personalization.instance_prompt": [training.instance_prompt]}
                check_prompts(folder, given | {"generation.prompt_template": prompts})


def _require_labels(settings: Settings) -> None:
    """Raises `InputError` where labeled images cannot be drawn."""
    drawing, wanted = settings.generation, settings.run.target_images
    if drawing.labels == "none":
        return
    if wanted != "generated":
        raise InputError(
            f"generation.labels={drawing.labels}: run.target_images={wanted} draws nothing; leave it out, or "
            "train on generated images"
        )
    if not drawing.controlnet:
        raise InputError(
            f"generation.controlnet: not given, expected the ControlNet that draws what generation.labels="
            f"{drawing.labels} asks for; name a folder or a hub id"
        )


def check_training(settings: Settings, *, downloads: bool = False) -> None:
    """Raises `InputError` for a training that could not begin: without the weights that it is to start from,
    or with a crop and a batch size that the network cannot be trained on, which is looked at where the
    packages of adaptation are; `downloads` says whether what is elsewhere is fetched now, to look at it."""
    check_pretrained_encoder(settings, downloads=downloads)
    if find_spec("mmseg"):
        from datum.adaptation.initial import find_initial
        from datum.adaptation.requirements import network_of, require_trainable

        config = network_of(settings.run.encoder, settings.adaptation)
        require_trainable(config, settings.adaptation)
        if downloads or not is_remote(settings.adaptation.initial_segmentor):
            find_initial(settings.adaptation.initial_segmentor, config)


def check_pretrained_encoder(settings: Settings, *, downloads: bool = False) -> None:
    """Raises `InputError` where a training would not start from what was meant: no weights are named, the
    file is missing, or it does not fit the encoder. The last is looked at where the packages of adaptation
    are, and for what is elsewhere where `downloads` says so: the task fetches it."""
    encoder, named = settings.run.encoder, settings.adaptation.pretrained_encoder
    if not named and settings.adaptation.initial_segmentor:
        return
    require_named(encoder, named)
    if not downloads and (is_remote(named) or is_downloaded(named)):
        return
    file = pretrained_file(encoder, named)
    if file and find_spec("mmseg"):
        from datum.segmentation.encoders.pretrained import check_pretrained

        check_pretrained(encoder, file)


def require_target(protocol: str, target: object) -> None:
    """Raises `InputError` where a one-shot protocol is to be followed on drawn scenes."""
    if not target:
        raise InputError(
            f"one-shot protocol {protocol}: names images of Cityscapes, and no target is given; give both "
            "data sets, or leave the protocol out"
        )


def require_both(source: object, target: object) -> None:
    """Raises `InputError` where one of the data sets is given without the other."""
    if bool(source) != bool(target):
        missing = "target" if source else "source"
        raise InputError(
            f"--{missing}: not given; give both --source and --target, or neither for drawn scenes"
        )
