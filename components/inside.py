"""What the first tasks of a run find of the cluster from inside: with the real image, network and secrets.

Each thing that is looked at is a row of one table, in the task's log and on a page beside it. The task ends
with the first fault of the table, after all was looked at. `datum doctor --inside` has the same looked at
without a run: a Job calls `python -m components.inside JSON`.
"""

import dataclasses
import email.utils
import http.client
import json
import os
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from components.run_room import bytes_at, bytes_of_model, bytes_of_scenes
from components.task import ACCOUNT, WANTED_ACCOUNT, failing_with_status, scratch
from datum.config import load_settings
from datum.data_cache import CACHE
from datum.diffusion.base_model import base_model_path
from datum.diffusion.fitness import MODEL_INDEX
from datum.errors import InputError, TemporaryFaultError, one_line
from datum.reporting.model_registry import find_registry
from datum.room import bytes_below, size_in_words
from datum.store import local_path, open_store
from datum.telemetry import log

MOST_SKEW = 300.0
"""Seconds between this machine's clock and the store's. S3 refuses a request from 15 minutes on."""

PLACES = ("datasets", "state", "reports")
"""What a run writes to, of an installation."""

SHARED_MEMORY = Path("/dev/shm")

_OF_PROXIES = (407, 502, 503, 504)
"""Statuses by which a proxy says that it passes nothing on, or reaches nobody."""

METADATA_HOST, METADATA_PORT = "METADATA_GRPC_SERVICE_HOST", "METADATA_GRPC_SERVICE_PORT"
"""Environment variables with the address of KFP's metadata store, which KFP (2.15 to 2.17) gives every task
from its ConfigMap `metadata-grpc-configmap`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was looked at."""

    what: str
    found: str
    error: InputError | TemporaryFaultError | None = None
    """What is wrong with it."""
    doubtful: bool = False
    """Whether a person should look at it, though the run can go on."""

    @property
    def mark(self) -> str:
        """Begins its line in a log."""
        return "✗" if self.error else "!" if self.doubtful else "✓"

    @property
    def verdict(self) -> str:
        """The mark in a word."""
        return "wrong" if self.error else "doubtful" if self.doubtful else "right"


def look(what: str, at: Callable[[], str]) -> Row:
    """What `at` says of `what`, or the error of ours that it raises."""
    try:
        return Row(what=what, found=at())
    except (InputError, TemporaryFaultError) as error:
        return Row(what=what, found=one_line(str(error)), error=error)


