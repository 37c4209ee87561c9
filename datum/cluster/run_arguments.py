"""The values that a run's parameters get: from the settings of the installation, and from `--param`."""

import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from datum.cluster.settings import ClusterSettings
from datum.errors import InputError

EXAMPLES = {
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": 'a JSON list, such as ["a", "b"]',
    "STRUCT": 'a JSON object, such as {"key": "value"}',
}
"""What a text for a parameter of a type looks like; any text is a STRING. Types as in KFP's ParameterType."""


def run_arguments(settings: ClusterSettings, spec: Mapping[str, Any], given: Iterable[str]) -> dict[str, Any]:
    """Values of the parameters of the pipeline `spec`, as KFP's runtime_config takes them.

    Settings fill the parameters of the same name; `given` are NAME=VALUE texts and go before them. Raises
    `InputError` for a parameter that the pipeline does not have and for a value of the wrong type.
    """
    types = parameter_types(spec)
    values = {
        name: value if isinstance(value, str) or types[name] != "STRING" else json.dumps(value)
        for name, value in _as_json(settings).items()
        if name in types
    }
    for text in given:
        name, separator, value = text.partition("=")
        if not separator:
            raise InputError(f"--param {text}: found no =, expected NAME=VALUE")
        if name not in types:
            close = difflib.get_close_matches(name, types, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(types))}"
            raise InputError(f"--param {text}: the pipeline has no parameter {name}; {hint}")
        values[name] = _parse(value, types[name], f"--param {text}")
    return values


def parameter_types(spec: Mapping[str, Any]) -> dict[str, str]:
    """Names of the pipeline's parameters and their types in KFP's words (STRING, LIST, …)."""
    inputs = pipeline_spec(spec).get("root", {}).get("inputDefinitions", {})
    return {name: entry["parameterType"] for name, entry in inputs.get("parameters", {}).items()}


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


def _as_json(settings: ClusterSettings) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def _parse(text: str, kind: str, where: str) -> Any:
    """`text` as a value of the KFP type `kind`."""
    if kind == "STRING":
        return text
    expected: Any = {
        "NUMBER_INTEGER": int,
        "NUMBER_DOUBLE": (int, float),
        "BOOLEAN": bool,
        "LIST": list,
        "STRUCT": dict,
    }[kind]
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    # To Python, true is a number too.
    if not isinstance(value, expected) or (kind.startswith("NUMBER") and isinstance(value, bool)):
        raise InputError(f"{where}: found {text!r}, expected {EXAMPLES[kind]}")
    return value
