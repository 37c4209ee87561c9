"""`datum upload` against a server that speaks KFP's API."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from kfp_server_api import V2beta1Pipeline, V2beta1PipelineVersion

from datum import __version__
from datum.cluster.run_arguments import parameter_types, pipeline_spec
from datum.cluster.settings import PIPELINES
from tests.cluster.conftest import Cluster, write_images
from tests.cluster.kfp_api import KfpApi

NAMES = {f"datum-{name}" for name in PIPELINES}


def versions_of(api: KfpApi, name: str) -> list[Any]:
    """The versions of a pipeline, the first uploaded first."""
    (pipeline,) = (found for found in api.pipelines.values() if found.name == name)
    mine = [found for found in api.versions.values() if found.pipeline_id == pipeline.pipeline_id]
    return sorted(mine, key=lambda version: version.created_at)


def test_each_pipeline_is_uploaded_with_a_version_named_by_its_content(
    first_upload: tuple[KfpApi, str],
) -> None:
    api, out = first_upload
    assert {pipeline.name for pipeline in api.pipelines.values()} == NAMES
    for name in NAMES:
        (version,) = versions_of(api, name)
        assert pipeline_spec(version.pipeline_spec)["pipelineInfo"]["name"] == name
        assert re.fullmatch(re.escape(__version__) + "-[0-9a-f]{12}", version.name)
        page = f"/#/pipelines/details/{version.pipeline_id}/version/{version.pipeline_version_id}\n"
        assert re.search(rf"^{name} +{version.name} +uploaded +http://\S+{page}", out, re.MULTILINE)


def test_the_images_that_make_push_left_are_used(first_upload: tuple[KfpApi, str], images_file: Path) -> None:
    image = json.loads(images_file.read_text())["reporting"]
    assert all(image in str(version.pipeline_spec) for version in first_upload[0].versions.values())


def test_the_same_content_is_not_uploaded_again(uploaded: Cluster, images_file: Path) -> None:
    ended = uploaded.datum("upload", "--images", str(images_file))
    assert ended.status == 0
    assert uploaded.api.posts() == []
    assert ended.out.count("unchanged") == len(NAMES) and "uploaded" not in ended.out


def test_pipelines_that_hold_more_seeds_are_uploaded_alone(cluster: Cluster, images_file: Path) -> None:
    many = ("--images", str(images_file), "--set", f"seeds={json.dumps(list(range(1, 26)))}")
    refused = cluster.datum("upload", *many)
    assert refused.status == 2 and "datum upload PIPELINE" in refused.err
    assert cluster.datum("upload", "training", *many).status == 0
    assert {pipeline.name for pipeline in cluster.api.pipelines.values()} == {"datum-training"}


@pytest.mark.parametrize("words", [["trainings"], ["training", "--remove"]])
def test_a_name_that_means_nothing_is_refused(cluster: Cluster, words: list[str]) -> None:
    ended = cluster.datum("upload", *words)
    assert ended.status == 2 and words[0] in ended.err
    assert cluster.api.posts() == []


def test_going_back_to_earlier_content_makes_it_the_latest_again(
    uploaded: Cluster, images_file: Path, tmp_path: Path
) -> None:
    (first,) = versions_of(uploaded.api, "datum-ingest")
    uploaded.datum("upload", "--images", str(write_images(tmp_path / "other.json", "other")))
    uploaded.datum("upload", "--images", str(images_file))
    _, other, again = versions_of(uploaded.api, "datum-ingest")
    assert again.name == f"{first.name}.upload2" and not other.name.startswith(first.name)
    assert again.pipeline_spec == first.pipeline_spec != other.pipeline_spec
    assert f"version {again.name}" in uploaded.datum("submit", "ingest").err


def test_the_settings_name_the_images_and_fill_the_form(cluster: Cluster) -> None:
    registry = ("--set", "registry=registry.example.org/team", "--set", "tag=1.2")
    assert cluster.datum("upload", *registry, "--set", "source=s3://data/gta").status == 0
    (version,) = versions_of(cluster.api, "datum-reproduction")
    form = pipeline_spec(version.pipeline_spec)["root"]["inputDefinitions"]["parameters"]
    assert '"registry.example.org/team/datum-adaptation:1.2"' in json.dumps(version.pipeline_spec)
    assert form["data_source"]["defaultValue"] == "s3://data/gta"


def test_the_ui_shows_what_a_pipeline_is_and_the_table_of_its_fields(
    first_upload: tuple[KfpApi, str],
) -> None:
    api, _ = first_upload
    for pipeline in api.pipelines.values():
        # The list of pipelines has one line for it.
        assert len(pipeline.description) > 20 and "\n" not in pipeline.description
        (version,) = versions_of(api, pipeline.name)
        summary, _, *table, _, compiled = version.description.splitlines()
        assert '"gpu_count": 1' in compiled
        assert summary == pipeline.description and table[1] == "|---|---|"
        fields = [row.split("|")[1].strip(" `") for row in table[2:]]
        assert fields == sorted(parameter_types(version.pipeline_spec))


def test_kfp_2_15_gets_pipelines_that_it_takes(cluster: Cluster, first_upload: tuple[KfpApi, str]) -> None:
    assert any("runAsNonRoot" in str(version) for version in first_upload[0].versions.values())
    cluster.api.version = "2.15.2"
    assert cluster.datum("upload").status == 0
    assert not any("runAsNonRoot" in str(version) for version in cluster.api.versions.values())


@pytest.mark.usefixtures("impatient")
def test_a_bad_network_makes_each_pipeline_and_version_once(cluster: Cluster, images_file: Path) -> None:
    cluster.api.fail("POST .*/pipelines$", "drop")
    cluster.api.fail("POST .*/pipelines$", 500)
    cluster.api.fail("POST .*/upload_version", "stall", seconds=1.0)
    cluster.api.fail("POST .*/upload_version", "lose")
    cluster.api.fail("GET .*/versions", 503, times=2)
    cluster.api.fail("GET .*/names/", "drop")
    ended = cluster.datum("upload", "--images", str(images_file))
    assert ended.status == 0
    assert all(fault.times == 0 for fault in cluster.api.faults)
    assert sorted(pipeline.name for pipeline in cluster.api.pipelines.values()) == sorted(NAMES)
    assert len(cluster.api.versions) == len(NAMES)


@pytest.mark.parametrize(
    "content, found",
    [
        (None, "cannot be read"),
        ("{", "cannot be read"),
        ('{"adaptation": "image:1"}', "no image of personal"),
    ],
)
def test_a_wrong_file_of_images_is_refused_before_anything_is_uploaded(
    cluster: Cluster, tmp_path: Path, content: str | None, found: str
) -> None:
    file = tmp_path / "images.json"
    if content is not None:
        file.write_text(content)
    ended = cluster.datum("upload", "--images", str(file))
    assert ended.status == 2
    assert f"--images {file}" in ended.err and found in ended.err and len(ended.err.splitlines()) == 1
    assert cluster.api.posts() == []


def test_remove_deletes_our_pipelines_with_all_versions_and_no_other(uploaded: Cluster) -> None:
    (version,) = versions_of(uploaded.api, "datum-reproduction")
    uploaded.api.versions["second"] = V2beta1PipelineVersion(
        pipeline_id=version.pipeline_id, pipeline_version_id="second", created_at=version.created_at
    )
    uploaded.api.pipelines["theirs"] = V2beta1Pipeline(name="mnist", pipeline_id="theirs")
    ended = uploaded.datum("upload", "--remove")
    assert ended.status == 0 and "datum-reproduction: deleted with 2 versions" in ended.out
    assert list(uploaded.api.pipelines) == ["theirs"] and uploaded.api.versions == {}
    again = uploaded.datum("upload", "--remove")
    assert (again.status, again.out) == (0, "")
