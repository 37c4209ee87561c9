"""`datum weights`: what the encoders and the base model start from, where it is, whose it is, and whether it
is on this machine."""

import dataclasses
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from datum.config import PAPER
from datum.errors import InputError
from datum.experiments import EXPERIMENTS
from datum.published_weights import PUBLISHED_ENCODERS
from datum.weight_sources import cached, find_weights

BASE_MODEL = PAPER.personalization.base_model
"""Hub id of the paper profile's base model."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needed:
    """One row of the list."""

    name: str
    source: str
    license: str
    digest: str
    place: str
    """Where it lies on this machine; empty where it does not."""

    def __str__(self) -> str:
        digest = f"sha256 {self.digest}…" if self.digest else "no digest is published"
        here = f"here: {self.place}" if self.place else "not on this machine"
        return f"{self.name}\n  {self.source}\n  {self.license}; {digest}; {here}"


def needed_weights(names: Sequence[str]) -> list[Needed]:
    """What `names` need, all that is known by default; an experiment needs its encoder's, and the base model
    where it trains on drawn images. Nothing is downloaded.

    Raises `InputError` for a name that is no experiment, no encoder with published weights, and not the base
    model.
    """
    known = [*PUBLISHED_ENCODERS, BASE_MODEL]
    wanted: list[str] = []
    for name in names:
        if name in EXPERIMENTS:
            experiment = EXPERIMENTS[name]
            wanted += [experiment.encoder, *[BASE_MODEL] * (experiment.target_images == "generated")]
        elif name in known:
            wanted.append(name)
        else:
            raise InputError(
                f"{name}: needs no weights that are known, expected an experiment (`datum experiments`) or "
                f"one of {', '.join(known)}"
            )
    rows = dict.fromkeys(wanted or known)
    return [_base_model() if name == BASE_MODEL else _encoder(name) for name in rows]


def fetch_needed(needed: Needed) -> Path:
    """Those weights on this machine, downloaded where they are not; of the base model the folder. Raises as
    `datum.weight_sources.find_weights` does."""
    if needed.name != BASE_MODEL:
        return find_weights(needed.name, needed.source, needed.digest)
    # Needs the hub's client.
    from datum.diffusion.base_model import find_base_model

    return find_base_model(BASE_MODEL).folder


def _encoder(name: str) -> Needed:
    published = PUBLISHED_ENCODERS[name]
    file = cached(published.source)
    return Needed(
        name=name,
        source=published.source,
        license=published.license,
        digest=published.digest,
        place=str(file) if file.is_file() else "",
    )


def _base_model() -> Needed:
    from datum.diffusion.fitness import MODEL_INDEX

    place = ""
    if find_spec("huggingface_hub"):
        from huggingface_hub import try_to_load_from_cache

        from datum.diffusion.hub import PINNED

        found = try_to_load_from_cache(BASE_MODEL, MODEL_INDEX, revision=PINNED[BASE_MODEL])
        place = str(Path(found).parent) if isinstance(found, str) else ""
    return Needed(
        name=BASE_MODEL,
        source=f"hf://{BASE_MODEL}",
        license="CreativeML OpenRAIL-M",
        digest="",
        place=place,
    )
