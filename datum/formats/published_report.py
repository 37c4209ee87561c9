"""A report in a store: its files at `<place>/`, `report.json` last: where it is, all is."""

from pathlib import Path

from datum.errors import InputError
from datum.formats.report_figures import REPORT_FIGURES
from datum.store import open_store
from datum.threads import at_once
from datum.transfer import described, is_put, put_described


def publish_report_at(place: str, folder: Path) -> None:
    """Copies the report in `folder` to `place`, where what is the same already is not copied again.

    Raises `InputError` where another process has published a report there meanwhile, which stays.
    """
    store = open_store(place)
    there = {entry.key: entry for entry in store.entries()}
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    files = described({name: found[name] for name in sorted(found)}, "hash report")

    def upload(name: str) -> None:
        same = name in there and there[name].size == files[name].size
        if not (same and is_put(store, name, files[name].sha256)):
            put_described(store, found[name], name, files[name])

    at_once(
        "publish report", {name: file.size for name, file in files.items() if name != REPORT_FIGURES}, upload
    )
    seen = there[REPORT_FIGURES].version if REPORT_FIGURES in there else ""
    if not store.swap_bytes(REPORT_FIGURES, found[REPORT_FIGURES].read_bytes(), seen):
        raise InputError(
            f"{place}/{REPORT_FIGURES}: another process has published its report meanwhile, which stays; let "
            "one run"
        )
