"""The images of an unfinished generation, kept in a store so that a run can go on on another machine."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Generic

from datum.formats.generated import Drawn, append_image, surviving_images
from datum.instruments import STATE_SAVED, put
from datum.store import DamagedError, Store
from datum.telemetry import log
from datum.threads import at_once

_RECORDS = "records/"
"""Keys of the records, one per image, written after the image itself."""


class KeptImages(Generic[Drawn]):
    """The images of one `kind` that one generation, or one shard of it, has drawn so far."""

    def __init__(self, store: Store, kind: type[Drawn], place: str = "") -> None:
        """`place` is the folder of the images in the output, with a slash at its end, and in the store."""
        self._store, self._kind, self._place = store, kind, place

    def keep(self, folder: Path, image: Drawn) -> None:
        """Copies an image of `folder` to the store."""
        for name, digest in image.files().items():
            self._store.put(folder / name, f"{self._place}{name}", digest)
        record = json.dumps(dataclasses.asdict(image)).encode()
        self._store.write_bytes(f"{self._place}{_RECORDS}{image.index:08d}.json", record)
        put(STATE_SAVED, time.time())

    def restore(self, folder: Path) -> None:
        """Brings the images that `folder` lacks there, with their lines of the manifest.

        What is damaged, incomplete or of another kind is left out, with a line in the log, and drawn again.
        """
        present = {image.file for image in surviving_images(folder, self._kind)}
        records = {entry.key: entry.size for entry in self._store.entries(f"{self._place}{_RECORDS}")}
        restored: dict[str, Drawn] = {}

        def bring(key: str) -> None:
            image = self._read(key)
            if image and image.file not in present and self._fetch(image, folder):
                restored[key] = image

        at_once("restore kept images", records, bring)
        for key in sorted(restored):
            append_image(folder, restored[key])

    def _read(self, key: str) -> Drawn | None:
        try:
            return self._kind(**json.loads(self._store.read_bytes(key)))
        except (ValueError, TypeError, KeyError, RecursionError):
            log(f"{key}: is no record of a drawn image; the image is drawn again")
            return None

    def _fetch(self, image: Drawn, folder: Path) -> bool:
        for name, digest in image.files().items():
            file = folder / name
            file.parent.mkdir(exist_ok=True)
            try:
                self._store.get(f"{self._place}{name}", file, digest)
            except (KeyError, DamagedError):
                log(f"{name}: is gone from the store or damaged in it; the image is drawn again")
                return False
        return True
