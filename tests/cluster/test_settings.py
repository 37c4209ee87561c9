"""Settings of an installation: where they come from, and what is refused."""

import dataclasses
from pathlib import Path

import pytest

from datum.cluster.settings import ClusterSettings, load_cluster_settings
from datum.config import load_settings
from datum.errors import InputError
from pipelines.compile import SHARDS
from tests.real_cluster.live_cluster import ON_THIS_MACHINE

OVERLAYS = sorted((Path(__file__).parents[2] / "manifests" / "overlays").iterdir())


def write(folder: Path, *lines: str) -> Path:
    file = folder / "settings.env"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_nothing_given_means_the_defaults() -> None:
    assert load_cluster_settings() == ClusterSettings()


def test_a_file_sets_fields_of_every_type(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "# a comment",
        "",
        "  # another",
        "NAMESPACE=alice",
        "KFP_HOST=http://localhost:8888",
        "GPU_COUNT=0",
        "PROFILE=demo",
        "SCHEDULE=",
        'NODE_SELECTOR={"nvidia.com/gpu.product": "Tesla-T4"}',
        'TOLERATIONS=[{"key": "nvidia.com/gpu", "operator": "Exists"}]',
    )
    assert load_cluster_settings(file) == ClusterSettings(
        namespace="alice",
        kfp_host="http://localhost:8888",
        gpu_count=0,
        profile="demo",
        schedule="",
        node_selector={"nvidia.com/gpu.product": "Tesla-T4"},
        tolerations=({"key": "nvidia.com/gpu", "operator": "Exists"},),
    )


def test_a_value_may_hold_an_equals_sign(tmp_path: Path) -> None:
    file = write(tmp_path, "KFP_HOST=https://kfp.example.org/?tenant=a")
    assert load_cluster_settings(file).kfp_host == "https://kfp.example.org/?tenant=a"


def test_an_override_wins_over_the_file_and_the_last_one_over_the_first(tmp_path: Path) -> None:
    settings = load_cluster_settings(write(tmp_path, "TAG=1", "PROFILE=demo"), ["tag=2", "tag=3"])
    assert (settings.tag, settings.profile) == ("3", "demo")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("NAMESPACE", "found 'NAMESPACE', expected KEY=VALUE"),
        ("NAMESPCE=x", "unknown setting 'NAMESPCE'; did you mean namespace?"),
        ("ZZZ=x", "unknown setting 'ZZZ'; known: profile, datasets"),
        ("OVERLAY=prod", "found 'prod', expected one of default, seaweedfs, minio, kind"),
        ("GPU_COUNT=one", "found 'one', expected a whole number from 0"),
        ("GPU_COUNT=-1", "found '-1', expected a whole number from 0"),
        ("NODE_SELECTOR=gpu", "found 'gpu', expected a JSON object of strings"),
        ('NODE_SELECTOR={"gpu": 1}', "expected a JSON object of strings"),
        ('NODE_SELECTOR=["gpu"]', "expected a JSON object of strings"),
        ('TOLERATIONS={"key": "gpu"}', "expected a JSON list of objects"),
        ('TOLERATIONS=["gpu"]', "expected a JSON list of objects"),
    ],
)
def test_a_wrong_line_is_named_with_what_was_expected(tmp_path: Path, line: str, message: str) -> None:
    file = write(tmp_path, "TAG=1", line)
    with pytest.raises(InputError) as raised:
        load_cluster_settings(file)
    assert str(raised.value).startswith(f"{file}:2: ")
    assert message in str(raised.value)
    with pytest.raises(InputError, match=r"^--set "):
        load_cluster_settings(overrides=[line])


@pytest.mark.parametrize("value", ["10.0.0.0", "10.0.0.1/8", "10.0.0.0/33", "store.example.org"])
def test_what_is_no_network_is_refused(tmp_path: Path, value: str) -> None:
    file = write(tmp_path, f'API_CIDRS=["{value}"]')
    with pytest.raises(InputError, match=r"setting api_cidrs: found .*, expected networks such as"):
        load_cluster_settings(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"settings\.env: cannot be read \(No such file or directory\)"):
        load_cluster_settings(tmp_path / "settings.env")


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: str(overlay.name))
def test_the_settings_of_every_overlay_load(overlay: Path) -> None:
    assert load_cluster_settings(overlay / "settings.env").overlay == overlay.name


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ClusterSettings().namespace = "other"  # type: ignore[misc]


def test_the_local_run_of_the_cluster_tests_has_settings_that_it_takes() -> None:
    settings = load_settings("demo", [f"{name}={value}" for name, value in ON_THIS_MACHINE.items()])
    assert (settings.run.seeds, settings.run.shards) == ((1,), SHARDS["demo"])


@pytest.mark.parametrize("registry", ["http://registry.example.org/team", "registry.example.org/Team"])
def test_a_registry_that_no_image_can_be_named_by_is_refused(tmp_path: Path, registry: str) -> None:
    with pytest.raises(InputError, match=r"setting REGISTRY: found .* in small letters, without http://"):
        load_cluster_settings(write(tmp_path, f"REGISTRY={registry}"))


def test_a_value_of_the_wrong_type_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"settings\.env:1: GPU_COUNT: found 'none', expected a whole number"
    ):
        load_cluster_settings(write(tmp_path, "GPU_COUNT=none"))
