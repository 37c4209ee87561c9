"""The images of an unfinished generation, kept in a store so that a run can go on on another machine."""

import dataclasses
import json
from pathlib import Path

from datum.formats.generated import IMAGES, GeneratedImage, append_image
from datum.store import Store

_RECORDS = "records/"
"""Keys of the records, one per image, written after the image itself."""


class KeptImages:
    """The images that one generation, or one shard of it, has drawn so far."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, folder: Path, image: GeneratedImage) -> None:
        """Copies an image of `folder` to the store."""
        self._store.put(folder / image.file, image.file)
        record = json.dumps(dataclasses.asdict(image)).encode()
        self._store.write_bytes(f"{_RECORDS}{image.index:08d}.json", record)

    def restore(self, folder: Path) -> None:
        """Brings the images that `folder` lacks there, with their lines of the manifest.

        What is damaged or incomplete is left out by the manifest's own check, and drawn again.
        """
        for key in self._store.list(_RECORDS):
            image = GeneratedImage(**json.loads(self._store.read_bytes(key)))
            # Only the base name counts: a record cannot point outside its own folder.
            file = folder / IMAGES / Path(image.file).name
            if not file.exists():
                try:
                    self._store.get(image.file, file)
                except KeyError:
                    continue
                append_image(folder, image)
