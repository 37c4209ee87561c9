"""A report in a store: `<place>/report-<digest of its content>/` with its files, and `<place>/report.json`.

The latter are the figures of the report that counts, and they go last: where they are, all is. Another
writer's files never come between, since they lie in a folder of another name.
"""

import hashlib
import re
from pathlib import Path

from datum.errors import InputError
from datum.formats.report_figures import REPORT_FIGURES
from datum.store import open_store
from datum.transfer import is_put, publish

_FOLDER = re.compile(rf"(report-[0-9a-f]{{16}})/{REPORT_FIGURES}")


def publish_report_at(place: str, folder: Path) -> None:
    """Makes the report in `folder` the one of `place`.

    Raises `InputError` where another process has done so meanwhile: of two, the first stays.
    """
    store = open_store(place)
    seen = "".join(entry.version for entry in store.entries(REPORT_FIGURES) if entry.key == REPORT_FIGURES)
    publish(folder, place, "report")
    if not store.swap_bytes(REPORT_FIGURES, (folder / REPORT_FIGURES).read_bytes(), seen):
        raise InputError(
            f"{place}/{REPORT_FIGURES}: another process has published its report meanwhile, which stays; let "
            "one run"
        )


def find_report(place: str) -> str | None:
    """URI of the folder that holds the report of `place`; None where there is none."""
    store = open_store(place)
    try:
        digest = hashlib.sha256(store.read_bytes(REPORT_FIGURES)).hexdigest()
    except KeyError:
        return None
    matches = (_FOLDER.fullmatch(key) for key in store.list("report-"))
    for match in filter(None, matches):
        if is_put(store, match[0], digest):
            return f"{place.rstrip('/')}/{match[1]}"
    # As datum 0.1 published it: file by file, at the place itself.
    return place.rstrip("/")
