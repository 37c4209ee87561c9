"""A report in a store: its files at `<place>/`, `report.json` last: where it is, all is."""

from pathlib import Path

from datum.errors import InputError
from datum.formats.report_figures import REPORT_FIGURES
from datum.store import open_store
from datum.transfer import described, put_missing


def publish_report_at(place: str, folder: Path) -> None:
    """Copies the report in `folder` to `place`, where what is the same already is not copied again.

    Raises `InputError` where another process has published a report there meanwhile, which stays.
    """
    store = open_store(place)
    there = {entry.key: entry for entry in store.entries()}
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    files = described({name: found[name] for name in sorted(found)}, "hash report")
    sources = {name: (found[name], file) for name, file in files.items() if name != REPORT_FIGURES}
    put_missing("publish report", store, sources, {key: entry.size for key, entry in there.items()})
    seen = there[REPORT_FIGURES].version if REPORT_FIGURES in there else ""
    if not store.swap_bytes(REPORT_FIGURES, found[REPORT_FIGURES].read_bytes(), seen):
        raise InputError(
            f"{place}/{REPORT_FIGURES}: another process has published its report meanwhile, which stays; let "
            "one run"
        )
