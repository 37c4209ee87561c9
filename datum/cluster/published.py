"""What runs have published: `<reports>/<run id>/` with report.html, median_checkpoint/ and report.json.

It is read from the store itself: KFP's API gives no artifact in one piece.
"""

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from datum.cluster.settings import ClusterSettings
from datum.cluster.store_access import installed_store
from datum.errors import InputError, TemporaryFaultError
from datum.formats.report_figures import REPORT_FIGURES, parse_figures, read_figures
from datum.kept_folder import get_folder
from datum.outputs import building, is_complete, require_room, sha256
from datum.provenance import PROVENANCE, Provenance
from datum.store import Store
from datum.telemetry import log


def require_fetchable(settings: ClusterSettings, output: Path) -> None:
    """Raises before a run starts what `fetch_report` would raise after it: `InputError` where `output` holds
    something, and what a store raises that cannot be read."""
    require_room(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"--output {output}: holds something already; name another folder, or remove it")
    with installed_store(settings, settings.reports) as store:
        store.exists(REPORT_FIGURES)


def fetch_report(settings: ClusterSettings, run_id: str, output: Path) -> None:
    """Copies the report and the median checkpoint of a run into `output`, whole or not at all.

    Raises `InputError` where the run has published none, and `TemporaryFaultError` for a checkpoint that
    arrives damaged.
    """
    provenance = Provenance(stage="submit", arguments={"run": run_id})
    if is_complete(output, provenance):
        return
    place = f"{settings.reports}/{run_id}"
    with installed_store(settings, place) as store:
        if not store.exists(REPORT_FIGURES):
            raise InputError(
                f"run {run_id}: has no report at {place}; it is there when the run's task 'report' has "
                "succeeded"
            )
        _fetch(store, output, provenance)


def _fetch(store: Store, output: Path, provenance: Provenance) -> None:
    with contextlib.suppress(KeyError, ValueError):
        # The folder gets a record of its own, which holds the report's.
        report = json.loads(store.read_bytes(PROVENANCE))
        provenance = dataclasses.replace(provenance, made_from={"report": report})
    with building(output, provenance) as folder:
        get_folder(store, "", folder, leaving_out=[PROVENANCE])
        checkpoint = read_figures(folder)["median_checkpoint"]
        if sha256(folder / checkpoint["file"]) != checkpoint["sha256"]:
            raise TemporaryFaultError(f"{checkpoint['file']}: arrived with another SHA-256 than published")


def published_miou(settings: ClusterSettings, run_ids: Sequence[str]) -> dict[str, str]:
    """mIoU of the median checkpoint in percent, as text, by the ids of the runs that have published one.

    Where the store cannot be read it is empty, and one line says why.
    """
    found: dict[str, str] = {}
    if not run_ids:
        return found
    try:
        with installed_store(settings, settings.reports, patient=False) as store:
            for run_id in run_ids:
                try:
                    name = f"{run_id}/{REPORT_FIGURES}"
                    figures = parse_figures(f"{settings.reports}/{name}", store.read_bytes(name))
                except KeyError:
                    continue
                found[run_id] = f"{figures['median_checkpoint']['miou']:.1f}"
    except (InputError, TemporaryFaultError) as error:
        log(f"mIoU is not shown: {error}")
    return found
