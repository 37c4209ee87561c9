"""Uploading the pipelines to KFP, each as a new version, and removing them."""

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from components.images import BUILT_IMAGES, image_names
from datum import __version__
from datum.cluster.client import Kfp, name_filter
from datum.cluster.settings import PIPELINES, ClusterSettings
from datum.cluster.table import print_table
from datum.errors import InputError
from datum.outputs import sha256

NON_ROOT_VERSION = (2, 16)
"""Oldest KFP that takes a pipeline whose tasks say that they do not run as root."""
SUFFIX = ".upload"
"""Stands between the name of a version and how often that content was uploaded."""


def upload(settings: ClusterSettings, images: Path | None, pipelines: Collection[str] = PIPELINES) -> None:
    """Compiles `pipelines` and uploads each that differs from its latest version; prints them all.

    Their forms are filled with the settings, so that the next run can be started from KFP's web interface.
    `images` is a JSON object of image names by stage. Without it, the file that `make images` left is taken,
    else the images are `<registry>/datum-<stage>:<tag>`. Raises `InputError` for a file that lacks one.
    """
    from pipelines.compile import compile_all
    from pipelines.resources import Cluster

    kfp = Kfp(settings)
    cluster = Cluster(
        images=images_of(settings, images),
        data_volume=settings.data_volume,
        form=settings,
        service_account=settings.service_account,
        sets_run_as_non_root=kfp.version is None or kfp.version >= NON_ROOT_VERSION,
    )
    with tempfile.TemporaryDirectory(prefix="datum-") as folder:
        rows = [_upload_pipeline(kfp, file) for file in compile_all(Path(folder), cluster, pipelines)]
    print_table(("PIPELINE", "VERSION", "", "URL"), rows)
    kfp.show_hint()


def images_of(settings: ClusterSettings, file: Path | None = None) -> dict[str, str]:
    """Each stage's image: as `file` says, else as `make images` left it, else as the settings name it."""
    from pipelines.compile import read_images

    if file or BUILT_IMAGES.exists():
        return read_images(file or BUILT_IMAGES)
    return image_names(settings.registry, settings.tag)


def remove_pipelines(settings: ClusterSettings) -> None:
    """Deletes the pipelines that `upload` made, with all their versions; prints what was deleted."""
    kfp = Kfp(settings)
    for name in PIPELINES:
        pipeline = find_pipeline(kfp, kfp_name(name))
        if not pipeline:
            continue
        key = {"pipeline_id": pipeline.pipeline_id}
        versions = list(kfp.entries(kfp.pipelines, "pipeline_versions", **key))
        # One by one: KFP before 2.15 deletes no pipeline that has versions, later ones only on request.
        for version in versions:
            version_id = version.pipeline_version_id
            kfp.delete(kfp.pipelines.delete_pipeline_version, pipeline_version_id=version_id, **key)
        kfp.delete(kfp.pipelines.delete_pipeline, **key)
        print(f"{kfp_name(name)}: deleted with {len(versions)} version{'s' * (len(versions) != 1)}")


def kfp_name(name: str) -> str:
    """Name in KFP of the pipeline called `name` in commands."""
    return f"datum-{name}"


def find_pipeline(kfp: Kfp, name: str) -> Any:
    """KFP's pipeline `name`, or None."""
    return kfp.find(kfp.pipelines.get_pipeline_by_name, name=name, **kfp.namespace)


def latest_version(kfp: Kfp, name: str) -> Any:
    """The version of the pipeline called `name` in commands that was uploaded last.

    Raises `InputError` where there is none.
    """
    pipeline = find_pipeline(kfp, kfp_name(name))
    version = _latest_version(kfp, pipeline.pipeline_id) if pipeline else None
    if not version:
        raise InputError(f"{name}: KFP has no version of {kfp_name(name)}; `make deploy` uploads it")
    return version


def _upload_pipeline(kfp: Kfp, file: Path) -> tuple[str, ...]:
    """A row of the table: the name of the pipeline, its version, whether that is new, its page."""
    name, description = kfp_name(file.stem), _description(file)
    pipeline = find_pipeline(kfp, name) or _create_pipeline(kfp, name, description)
    version, state = _upload_version(kfp, pipeline.pipeline_id, file, description)
    page = kfp.page(f"pipelines/details/{pipeline.pipeline_id}/version/{version.pipeline_version_id}")
    return name, version.display_name, state, page


def _description(file: Path) -> str:
    """What a compiled pipeline says of itself: a sentence, and the table of its form's fields."""
    import yaml

    (specification, *_) = yaml.load_all(file.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return str(specification["pipelineInfo"]["description"])


def _create_pipeline(kfp: Kfp, name: str, description: str) -> Any:
    import kfp_server_api as api

    # The UI's list of pipelines has one line for it.
    summary = description.partition("\n")[0]
    pipeline = api.V2beta1Pipeline(name=name, display_name=name, description=summary, **kfp.namespace)
    return kfp.create(
        kfp.pipelines.create_pipeline, lambda: find_pipeline(kfp, name), unique=True, pipeline=pipeline
    )


def _upload_version(kfp: Kfp, pipeline_id: str, file: Path, description: str) -> tuple[Any, str]:
    """The version that holds `file`, and whether it was uploaded now."""
    content = f"{__version__}-{sha256(file)[:12]}"
    latest = _latest_version(kfp, pipeline_id)
    if latest and latest.display_name.partition(SUFFIX)[0] == content:
        return latest, "unchanged"
    # Content that was uploaded before a later version has to become the latest again, under a new name.
    name, repetition = content, 1
    while _find_version(kfp, pipeline_id, name):
        repetition += 1
        name = f"{content}{SUFFIX}{repetition}"
    version = kfp.create(
        kfp.uploads.upload_pipeline_version,
        lambda: _find_version(kfp, pipeline_id, name),
        unique=True,
        uploadfile=str(file),
        name=name,
        pipelineid=pipeline_id,
        description=description,
    )
    return version, "uploaded"


def _latest_version(kfp: Kfp, pipeline_id: str) -> Any:
    """The version that was uploaded last, or None."""
    return kfp.first(kfp.pipelines, "pipeline_versions", pipeline_id=pipeline_id, sort_by="created_at desc")


def _find_version(kfp: Kfp, pipeline_id: str, name: str) -> Any:
    return kfp.first(kfp.pipelines, "pipeline_versions", pipeline_id=pipeline_id, filter=name_filter(name))
