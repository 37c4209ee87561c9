"""The form of a run: the fields that a person fills in the KFP UI, which are a pipeline's parameters.

The UI shows them by name alone, in alphabetical order, so the names begin with what they are about. What the
fields mean is in README's table (`pipelines.form_table`), and in short in the description of a pipeline's
versions, which the UI shows too.
"""

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any

from kfp import dsl

from datum.config import PAPER
from datum.methods import BENCHMARKS, ENCODERS_IN_WORDS, METHODS, ONE_SHOT_PROTOCOLS
from datum.segmentation.pretrained_file import FORMS
from datum.values import docstrings
from pipelines.form_defaults import (
    COMPILED_IN,
    INSTALLATION,
    RESUME_FROM,
    FormDefaults,
    compiled_in,
    form_values,
)
from pipelines.resources import Cluster

HEADING = "| field | what it is; README says more |"
"""Of the table in a version's description."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of the form."""

    input: str
    """Input of the components that it is the value of."""
    kind: type
    default: Any
    description: str

    @property
    def brief(self) -> str:
        """The first words of the description: KFP's web interface cuts off what is higher than the window."""
        return re.split(r" \(|[:;,.] ", " ".join(self.description.split()))[0].rstrip(".")


_TEXTS = docstrings(FormDefaults)

FIELDS: Mapping[str, Field] = {
    "data_benchmark": Field(
        "benchmark",
        str,
        "",
        f"{' or '.join(BENCHMARKS)}. Empty takes the experiment's, or {PAPER.run.benchmark}.",
    ),
    "data_one_shots": Field(
        "named_one_shots",
        list,
        [],
        "One photograph a seed, below leftImg8bit/train of the target; or a protocol with published ones, "
        f"such as {json.dumps(list(ONE_SHOT_PROTOCOLS))}, for a multiple of its images in seeds. Empty draws "
        "them by the seed.",
    ),
    "data_source": Field("source", str, "", _TEXTS["source"]),
    "data_target": Field("target", str, "", _TEXTS["target"]),
    "data_title": Field(
        "title", str, "", "What the data are, for the report, where they are not the benchmark's own."
    ),
    "method": Field(
        "method",
        str,
        PAPER.run.method,
        f"Training method ({', '.join(METHODS)}), or the name of an experiment (`datum experiments`), which "
        "decides benchmark, encoder and further settings.",
    ),
    "method_base_model": Field("base_model", str, "", _TEXTS["base_model"]),
    "method_encoder": Field(
        "encoder",
        str,
        "",
        f"Encoder of the segmentation network: {ENCODERS_IN_WORDS}. Empty takes the experiment's, or the "
        "profile's.",
    ),
    "method_encoder_weights": Field(
        "pretrained_encoder",
        str,
        "",
        f"ImageNet weights of the encoder: {FORMS}. Empty takes adaptation.pretrained_encoder. What is "
        "downloaded from elsewhere than the store needs tasks that reach it.",
    ),
    INSTALLATION: Field(
        "installation",
        dict,
        {},
        "What the installation decides, filled from its settings: where data, state and reports lie, and the "
        "profile. Change a value for one run; keep the keys.",
    ),
    "run_overrides": Field(
        "overrides", list, [], 'Settings that differ from the profile, such as ["generation.count=500"].'
    ),
    RESUME_FROM: Field(
        "resume_from",
        str,
        "",
        "Id of an earlier run whose training this run goes on with; of several, with commas, the first that "
        "has it.",
    ),
}
"""All fields, in the UI's order: data, method, run."""

WORKSPACE = Field("workspace", str, "", "Folder of a run on one machine.")
"""Of a pipeline that runs on one machine; on a cluster there is none."""

DATA_FIELDS = ("data_benchmark", "data_source", "data_target", "method", INSTALLATION, "run_overrides")
"""Of the ingestion alone; the method decides the size that the source is stored at."""
DIFFUSION_FIELDS = ("method", "method_base_model")


def form_fields(
    cluster: Cluster | None,
    *,
    only: Collection[str] = FIELDS,
    without: Collection[str] = (),
    method: str = PAPER.run.method,
) -> dict[str, Field]:
    """The fields of a pipeline's form by name, `only` those named less those in `without`, filled with
    `method` and what `cluster` says; those of a run on one machine without one."""
    values = {**form_values(cluster.form if cluster else FormDefaults()), "method": method}
    chosen = {
        name: dataclasses.replace(field, default=values.get(name, field.default))
        for name, field in FIELDS.items()
        if name in only and name not in without
    }
    return chosen if cluster else {**chosen, "run_workspace": WORKSPACE}


def pipeline(
    name: str,
    summary: str,
    fields: Mapping[str, Field],
    body: Callable[[SimpleNamespace], None],
    *,
    cluster: Cluster | None,
) -> Any:
    """A kfp pipeline with `fields` as its inputs; `body` builds the tasks from their channels, which it gets
    by the names of the components' inputs.

    Its description is the `summary`, the table of the fields in Markdown, and what is compiled in.
    """

    def build(*channels: Any) -> None:
        inputs = {field.input: channel for field, channel in zip(fields.values(), channels)}
        body(SimpleNamespace(**{"workspace": "", **inputs}))

    # kfp reads the inputs from the signature and what the form says of them from the docstring.
    build.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=field.default, annotation=field.kind
            )
            for key, field in fields.items()
        ]
    )
    lines = [f"    {key}: {field.description}" for key, field in fields.items()]
    build.__doc__ = "\n".join([summary, "", "Args:", *lines])
    # A cell of the table is one line; what is no code would lose its underscores, which Markdown takes.
    rows = [f"| `{key}` | {field.brief} |" for key, field in fields.items()]
    fixed = f"{COMPILED_IN}`{json.dumps(compiled_in(cluster.form if cluster else FormDefaults()))}`"
    description = "\n".join([summary, "", HEADING, "|---|---|", *rows, "", fixed])
    return dsl.pipeline(name=name, description=description)(build)
