"""Models from the hub: the commit behind a name, and its files in the hub's cache on this machine."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError, of its HTTP client
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from datum.diffusion.fitness import MODEL_INDEX
from datum.errors import InputError, TemporaryFaultError, status_may_pass
from datum.patience import persevere
from datum.telemetry import log

# pragma: allowlist nextline secret
PINNED = {"CompVis/stable-diffusion-v1-4": "133a221b8aa7292a167afc5127cb63fb5005638b"}
"""Commits that stand for no revision, in place of a main branch that may move: of the paper's base model, the
one that published code and published caches of the hub name."""


def find_commit(
    name: str,
    revision: str,
    complete: Callable[[Path], object],
    *,
    named: str,
    configuration: str = MODEL_INDEX,
) -> tuple[str, list[str]]:
    """(commit that `revision` of the repository `name` stands for now, its files). Empty is the commit in
    `PINNED`, or the newest of the main branch. Messages begin with `named` (`--base-model X`), and the
    repository has a file `configuration`.

    Where the hub is out of reach, the commit that the cache knows for it is taken, if what lies there is
    `complete`: that raises `InputError` otherwise. Raises `InputError` for a final answer of the hub and
    `TemporaryFaultError` where it stays out of reach.
    """

    revision = revision or PINNED.get(name, "")

    def attempt() -> tuple[str, list[str]]:
        try:
            found = huggingface_hub.HfApi().model_info(name, revision=revision or None, timeout=30)
            # This notes in the cache what the revision stands for, for when the hub is out of reach.
            huggingface_hub.hf_hub_download(name, configuration, revision=revision or None)
        except Exception as error:
            fault = _fault(named, name, revision, error)
            away = isinstance(fault, TemporaryFaultError) or constants.HF_HUB_OFFLINE
            if away and (cached := _cached(name, revision, complete)):
                log(f"{named}: the hub is out of reach; taking commit {cached[0]} of the cache")
                return cached
            raise fault from None
        return str(found.sha), [file.rfilename for file in found.siblings or ()]

    return persevere(f"look up {name}", attempt)


def download(name: str, commit: str, files: Sequence[str], *, named: str) -> Path:
    """The folder with `files` of that `commit`, downloaded where the cache lacks them; raises as
    `find_commit`."""

    def attempt(file: str) -> Path:
        try:
            return Path(huggingface_hub.hf_hub_download(name, file, revision=commit))
        except Exception as error:
            raise _fault(named, name, commit, error) from None

    disable_progress_bars()
    for file in files:
        log_name = f"download {file} of {name}"
        folder = persevere(log_name, lambda file=file: attempt(file))  # type: ignore[misc]
        for _ in Path(file).parts:
            folder = folder.parent
    return folder


def _cached(name: str, revision: str, complete: Callable[[Path], object]) -> tuple[str, list[str]] | None:
    try:
        folder = Path(
            huggingface_hub.snapshot_download(name, revision=revision or None, local_files_only=True)
        )
        complete(folder)
    except (InputError, OSError, ValueError):
        return None
    return folder.name, [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


def _fault(where: str, name: str, revision: str, error: BaseException) -> BaseException:
    """What an error of the hub's client means; itself where it is none of the hub."""
    causes = list(_causes(error))
    advice = f"or download it where the hub is in reach (hf download {name}) and pass the folder"
    for cause in causes:
        if isinstance(cause, OfflineModeIsEnabled):
            return InputError(
                f"{where}: is not in the cache, and the hub is switched off (HF_HUB_OFFLINE); {advice[3:]}"
            )
        if isinstance(cause, RevisionNotFoundError):
            return InputError(
                f"{where}: has no revision {revision!r}; name a branch, a tag or a commit of it"
            )
        if isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError):
            return InputError(f"{where}: is no model of diffusers, or lacks a file ({_first_line(cause)})")
        if isinstance(cause, GatedRepoError):
            return InputError(
                f"{where}: is open only to those who accepted its terms; accept them on its page, set "
                f"HF_TOKEN, {advice}"
            )
        if isinstance(cause, HfHubHTTPError):
            status = cause.response.status_code if cause.response is not None else 0
            if status_may_pass(status):
                return TemporaryFaultError(f"{where}: the hub answers {status}; try again, {advice}")
            found = "no such model, or no access to it" if status in (401, 404) else "refused"
            return InputError(
                f"{where}: {found} (the hub answers {status}); check the name and HF_TOKEN, {advice}"
            )
    if any(isinstance(cause, HTTPError | ConnectionError | TimeoutError) for cause in causes):
        return TemporaryFaultError(f"{where}: the hub is out of reach; try again, {advice}")
    if isinstance(error, LocalEntryNotFoundError) or "Consistency check failed" in str(error):
        return TemporaryFaultError(f"{where}: the hub did not send it whole; try again, {advice}")
    if isinstance(error, OSError) and error.errno:
        return error
    return InputError(
        f"{where}: cannot be had from the hub ({_first_line(error)}); check HF_ENDPOINT, {advice}"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