def show_rows(rows: Iterable[Row], page: Path) -> None:
    """Shows the table in the log, writes it to `page` as Markdown, and raises the first error in it."""
    shown = list(rows)
    width = max(len(row.what) for row in shown)
    for row in shown:
        log(f"{row.mark} {row.what:{width}}  {row.found}")
    cells = [(row.what, row.verdict, row.found.replace("|", "\\|")) for row in shown]
    page.parent.mkdir(parents=True, exist_ok=True)
    lines = ["| what | | found |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in cells)]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for row in shown:
        if row.error:
            raise row.error


def rows_of_store(installation: Mapping[str, str], needed: Mapping[str, int] = {}) -> list[Row]:
    """Whether the places of the `installation` can be written, read and cleared, and the store's clock;
    `needed` are the bytes that the run takes of them, as far as that is known."""
    rows = [
        look(name, lambda name=name: use_place(installation[name], needed.get(name, 0)))  # type: ignore[misc]
        for name in PLACES
    ]
    endpoint = installation["store_endpoint"]
    if any(installation[name].startswith("s3://") for name in PLACES) and not any(row.error for row in rows):
        rows.append(look("clock", lambda: compare_clock(endpoint)))
    return rows


def use_place(uri: str, needed: int = 0) -> str:
    """Writes, reads and removes a small object below `uri`. Raises what the store raises, `InputError` where
    something else is read than was written, and `TemporaryFaultError` where the place is a folder whose disk
    has no room for `needed` bytes, those that lie there already included."""
    store, key, content = open_store(uri), f"datum-check-{uuid.uuid4().hex}", b"datum check"
    store.write_bytes(key, content)
    same = store.read_bytes(key) == content
    store.delete(key)
    if not same:
        raise InputError(f"{uri}: what was read is not what was written; look at the store's own health")
    found, folder = f"{uri}: written, read and removed", local_path(uri)
    if folder:
        return f"{found}; {_room_in(folder, max(0, needed - bytes_below(folder)))}"
    if not needed:
        return found
    return f"{found}; this run needs up to {size_in_words(needed)}, and an S3 store does not say what is free"


def rows_of_account() -> list[Row]:
    """Whether the run has the service account of the installation, where it is known: the form of KFP's web
    interface leaves it empty, and KFP then takes one of its own, which may do more."""
    account, wanted = os.environ.get(ACCOUNT, ""), os.environ.get(WANTED_ACCOUNT, "")
    if not (account and wanted):
        return []
    found = account
    if account != wanted:
        found = (
            f"{account}, whose rights the run has, and the installation's is {wanted}; type that into the "
            "form's field Service Account"
        )
    return [Row(what="service account", found=found, doubtful=account != wanted)]


def rows_of_services(installation: Mapping[str, str]) -> list[Row]:
    """Whether KFP's metadata store answers, and the model registry, if there is one."""
    rows = [look("metadata store", connect_metadata_store)]
    if registry := installation.get("model_registry"):
        rows.append(look("model registry", lambda: find_registry(registry)))
    return rows


def connect_metadata_store() -> str:
    """Connects to KFP's metadata store, where each task's launcher records what it made; raises
    `TemporaryFaultError` where it does not answer."""
    host, port = os.environ.get(METADATA_HOST), os.environ.get(METADATA_PORT, "8080")
    if not host:
        return f"not looked at: {METADATA_HOST} is not set, which is for KFP's metadata-grpc-configmap"
    try:
        return _connect(host, int(port))
    except (OSError, ValueError) as error:
        raise TemporaryFaultError(
            f"{host}:{port}: KFP's metadata store cannot be reached ({error}); look at its pod "
            "metadata-grpc-deployment and at the network policy datum-kfp"
        ) from None


def connect_server(url: str, encoder: str) -> str:
    """Asks the server of `url`, which weights of `encoder` are downloaded from, as the download will: through
    the proxies of the environment, and where it leads to. Raises `InputError` where a task does not reach it:
    a training would ask until its time-out."""
    fault: object = None
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "datum"})
        # Made anew, since it keeps the proxies that it finds.
        urllib.request.build_opener().open(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()
        fault = error if error.code in _OF_PROXIES else None
    except (OSError, http.client.HTTPException) as error:
        fault = getattr(error, "reason", error)
    if fault:
        raise InputError(
            f"{url}: cannot be reached from a task ({fault}), and a training downloads its weights there; "
            f"`datum weights {encoder} --fetch` downloads them, put them into the store, and name their "
            "s3:// URI as ENCODER_WEIGHTS in settings.env or as method_encoder_weights"
        )
    return f"{urlsplit(url).hostname} answers"


def _connect(host: str, port: int) -> str:
    socket.create_connection((host, port), timeout=10).close()
    return f"{host}:{port} accepts connections"


def compare_clock(endpoint: str) -> str:
    """How far this machine's clock is from that of the server at `endpoint`; raises `InputError` where it is
    so far that a signature may be refused."""
    try:
        with urllib.request.urlopen(endpoint, timeout=10) as answer:
            said = answer.headers["Date"]
    except urllib.error.HTTPError as error:  # A store answers an anonymous request so, and tells the time.
        said = error.headers["Date"]
    except OSError as error:
        raise TemporaryFaultError(f"{endpoint}: does not answer ({error})") from None
    if not said:
        return f"{endpoint} does not tell the time"
    skew = time.time() - email.utils.parsedate_to_datetime(said).timestamp()
    if abs(skew) > MOST_SKEW:
        raise InputError(
            f"clock: is {abs(skew):.0f} s {'after' if skew > 0 else 'before'} that of {endpoint}; set this "
            "node's clock right (chrony, ntpd)"
        )
    return f"{abs(skew):.0f} s from the store's"


def disks() -> tuple[Path, ...]:
    """What a task writes to."""
    cache = os.environ.get(CACHE)
    return scratch(), Path("/tmp"), *([Path(cache)] if cache else [])


def rows_of_disk(folders: Mapping[Path, int]) -> list[Row]:
    """Whether `folders` can be written to and have room for so many bytes, and the size of /dev/shm."""

    def write(folder: Path, needed: int) -> str:
        file = folder / f"datum-check-{uuid.uuid4().hex}"
        try:
            file.write_bytes(b"datum check")
            file.unlink()
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be written to ({error.strerror}); look at its volume"
            ) from None
        return _room_in(folder, needed)

    rows = [
        look(str(folder), lambda folder=folder, needed=needed: write(folder, needed))  # type: ignore[misc]
        for folder, needed in folders.items()
    ]
    memory = shutil.disk_usage(SHARED_MEMORY).total
    return [*rows, Row(what=str(SHARED_MEMORY), found=size_in_words(memory))]


