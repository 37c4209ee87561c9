"""The gate: which labeled drawings a network that was trained on the source finds least like their labels."""

from collections.abc import Sequence
from pathlib import Path

from datum.formats.labeled import LabeledImage, write_gate
from datum.instruments import REJECTED, add
from datum.labels import CLASS_NAMES
from datum.telemetry import log


def drop_worst(folder: Path, images: Sequence[LabeledImage], share: float) -> None:
    """Drops the worst `share` of the `images` in `folder`, all those of one generation; says how many.

    Drawings are compared with those for the same sampled class, by the mean agreement over the classes of
    their labels: compared with all, those of classes that are hard to tell would go first, which rare class
    sampling has just brought in.
    """
    images = sorted(images, key=lambda image: image.index)
    dropped: set[int] = set()
    for train_id in range(len(CLASS_NAMES)):
        of_class = [image for image in images if image.train_id == train_id]
        of_class.sort(key=lambda image: (image.mean_agreement(), image.index))
        dropped.update(image.index for image in of_class[: round(share * len(of_class))])
    kept = [image for image in images if image.index not in dropped]
    gone = [image for image in images if image.index in dropped]
    add(REJECTED, len(gone), "label_agreement")
    by_sampled = write_gate(folder, kept, gone, share)["by_class"]
    by_class = ", ".join(
        f"{name} {counts['dropped']} of {counts['kept'] + counts['dropped']}"
        for name, counts in by_sampled.items()
        if counts["dropped"]
    )
    log(f"generate labeled: {len(gone)} of {len(images)} drawings are dropped ({by_class or 'none'})")
