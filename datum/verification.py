"""`datum verify`: whether finished outputs are still what their records say, from the report to the
photograph.

Every output holds `provenance.json` (`datum.provenance`): the digests of its files, those of its inputs, and
the records of the outputs that it was made from. So two things can be verified: each output by hashing its
files again, and each link of the chain by comparing what an output was made from with what came out there.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datum.diffusion.base_model import PACKAGED, PACKAGED_FOLDER, digest_of_files, find_base_model
from datum.errors import InputError
from datum.formats.generated import MANIFEST
from datum.formats.labeled import LABELED
from datum.formats.metrics import METRICS
from datum.kept_folder import get_folder
from datum.outputs import digests_below, is_temporary, sha256
from datum.provenance import LABELED_DIGEST, MANIFEST_DIGEST, NAMED, PROVENANCE, read_provenance
from datum.store import local_path, open_store
from datum.telemetry import log

PHOTOGRAPH = "one_shot.png"
"""Name of the one-shot image wherever a run or a report keeps a copy."""

_UNFINISHED = (".partial", ".set-aside-")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """A finished output."""

    folder: Path
    record: Mapping[str, Any]

    def __str__(self) -> str:
        return _described(self.record)


def verify(place: str) -> list[str]:
    """Verifies all outputs below `place`, a folder or a URI; returns what was verified, a line each.

    Raises `InputError` that names the first thing that differs, and where there is no output.
    """
    with _at_hand(place) as folder:
        try:
            return _verify(folder)
        except InputError as error:
            if local_path(place) is not None:
                raise
            # Files are named by where the user keeps them.
            raise InputError(str(error).replace(str(folder), place.rstrip("/"))) from None


def _verify(folder: Path) -> list[str]:
    outputs = find_outputs(folder)
    if not outputs:
        raise InputError(
            f"{folder}: holds no {PROVENANCE}, expected a finished output of datum, or a folder with some"
        )
    lines = [_verify_files(output, outputs) for output in outputs]
    photographs = {sha256(file): file for file in _named(PHOTOGRAPH, folder)}
    chains = [chain for output in outputs for chain in _chains(output.record, (), output.folder, outputs)]
    known = {
        chain[-1]["inputs"].get("image_sha256") for chain in chains if chain[-1]["stage"] == "personalize"
    }
    for digest, file in photographs.items():
        if known and digest not in known:
            raise InputError(
                f"{file}: has SHA-256 {digest}, expected the photograph that a personalization here was "
                f"trained on ({', '.join(sorted(map(str, known)))})"
            )
    longest = [chain for chain in chains if not any(_is_part(chain, other) for other in chains)]
    return lines + [line for chain in longest if (line := _in_words(chain, photographs))]


def find_outputs(folder: Path) -> list[Output]:
    """The finished outputs at and below `folder`; unfinished ones are named in the log and passed over."""
    found: list[Output] = []
    for file in sorted(_named(PROVENANCE, folder), key=lambda file: (len(file.parts), file)):
        if any(mark in part for part in file.relative_to(folder).parts for mark in _UNFINISHED):
            log(f"{file.parent}: is unfinished and passed over")
            continue
        # A record that an output carries as one of its files is no output of its own.
        if any(file.is_relative_to(o.folder) and _name(file, o) in o.record["outputs"] for o in found):
            continue
        record = read_provenance(file.parent)
        if record is None or not _is_record(record):
            raise InputError(
                f"{file}: is no record of a finished output, expected one that datum wrote; make the output "
                "again"
            )
        found.append(Output(folder=file.parent, record=record))
    return found


def _is_record(record: Any) -> bool:
    """Whether `record` and the records in it have the parts that are read here."""
    if not isinstance(record, dict) or not isinstance(record.get("stage"), str):
        return False
    outputs, inputs, made_from = (record.get(key, {}) for key in ("outputs", "inputs", "made_from"))
    if not all(isinstance(part, dict) for part in (outputs, inputs, made_from)) or "outputs" not in record:
        return False
    digests = all(isinstance(name, str) and isinstance(digest, str) for name, digest in outputs.items())
    return digests and all(_is_record(parent) for parent in _parents(record))


def _verify_files(output: Output, outputs: Sequence[Output]) -> str:
    """Hashes all files of `output` again; returns a line for the user."""
    expected, found = output.record["outputs"], digests_below(output.folder)
    # What lies in an output of its own, such as the evaluations of a seed's run, has a record there.
    inner = [o.folder for o in outputs if output.folder in o.folder.parents]
    for name in sorted(expected | found):
        file = output.folder / name
        if name not in found:
            raise InputError(f"{file}: is missing, expected SHA-256 {expected[name]}; make the output again")
        if name not in expected:
            if any(file.is_relative_to(folder) for folder in inner) or is_temporary(file):
                continue
            raise InputError(f"{file}: is not one of the files that were made here; remove it")
        if found[name] != expected[name]:
            raise InputError(
                f"{file}: has SHA-256 {found[name]}, expected {expected[name]}; it was changed since: make "
                "the output again"
            )
    return f"{output.folder}: {output}, {len(expected)} files as recorded"


def _chains(
    record: Mapping[str, Any], before: Sequence[Any], where: Path, outputs: Sequence[Output]
) -> Iterator[tuple[Any, ...]]:
    """Every way from `record` to what has no parent, each link verified, also against the `outputs` at hand;
    `where` names it in messages."""
    chain = (*before, record)
    parents = _parents(record)
    for parent in parents:
        try:
            difference = _broken(record, parent)
        except (AttributeError, TypeError):
            raise InputError(f"{where}: its {PROVENANCE} is damaged; make the output again") from None
        if difference:
            raise InputError(
                f"{where}: {_described(record)} was made from {difference[0]}, but {_described(parent)} made "
                f"{difference[1]}; make it again"
            )
        _require_same(parent, where, outputs)
        yield from _chains(parent, chain, where, outputs)
    if not parents:
        yield chain


def _require_same(parent: Mapping[str, Any], where: Path, outputs: Sequence[Output]) -> None:
    """Raises `InputError` where outputs of the same stage and seed as `parent` lie here, and none is it."""
    alike = [o for o in outputs if all(o.record.get(key) == parent.get(key) for key in ("stage", "seed"))]
    for output in alike:
        held = {name: output.record["outputs"].get(name) for name in parent["outputs"]}
        if {**output.record, "outputs": held} == parent:
            return
    if alike:
        raise InputError(
            f"{alike[0].folder}: is another output than {where} was made from (or its {PROVENANCE} was "
            "changed); make it again"
        )


def _broken(record: Mapping[str, Any], parent: Mapping[str, Any]) -> tuple[str, str] | None:
    """(what `record` was made from, what `parent` made), where the two differ."""
    inputs, outputs = record["inputs"], parent["outputs"]
    match record["stage"], parent["stage"]:
        case "generate", "personalize":
            used = inputs.get("model_sha256")
            made = [digest_of_files(_below(outputs, folder)) for folder in {n.split("/")[0] for n in outputs}]
        case "adapt", "generate":
            named = inputs.get(NAMED, {})
            manifests = {MANIFEST_DIGEST: MANIFEST, LABELED_DIGEST: f"{LABELED}/{MANIFEST}"}
            made = [outputs[file] for key, file in manifests.items() if key in named and file in outputs]
            # What is labeled may be of another output than the target.
            given = [named[key] for key in manifests if key in named]
            used = next((digest for digest in given if digest in made), " and ".join(given))
        case "evaluate" | "predict", "adapt":
            used, made = inputs.get("checkpoint_sha256"), list(outputs.values())
        case "report", "evaluate":
            runs = [run for group in _groups(inputs) for run in group]
            used, made = outputs.get(METRICS), [run.get("metrics_sha256") for run in runs]
        case "submit", "report":
            used, made = digest_of_files(record["outputs"]), [digest_of_files(outputs)]
        case _:
            return None
    return None if used in made else (str(used), ", ".join(map(str, made)))


def _groups(inputs: Mapping[str, Any]) -> list[Any]:
    return [inputs.get("runs", []), *inputs.get("baselines", {}).values()]


def _below(outputs: Mapping[str, str], folder: str) -> dict[str, str]:
    start = f"{folder}/"
    return {name.removeprefix(start): digest for name, digest in outputs.items() if name.startswith(start)}


def _parents(record: Mapping[str, Any]) -> list[Any]:
    """Records that `record` was made from, at any depth of its lists."""
    waiting, found = list(record.get("made_from", {}).values()), []
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, list):
            waiting += part
        elif part:
            found.append(part)
    return found


def _is_part(chain: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(other) > len(chain) and list(other[-len(chain) :]) == list(chain)


def _in_words(chain: Sequence[Any], photographs: Mapping[str, Path]) -> str:
    """A line that says where the chain leads, with the photograph and the base model at its end."""
    steps = " <- ".join(_described(record) for record in chain)
    last = chain[-1]
    if last["stage"] != "personalize":
        return steps if len(chain) > 1 else ""
    digest = str(last["inputs"].get("image_sha256"))
    here = "at hand" if digest in photographs else "not at hand"
    return f"{steps} <- photograph {digest[:12]}… ({here}) and base model {_base_model(last)}"


def _base_model(record: Mapping[str, Any]) -> str:
    """What is said of the base model; raises `InputError` where it lies on this machine and has changed."""
    inputs = record["inputs"]
    digest, name = str(inputs.get("base_model_sha256")), str(inputs.get(NAMED, {}).get("base_model", ""))
    folder = PACKAGED_FOLDER if name == PACKAGED else Path(name)
    if not name or not folder.is_dir():
        return f"{digest[:12]}… ({name}, not at hand)"
    variant = record.get("settings", {}).get("variant", "")
    if (found := find_base_model(name, variant=variant).digest()) != digest:
        raise InputError(
            f"{folder}: the base model has SHA-256 {found}, expected {digest}; it was changed since"
        )
    return f"{digest[:12]}… ({name}, at hand)"


def _described(record: Mapping[str, Any]) -> str:
    """`adapt, seed 1`."""
    seed = record.get("seed")
    return record["stage"] if seed is None else f"{record['stage']}, seed {seed}"


def _named(name: str, folder: Path) -> list[Path]:
    """Files of that name at and below `folder`; what cannot be listed, or is gone by then, has none."""
    return sorted(Path(top, name) for top, _, names in os.walk(folder) if name in names)


def _name(file: Path, output: Output) -> str:
    return file.relative_to(output.folder).as_posix()


@contextlib.contextmanager
def _at_hand(place: str) -> Iterator[Path]:
    """A local folder with the content of `place`."""
    if (path := local_path(place)) is not None:
        if not path.is_dir():
            raise InputError(f"{place}: no such folder, expected an output of datum, or a folder with some")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="datum-") as folder:
        if not get_folder(open_store(place), "", Path(folder)):
            raise InputError(f"{place}: holds nothing, expected an output of datum, or a folder with some")
        yield Path(folder)
