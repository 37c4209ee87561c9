"""Drawing images whose labels are known: what it is given, and its order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from diffusers import StableDiffusionPipeline

from datum.diffusion.controlnet import find_controlnet
from datum.errors import InputError
from datum.formats.labeled import LABELED, LabeledImage
from datum.generation.gate import drop_worst
from datum.generation.kept_images import KeptImages
from datum.generation.label_maps import LabelMaps
from datum.generation.label_painter import LabelPainter
from datum.generation.series import LabelSeries
from datum.generation.shard import Shard
from datum.generation_settings import GenerationSettings
from datum.prompts import prompt_of_classes
from datum.store import Store

if TYPE_CHECKING:
    from datum.generation.agreement import Judge


LEAST_TEMPERATURE = 1e-6
"""Of the softmax over classes, which has none of 0."""

MOST_DROPPED = 0.9
"""Share of the drawings that the gate may drop: it is there for the worst."""


class LabeledDrawing:
    """The source's label maps, the ControlNet and the judge, found and checked.

    Raises `InputError` where one of them is missing, damaged or does not fit the pipeline in `folder`, and
    for settings out of range.
    """

    def __init__(self, folder: Path, settings: GenerationSettings, source: Path | None) -> None:
        _check(settings)
        if source is None:
            raise InputError(
                "--source: missing, expected a converted source data set for generation.labels=source"
            )
        if not settings.controlnet:
            raise InputError(
                "--controlnet: missing, expected the ControlNet to draw with for generation.labels=source: a "
                "folder, or a hub id such as yurujaja/DGInStyle/ControlNet_UNet-S"
            )
        self._settings, self._source = settings, source
        self.controlnet = find_controlnet(settings.controlnet, folder)
        self._judge_sha256 = self._digest_of_judge()
        self._maps = LabelMaps(source, settings, with_images=self.controlnet.kind == "colored")

    def digests(self) -> dict[str, str]:
        """What decides the drawings, beside the model."""
        found = {"source_sha256": self._maps.digest, "controlnet_sha256": self.controlnet.digest()}
        return found | ({"judge_sha256": self._judge_sha256} if self._judge_sha256 else {})

    def names(self) -> dict[str, str]:
        """How these were given."""
        given = {"source": str(self._source), "controlnet": self.controlnet.name}
        found = {"controlnet_commit": self.controlnet.commit, "judge": self._settings.judge}
        return given | {key: name for key, name in found.items() if name}

    def series(self, pipeline: StableDiffusionPipeline, seed: int, digest: str) -> LabelSeries:
        """The images that the parts of `pipeline`, whose digest is `digest`, draw with `seed`."""
        settings = self._settings
        longest = prompt_of_classes(settings.labeled_prompt, self._maps.class_names)
        painter = LabelPainter(pipeline, self.controlnet, settings, longest)
        return LabelSeries(
            painter, self._maps, settings.labeled_prompt, settings.labeled_count, seed, digest, self._judge()
        )

    def draw(self, series: LabelSeries, folder: Path, shard: tuple[int, int], store: Store | None) -> None:
        """Draws a shard of the series into `folder`. The gate takes all images at once, so it drops none from
        one shard of several: `merge_shards` does."""
        folder.mkdir(exist_ok=True)
        kept = KeptImages(store, LabeledImage, f"{LABELED}/") if store else None
        images = Shard(series, folder, self._settings.batch_size, shard).draw(kept)
        if self._judge_sha256 and shard == (1, 1):
            drop_worst(folder, images, self._settings.labeled_dropped)

    def _digest_of_judge(self) -> str:
        if not self._settings.judge:
            return ""
        # Needs the segmentation network's packages, which drawing does without.
        from datum.generation.agreement import judge_digest

        return judge_digest(self._settings.judge)

    def _judge(self) -> Judge | None:
        if not self._settings.judge:
            return None
        from datum.generation.agreement import Judge

        return Judge(self._settings.judge)


def _check(settings: GenerationSettings) -> None:
    prompt_of_classes(settings.labeled_prompt, ())
    temperature, strength = settings.labeled_temperature, settings.labeled_strength
    if temperature < LEAST_TEMPERATURE:
        raise InputError(
            f"generation.labeled_temperature={temperature}: expected {LEAST_TEMPERATURE} or more"
        )
    if not 0 < strength <= 1 or int(settings.labeled_steps * strength) < 1:
        raise InputError(
            f"generation.labeled_strength={strength}: expected at most 1, and enough for one of the "
            f"{settings.labeled_steps} steps (generation.labeled_steps)"
        )
    if settings.labeled_dropped > MOST_DROPPED:
        raise InputError(
            f"generation.labeled_dropped={settings.labeled_dropped}: expected at most {MOST_DROPPED}"
        )
