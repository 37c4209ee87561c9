"""Writes README.md and metadata.yaml of each folder of components: `python -m pipelines.component_pages`.

What kubeflow/pipelines-components asks of a component. Everything comes from where it is decided: names and
types from the signatures, what they mean from the docstring of `component.py` (and from `COMMON`, what means
the same everywhere), what a task asks for from `pipelines.resources`. Of that docstring, the first paragraph
is the folder's; a component begins with a line ## `name`, and its list says what its inputs and outputs are;
notes on the folder follow the line ## Notes.
"""

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from components.images import STAGES
from pipelines.resources import PAPER, Needs

COMPONENTS = Path(__file__).parents[1] / "components"
FOLDERS = ("datasets", *STAGES)

COMMON: Mapping[str, str] = {
    "benchmark": "`gta-to-cityscapes` or `synthia-to-cityscapes`",
    "encoder": "encoder of the segmentation network",
    "findings": "what was looked at and found",
    "image": "container image that the task runs in, recorded in the provenance; empty on one machine",
    "installation": "the profile, the store's endpoint, and where data sets, state and reports lie; keys "
    "come from the secret that is compiled in",
    "method": "training method",
    "overrides": "settings that differ from the profile, such as `generation.count=500`",
    "pretrained_encoder": "ImageNet weights, in any form that `adaptation.pretrained_encoder` takes; empty "
    "leaves it as it is",
    "resume_from": "ids of earlier runs whose state is taken over, with commas; empty takes none",
    "run_name": "name of the run's folder in the workspace",
    "seed": "seed of all random numbers",
    "seeds": "seeds of the run",
    "workspace": "folder of a run on one machine; empty on a cluster",
}
"""Inputs and outputs that mean the same wherever they occur."""

KINDS: Mapping[str, str] = {
    "check_parameters": "check",
    "check_node": "node",
    "ingest_source": "ingest",
    "ingest_target": "ingest",
    "select_one_shot": "select",
    "merge_shards": "merge",
}
"""Kind in the tables of `pipelines.resources` of components that are not called so."""

TAGS: Mapping[str, list[str]] = {
    "datasets": ["data_processing", "validation"],
    "personalization": ["training", "diffusion", "dreambooth"],
    "generation": ["inference", "diffusion", "synthetic_data_generation"],
    "adaptation": ["training", "semantic_segmentation", "domain_adaptation"],
    "evaluation": ["evaluation", "semantic_segmentation"],
    "reporting": ["report"],
}

LAST_VERIFIED = "2026-11-26T00:00:00Z"
"""Day on which all of them were last run; pipelines-components drops what is older than a year."""

_COMPONENT = re.compile(r"^## `(\w+)`$", re.MULTILINE)
_MEANING = re.compile(r"^- `(\w+)`: (.+?)(?=\n- |\n\n|\Z)", re.MULTILINE | re.DOTALL)
_NUMBERED = re.compile(r"(\w+_)\d+")


class _Indented(yaml.SafeDumper):
    """Indents lists as yamllint wants it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def write_pages(folder: Path) -> None:
    """Writes the files of all components below `folder`."""
    for name in FOLDERS:
        module = importlib.import_module(f"components.{name}.component")
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "README.md").write_text(readme_of(name, module), encoding="utf-8")
        text = yaml.dump(metadata(name), Dumper=_Indented, sort_keys=False, width=110)
        # A time without quotes, as a time is in YAML.
        text = text.replace(f"'{LAST_VERIFIED}'", LAST_VERIFIED)
        (folder / name / "metadata.yaml").write_text(f"---\n{text}", encoding="utf-8")


def metadata(name: str) -> dict[str, Any]:
    """The content of a folder's metadata.yaml, in the order that pipelines-components wants."""
    return {
        "name": name,
        "stability": "beta",
        "dependencies": {
            "kubeflow": [{"name": "Pipelines", "version": ">=2.15.0"}],
            # The one that KFP 2.17 brings; every S3 store will do.
            "external_services": [{"name": "SeaweedFS", "version": ">=4.34.0"}],
        },
        "tags": TAGS[name],
        "lastVerified": LAST_VERIFIED,
        "ci": {"skip_dependency_probe": False},
        "links": {"documentation": "README.md", "method": "https://arxiv.org/abs/2303.18080"},
    }


