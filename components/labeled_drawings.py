"""What tasks do about labeled drawings: what these are drawn from, and whether there are any."""

import dataclasses
from pathlib import Path
from typing import Any

from components.task import located, scratch
from datum.config import Settings


def with_labels(settings: Settings, source: str) -> dict[str, Any]:
    """The settings that `datum.generation.generate` draws by and, where they ask for labels, the folder of
    the data set `source`, a URI.

    What is in the store is fetched. Where no judge is named, it is the trained network that trainings start
    from, if there is one.
    """
    from datum.transfer import fetch

    drawing = settings.generation
    if drawing.labels != "source":
        return {"settings": drawing}
    if drawing.controlnet.startswith("s3://"):
        drawing = dataclasses.replace(drawing, controlnet=str(fetch(drawing.controlnet, scratch())))
    if not drawing.judge:
        drawing = dataclasses.replace(drawing, judge=settings.adaptation.initial_segmentor)
    return {"settings": drawing, "source": fetch(source, scratch())}


def labeled_in(drawn: Any) -> Path | None:
    """The folder of the artifact `drawn`, an output of `datum generate`; None where there is none, and where
    it holds no labeled drawings."""
    from datum.formats.labeled import LABELED

    output = located(drawn.path) if drawn else None
    return output if output and (output / LABELED).is_dir() else None
