"""The images of an unfinished generation, kept in a store so that a run can go on on another machine."""

import dataclasses
import json
from pathlib import Path

from datum.formats.generated import GeneratedImage, append_image, surviving_images
from datum.store import DamagedError, Store
from datum.telemetry import log
from datum.threads import at_once

_RECORDS = "records/"
"""Keys of the records, one per image, written after the image itself."""


class KeptImages:
    """The images that one generation, or one shard of it, has drawn so far."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, folder: Path, image: GeneratedImage) -> None:
        """Copies an image of `folder` to the store."""
        self._store.put(folder / image.file, image.file, image.sha256)
        record = json.dumps(dataclasses.asdict(image)).encode()
        self._store.write_bytes(f"{_RECORDS}{image.index:08d}.json", record)

    def restore(self, folder: Path) -> None:
        """Brings the images that `folder` lacks there, with their lines of the manifest.

        What is damaged, incomplete or of another kind is left out, with a line in the log, and drawn again.
        """
        present = {image.file for image in surviving_images(folder, GeneratedImage)}
        records = {entry.key: entry.size for entry in self._store.entries(_RECORDS)}
        restored: dict[str, GeneratedImage] = {}

        def bring(key: str) -> None:
            image = self._read(key)
            if image and image.file not in present and self._fetch(image, folder):
                restored[key] = image

        at_once("restore kept images", records, bring)
        for key in sorted(restored):
            append_image(folder, restored[key])

    def _read(self, key: str) -> GeneratedImage | None:
        try:
            return GeneratedImage(**json.loads(self._store.read_bytes(key)))
        except (ValueError, TypeError, KeyError, RecursionError):
            log(f"{key}: is no record of a drawn image; the image is drawn again")
            return None

    def _fetch(self, image: GeneratedImage, folder: Path) -> bool:
        file = folder / image.file
        file.parent.mkdir(exist_ok=True)
        try:
            self._store.get(image.file, file, image.sha256)
        except (KeyError, DamagedError):
            log(f"{image.file}: is gone from the store or damaged in it; the image is drawn again")
            return False
        return True
