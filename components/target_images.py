"""Which images of the new place a training sees, and which pipeline makes them: looked at before a run is
started, and again by its first task."""

from datum.config import Settings
from datum.errors import InputError
from datum.methods import MAIN_METHODS, METHODS

WITHOUT_DRAWING = "source-only"
"""Method that the form of a pipeline without drawn images is filled with; most others would train on them."""


def require_pipeline(settings: Settings, *, draws: bool) -> None:
    """Raises `InputError` where a pipeline, which `draws` images of the new place or does not, does not make
    what the settings train on, or where no pipeline could."""
    require_target_images(settings)
    wanted, method = settings.run.target_images, settings.run.method
    if draws and wanted != "generated":
        raise InputError(
            f"run.target_images: found {wanted} (by run.method={method}), and this pipeline trains on "
            "generated; start the pipeline training, or choose another method"
        )
    if not draws and wanted == "generated":
        raise InputError(
            f"run.target_images: found generated (by run.method={method}), and this pipeline trains on "
            "one-shot, all or none; start the pipeline reproduction, choose method=source-only or "
            'method=one-image, or add "run.target_images=all" to run_overrides'
        )


def require_target_images(settings: Settings) -> None:
    """Raises `InputError` for a method that cannot train on the images that the settings name."""
    method, wanted = settings.run.method, settings.run.target_images
    only = METHODS[method].target
    if only and wanted != only:
        raise InputError(
            f"run.target_images={wanted}: run.method={method} trains on {only}; leave it out, or choose "
            f"another method, such as {', '.join(MAIN_METHODS)}"
        )
    if not only and wanted == "none":
        raise InputError(
            f"run.target_images=none: run.method={method} trains itself on target images; choose generated, "
            "one-shot or all, or run.method=source-only"
        )
