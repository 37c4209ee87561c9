"""The values that a run's parameters get: from the settings of the installation, and from `--param`."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from components.installation import Installation, require_installation, require_plain
from components.target_images import WITHOUT_DRAWING, require_pipeline
from datum.cluster.settings import ClusterSettings
from datum.errors import InputError
from datum.experiments import run_settings
from datum.segmentation.pretrained_file import RANDOM, require_named
from datum.telemetry import log
from datum.values import did_you_mean
from pipelines.form_defaults import COMPILED_IN, INSTALLATION, FormDefaults, compiled_in, form_values

TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "NUMBER_INTEGER": ((int,), "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": ((bool,), "true or false"),
    "LIST": ((list,), 'a JSON list, such as ["a", "b"]'),
    "STRUCT": ((dict,), 'a JSON object, such as {"key": "value"}'),
}
"""What a parameter of KFP's ParameterType holds, read as JSON, and what its text looks like; any text is a
STRING."""


def run_arguments(settings: ClusterSettings, spec: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
    """Values of the parameters of the pipeline `spec`, as KFP's runtime_config takes them.

    The settings fill them as they fill the form; `given` are NAME=VALUE texts and go before them, of the
    installation's JSON key by key. Raises `InputError` for a parameter that the pipeline does not have and
    for a value of the wrong type.
    """
    types = parameter_types(spec)
    values = {name: value for name, value in form_values(settings).items() if name in types}
    for text in given:
        name, separator, value = text.partition("=")
        if not separator:
            raise InputError(f"--param {text}: found no =, expected NAME=VALUE")
        if name not in types:
            raise InputError(
                f"--param {text}: the pipeline has no parameter {name}; {_remedy(name, value, types)}"
            )
        parsed = _parse(value, types[name], f"--param {text}")
        values[name] = values[name] | parsed if name == INSTALLATION else parsed
    for name, value in values.items():
        require_plain(name, value)
    _say_what_differs(settings, pipeline_spec(spec).get("pipelineInfo", {}).get("description", ""))
    if INSTALLATION in values:
        require_installation(INSTALLATION, values[INSTALLATION])
        _require_training({**_defaults(spec), **values})
    return values


def _require_training(values: Mapping[str, Any]) -> None:
    """Raises `InputError` for a training that the run's first task would refuse: the pipeline does not make
    the images that it trains on, it is not said what the network starts from, or by a text that names no
    weights."""
    if "method_encoder_weights" not in values:
        return
    # The baselines' form has no method: theirs draw nothing.
    profile, named = values[INSTALLATION]["profile"], str(values["method_encoder_weights"])
    try:
        settings = run_settings(
            profile,
            method=values.get("method", WITHOUT_DRAWING),
            benchmark=values["data_benchmark"],
            encoder=values["method_encoder"],
            overrides=values["run_overrides"],
        )
    except InputError as error:
        # Which option of the command line the fields of a form would be there.
        raise InputError(f"the run's fields: {str(error).removeprefix('--set ')}") from None
    # Pipelines that draw ask for the model that they draw by.
    require_pipeline(settings, draws="method_base_model" in values)
    named = named or settings.adaptation.pretrained_encoder
    if named:
        require_named(settings.run.encoder, named)
    elif not settings.adaptation.initial_segmentor:
        raise InputError(
            f"method_encoder_weights: not given, and the {profile} profile trains from ImageNet weights; set "
            f"ENCODER_WEIGHTS in settings.env to their s3:// URI, or to {RANDOM} for random weights"
        )


def _say_what_differs(settings: ClusterSettings, description: str) -> None:
    """Says in the log which `settings` the uploaded pipeline was not compiled with; other seeds, which give
    another result, raise `InputError`."""
    for line in description.splitlines():
        if line.startswith(COMPILED_IN):
            compiled = json.loads(line.removeprefix(COMPILED_IN).strip("`"))
            for name, value in compiled_in(settings).items():
                if name in compiled and compiled[name] != value:
                    was, wanted = json.dumps(compiled[name]), json.dumps(value)
                    differs = f"{was} is compiled in, the settings say {wanted}; `datum upload` changes it"
                    if name == "seeds":
                        raise InputError(f"{name}: {differs}")
                    log(f"{name}: {differs}")


def _remedy(name: str, value: str, types: Iterable[str]) -> str:
    """How what was meant by the parameter `name` is given instead."""
    if name in Installation().as_json():
        return f"it is a key of one: --param '{INSTALLATION}={json.dumps({name: value})}'"
    if name in compiled_in(FormDefaults()):
        return f"it is compiled in: datum upload --set {name}={value}"
    return did_you_mean(name, sorted(types), "it has")


def parameter_types(spec: Mapping[str, Any]) -> dict[str, str]:
    """Names of the pipeline's parameters and their types in KFP's words (STRING, LIST, …)."""
    inputs = pipeline_spec(spec).get("root", {}).get("inputDefinitions", {})
    return {name: entry["parameterType"] for name, entry in inputs.get("parameters", {}).items()}


def _defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What the form of the pipeline is filled with."""
    inputs = pipeline_spec(spec)["root"]["inputDefinitions"]["parameters"]
    return {name: entry["defaultValue"] for name, entry in inputs.items() if "defaultValue" in entry}


def pipeline_spec(spec: Mapping[str, Any]) -> Any:
    """The part of a version's spec that is the pipeline: KFP puts settings for Kubernetes beside it."""
    return spec.get("pipeline_spec", spec)


def without_cache(spec: Mapping[str, Any]) -> Any:
    """A copy of `spec` in which no task takes results of an earlier run."""
    copy = json.loads(json.dumps(spec))
    pipeline = pipeline_spec(copy)
    components = [pipeline["root"], *pipeline.get("components", {}).values()]
    for component in components:
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}
    return copy


def _parse(text: str, kind: str, where: str) -> Any:
    """`text` as a value of the KFP type `kind`."""
    if kind == "STRING":
        return text
    expected, example = TYPES[kind]
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    # Not isinstance: to Python, true is a whole number too.
    if type(value) not in expected:
        raise InputError(f"{where}: found {text!r}, expected {example}")
    return value