def readme_of(name: str, module: Any) -> str:
    """The README of a folder, of whose `component.py` the `module` is."""
    introduction, *sections = _COMPONENT.split(inspect.getdoc(module) or "")
    written = dict(zip(sections[::2], sections[1::2]))
    # What follows the last component's list is of the folder.
    last = list(written)[-1]
    written[last], heading, notes = written[last].partition("\n## Notes\n")
    parts = [f"# {name.capitalize()}", "<!-- Written by python -m pipelines.component_pages. -->"]
    parts += [_lines(introduction), _image_of(getattr(module, last))]
    for function, text in written.items():
        parts += _component(getattr(module, function), function, text)
    parts += ["## Resources", "For the `paper` profile; the demo's are smaller.", _resources(list(written))]
    return "\n\n".join(part for part in [*parts, _lines(notes) if heading else ""] if part) + "\n"


def _image_of(component: Any) -> str:
    image = component.component_spec.implementation.container.image
    return f"Runs in the image `{image.partition(':')[0]}`."


def _component(component: Any, function: str, text: str) -> Iterator[str]:
    meanings = {name: " ".join(meaning.split()) for name, meaning in _MEANING.findall(text)}
    yield f"## `{function}`"
    yield _lines(_MEANING.sub("", text))
    specification = component.component_spec
    for title, ports in (("Inputs", specification.inputs), ("Outputs", specification.outputs)):
        rows = ["| name | type | what it is |", "|---|---|---|"]
        for port, about in (ports or {}).items():
            optional = ", optional" if getattr(about, "optional", False) else ""
            kind = about.type.removeprefix("system.").partition("@")[0]
            rows.append(f"| `{port}` | {kind}{optional} | {_meaning(meanings, function, port)} |")
        yield f"**{title}**"
        yield "\n".join(rows)


def _meaning(meanings: Mapping[str, str], function: str, port: str) -> str:
    """What a port means. Raises `KeyError` where that is said nowhere."""
    numbered = _NUMBERED.fullmatch(port)
    for known in (port, f"{numbered[1]}1" if numbered else port):
        if text := meanings.get(known) or COMMON.get(known):
            return text
    raise KeyError(f"{function}: {port} has no line in the docstring of its module, nor in COMMON")


def _resources(functions: list[str]) -> str:
    rows = [
        "| task | processors | memory | each of `/tmp`, `/scratch` | `/dev/shm` | GPU | time-out | cached |",
        "|---|---|---|---|---|---|---|---|",
    ]
    kinds = dict.fromkeys(KINDS.get(function, function) for function in functions)
    rows += [f"| {kind} | {' | '.join(_row(PAPER[kind]))} |" for kind in kinds]
    return "\n".join(rows)


def _row(needs: Needs) -> Iterator[str]:
    yield needs.cpu
    yield _size(needs.memory) if needs.memory else "the installation's `gpu_memory`"
    yield _size(needs.disk)
    yield _size(needs.shared_memory)
    yield "no" if needs.memory else "yes"
    yield f"{needs.hours:.0f} h" if needs.hours >= 1 else f"{needs.hours * 60:.0f} min"
    yield "yes" if needs.cached else "no"


def _size(quantity: str) -> str:
    return quantity.replace("Gi", " GiB").replace("Mi", " MiB")


def _lines(text: str) -> str:
    """Paragraphs, each on lines of a page's width."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
    return "\n\n".join(textwrap.fill(paragraph, 120, break_long_words=False) for paragraph in paragraphs)


if __name__ == "__main__":
    write_pages(COMPONENTS)