def _room_in(folder: Path, needed: int) -> str:
    """What is free on the disk of `folder`; raises `TemporaryFaultError` where that is less than `needed`."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TemporaryFaultError(
            f"{folder}: {size_in_words(free)} are free on its disk, expected {size_in_words(needed)}; make "
            "room or take a larger one"
        )
    wanted = f", up to {size_in_words(needed)} are needed" if needed else ""
    return f"{size_in_words(free)} are free on its disk{wanted}"


def rows_of_node(
    *,
    base_model: str,
    gpu_count: int,
    source: str,
    target: str,
    profile: str,
    overrides: Sequence[str],
) -> list[Row]:
    """What a training finds of its node: the GPU, if one was asked for, the disks, with room for what is
    fetched to scratch (the base model, or both data sets), and the way to the base model, unless `base_model`
    is `none`."""
    rows = [look("GPU", lambda: compute_on_gpu(gpu_count))]

    def fetched() -> int:
        settings = load_settings(profile, overrides)
        model = 0 if base_model == "none" else bytes_of_model(base_model, settings)
        data = bytes_at(source) + bytes_at(target) if source else bytes_of_scenes(settings.datasets)
        return max(model, data)

    try:
        rows += rows_of_disk(dict.fromkeys(disks(), 0) | {scratch(): fetched()})
    except (InputError, TemporaryFaultError) as error:
        rows.append(Row(what="data", found=one_line(str(error)), error=error))
    if base_model != "none":
        rows.append(look("base model", lambda: find_model(base_model, profile, overrides)))
    return rows


def compute_on_gpu(count: int) -> str:
    """Computes on the GPUs that were asked for; raises `InputError` where torch sees fewer."""
    import torch

    if not count:
        return "none is asked for: the tasks run on processors"
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < count:
        raise InputError(
            f"GPU: torch {torch.__version__} sees {found or 'none'} in a pod that asked for {count}; check "
            "gpu_type, the node's driver and its device plugin"
        )
    for number in range(count):
        ones = torch.ones(64, 64, device=f"cuda:{number}")
        if float((ones @ ones).sum()) != 64.0**3:
            raise InputError("GPU: computes a wrong product; take its node out of the cluster")
    about = torch.cuda.get_device_properties(0)
    times = f"{count} x " if count > 1 else ""
    return f"{times}{about.name}, {size_in_words(about.total_memory)}, torch {torch.__version__}"


def find_model(name: str, profile: str, overrides: Sequence[str]) -> str:
    """Looks the base model `name`, or that of the settings, up where personalization will take it from.

    Raises `InputError` where it is not there.
    """
    if name.startswith("s3://"):
        if not open_store(name).exists(MODEL_INDEX):
            raise InputError(f"{name}: has no {MODEL_INDEX}; name the folder of a diffusers pipeline")
        return f"{name}: is there"
    chosen = [f"personalization.base_model={name}"] if name else []
    asked = load_settings(profile, [*overrides, *chosen]).personalization
    location = base_model_path(asked.base_model)
    if Path(location).is_dir():
        return f"{asked.base_model}: in {location}"
    from datum.diffusion.hub import find_commit  # needs the hub's client

    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    named = f"--base-model {asked.base_model}"
    commit, files = find_commit(asked.base_model, asked.revision, lambda folder: None, named=named)
    return f"{asked.base_model}: {len(files)} files at {host}, commit {commit[:12]}"


def main() -> None:
    """Looks as the only argument says, which is JSON: with a `node`, as `rows_of_node` takes it, at the node,
    else at the store, the services and the disks of the `installation`."""
    asked = json.loads(sys.argv[1])
    with failing_with_status(asked["installation"]):
        if node := asked.get("node"):
            rows = rows_of_node(**node)
        else:
            rows = rows_of_store(asked["installation"]) + rows_of_services(asked["installation"])
            rows += rows_of_disk(dict.fromkeys(disks(), 0))
        show_rows(rows, Path(os.devnull))


if __name__ == "__main__":
    main()
