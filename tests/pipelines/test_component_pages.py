"""What stands beside each component is what its signature, its docstring and the tables say."""

import types
from pathlib import Path

import pytest
import yaml

from components.adaptation import component as adaptation
from components.reporting import component as reporting
from pipelines.component_pages import COMPONENTS, FOLDERS, metadata, readme_of, write_pages


def test_the_pages_are_what_the_command_writes(tmp_path: Path) -> None:
    write_pages(tmp_path)
    written = sorted(file.relative_to(tmp_path) for file in tmp_path.rglob("*") if file.is_file())
    assert len(written) == 2 * len(FOLDERS)
    for file in written:
        kept = COMPONENTS / file
        assert kept.is_file() and kept.read_text(encoding="utf-8") == (tmp_path / file).read_text(), (
            f"components/{file} is not up to date; run `python -m pipelines.component_pages`"
        )


def test_a_page_names_every_input_and_what_the_task_asks_for() -> None:
    text = readme_of("adaptation", adaptation)
    assert "| `source` | String | URI of the ingested source |" in text
    assert "| `generated` | Dataset, optional | the drawn images, where these are trained on |" in text
    assert "| adapt | 8 | the installation's `gpu_memory` | 120 GiB | 8 GiB | yes | 96 h | yes |" in text
    assert text.count("\n## ") == 2 and "DAFormer's training takes 16 hours" in text
    assert "| `run_12` | Artifact, optional | output `run` of" in readme_of("reporting", reporting)


def test_an_input_that_nothing_is_said_of_is_refused() -> None:
    text = str(adaptation.__doc__).replace("- `source`", "- `sources`")
    with pytest.raises(KeyError, match="adapt: source has no line"):
        readme_of("adaptation", types.SimpleNamespace(**vars(adaptation) | {"__doc__": text}))


@pytest.mark.parametrize("name", FOLDERS)
def test_the_metadata_has_the_fields_that_pipelines_components_asks_for(name: str) -> None:
    """As its `scripts/validate_metadata` has them, which accepts these files."""
    given = yaml.safe_load((COMPONENTS / name / "metadata.yaml").read_text(encoding="utf-8"))
    assert (
        list(given)
        == list(metadata(name))
        == [*("name", "stability", "dependencies", "tags", "lastVerified", "ci", "links")]
    )
    assert given["stability"] in ("experimental", "alpha", "beta", "stable")
    assert given["dependencies"]["kubeflow"] == [{"name": "Pipelines", "version": ">=2.15.0"}]
    assert given["lastVerified"].tzinfo
