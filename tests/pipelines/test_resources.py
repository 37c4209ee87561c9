"""What every task of every compiled pipeline asks of a cluster."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.images import IMAGES, STAGES
from datum.errors import InputError
from datum.processors import processors
from pipelines.compile import compile_all, compile_pipeline
from pipelines.form_defaults import FormDefaults
from pipelines.ingest import ingest
from pipelines.reproduction import reproduction
from pipelines.resources import Cluster

NAMES = ("reproduction", "training", "ingest", "ablation", "cells", "baselines")
DIGESTS = {stage: f"registry.example.org/datum-{stage}@sha256:{'0' * 64}" for stage in STAGES}
GPU_TASKS = ("node", "personalize", "generate", "adapt", "evaluate")
UNCACHED = ("check parameters", "check node", "ingest source", "ingest target", "report")
"""Tasks that look at what is outside of their inputs, or leave something there."""
QUANTITY = re.compile(r"\d+(m|[KMG]i?)?")


class Task:
    """One task of a compiled pipeline, with its executor and that one's configuration on Kubernetes."""

    def __init__(self, specification: dict[str, Any], platform: dict[str, Any], key: str) -> None:
        self.about = specification["root"]["dag"]["tasks"][key]
        component = specification["components"][self.about["componentRef"]["name"]]
        label = component["executorLabel"]
        self.name = self.about["taskInfo"]["name"]
        self.container = specification["deploymentSpec"]["executors"][label]["container"]
        self.kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][label]
        self.inputs = specification["root"]["inputDefinitions"]["parameters"]
        self.uses_gpu = self.name.rsplit("· ", 1)[-1].removeprefix("check ").split()[0] in GPU_TASKS


def tasks_of(folder: Path, name: str) -> list[Task]:
    specification, platform = yaml.safe_load_all((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    return [Task(specification, platform, key) for key in specification["root"]["dag"]["tasks"]]


def placed(folder: Path, form: FormDefaults) -> list[Task]:
    """The tasks of a reproduction over one seed, where the installation is as `form` says."""
    pipeline = reproduction(seeds=(1,), shards=2, cluster=Cluster(form=form))
    compile_pipeline(pipeline, folder / "reproduction.yaml")
    return tasks_of(folder, "reproduction")


@pytest.fixture(scope="module")
def by_digest(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    """All tasks of all pipelines, compiled with the digests that a push records."""
    folder = tmp_path_factory.mktemp("digests")
    compile_all(folder, Cluster(images=DIGESTS, data_volume="data"))
    return [task for name in NAMES for task in tasks_of(folder, name)]


@pytest.fixture(scope="module")
def by_tag(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    """The same with the tags that a build gives."""
    folder = tmp_path_factory.mktemp("tags")
    compile_all(folder, Cluster())
    return [task for name in NAMES for task in tasks_of(folder, name)]


def test_every_task_runs_in_the_recorded_image_of_its_stage(
    by_digest: list[Task], by_tag: list[Task]
) -> None:
    for tasks, images in ((by_digest, DIGESTS), (by_tag, IMAGES)):
        for task in tasks:
            stage = task.kubernetes["podMetadata"]["labels"]["app.kubernetes.io/component"]
            assert task.container["image"] == images[stage] and not images[stage].endswith(":latest")
            # The output's provenance names it too.
            given = task.about["inputs"]["parameters"].get("image")
            assert given in (None, {"runtimeValue": {"constant": images[stage]}})


def test_the_retries_of_a_task_end_when_all_its_tries_can_have_run_out_of_time(by_digest: list[Task]) -> None:
    for task in by_digest:
        policy = task.about["retryPolicy"]
        tries, timeout = 1 + policy["maxRetryCount"], int(task.kubernetes["activeDeadlineSeconds"])
        assert tries == 4 and 600 <= timeout <= 96 * 3600
        first = int(policy["backoffDuration"].removesuffix("s"))
        pauses = sum(first * policy["backoffFactor"] ** number for number in range(tries - 1))
        # Argo's window holds all tries and all pauses.
        window = int(policy["backoffMaxDuration"].removesuffix("s"))
        assert window > tries * timeout + pauses, task.name


def test_a_task_waits_for_faults_to_pass_until_its_time_out_is_near(by_digest: list[Task]) -> None:
    for task in by_digest:
        environment = {variable["name"]: variable["value"] for variable in task.container["env"]}
        patience, timeout = int(environment["DATUM_PATIENCE"]), int(task.kubernetes["activeDeadlineSeconds"])
        # A wrong endpoint is said soon.
        assert patience == (30 if task.name.startswith("check ") else timeout - 600), task.name


def test_a_task_computes_on_the_processors_that_it_requests_and_not_on_every_one_of_its_node(
    by_digest: list[Task],
) -> None:
    code = (
        "import cv2, torch; from datum.processors import processors; "
        "print(torch.get_num_threads(), cv2.getNumThreads(), processors())"
    )
    # A fraction of a processor, and several.
    for task in [task for task in by_digest if task.name in ("check parameters", "ingest source")][:2]:
        request = task.container["resources"]["resourceCpuRequest"]
        whole = 1 if request.endswith("m") else int(request)
        environment = {variable["name"]: variable["value"] for variable in task.container["env"]}
        said = subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, **environment}, text=True
        )
        threads, of_opencv, counted = map(int, said.split())
        assert (threads <= whole, of_opencv, counted) == (True, 1, min(whole, processors())), task.name


def test_every_task_asks_for_processors_memory_and_bounded_disk(by_digest: list[Task]) -> None:
    for task in by_digest:
        resources = task.container["resources"]
        assert QUANTITY.fullmatch(resources["resourceCpuRequest"])
        assert resources["resourceMemoryRequest"] == resources["resourceMemoryLimit"]
        mounts = {mount["mountPath"]: mount for mount in task.kubernetes["emptyDirMounts"]}
        assert set(mounts) == {"/tmp", "/scratch", "/dev/shm"}
        assert all(QUANTITY.fullmatch(mount["sizeLimit"]) for mount in mounts.values())
        assert mounts["/dev/shm"]["medium"] == "Memory" and "medium" not in mounts["/scratch"]


def test_only_training_drawing_and_testing_ask_for_a_gpu_on_the_nodes_that_the_installation_names(
    tmp_path: Path,
) -> None:
    form = FormDefaults(
        gpu_type="amd.com/gpu",
        gpu_memory="64Gi",
        node_selector={"pool": "gpu"},
        tolerations=({"key": "spot", "operator": "Exists", "tolerationSeconds": 60},),
    )
    tasks = placed(tmp_path, form)
    assert {task.uses_gpu for task in tasks} == {True, False}
    for task in tasks:
        resources, kubernetes = task.container["resources"], task.kubernetes
        asked = ["accelerator" in resources, "nodeSelector" in kubernetes, "tolerations" in kubernetes]
        assert asked == [task.uses_gpu] * 3, task.name
        if task.uses_gpu:
            gpu = resources["accelerator"]
            assert (gpu["resourceType"], gpu["resourceCount"]) == ("amd.com/gpu", "1")
            assert resources["resourceMemoryLimit"] == "64Gi"
            assert kubernetes["nodeSelector"]["labels"] == {"pool": "gpu"}
            (toleration,) = kubernetes["tolerations"]
            assert toleration == {"key": "spot", "operator": "Exists", "tolerationSeconds": "60"}


def test_pods_get_the_labels_and_the_volumes_of_the_installation(tmp_path: Path) -> None:
    queue = {"kueue.x-k8s.io/queue-name": "team", "app.kubernetes.io/part-of": "theirs"}
    form = FormDefaults(pod_labels=queue, scratch_class="fast")
    for task in placed(tmp_path, form):
        labels = task.kubernetes["podMetadata"]["labels"]
        # The network policies go by ours.
        assert (
            labels["kueue.x-k8s.io/queue-name"] == "team" and labels["app.kubernetes.io/part-of"] == "datum"
        )
        (volume,) = task.kubernetes["genericEphemeralVolume"]
        assert (volume["mountPath"], volume["storageClassName"]) == ("/scratch", "fast")
        assert QUANTITY.fullmatch(volume["size"]) and volume["accessModes"] == ["ReadWriteOnce"]
        mounts = {mount["mountPath"] for mount in task.kubernetes["emptyDirMounts"]}
        assert mounts == {"/tmp", "/dev/shm"}


def test_tasks_that_fetch_data_sets_share_the_data_cache_after_a_look_at_it(tmp_path: Path) -> None:
    sharing = set()
    for task in placed(tmp_path, FormDefaults(data_cache="shared")):
        claims = {mount["constant"]: mount["mountPath"] for mount in task.kubernetes.get("pvcMount", ())}
        places = [item["value"] for item in task.container["env"] if item["name"] == "DATUM_DATA_CACHE"]
        assert ("shared" in claims) == bool(places), task.name
        if places:
            assert [claims["shared"]] == places
            sharing.add(task.name.rpartition("· ")[2].rstrip("/0123456789 "))
    assert sharing == {"check node", "generate", "adapt", "evaluate"}


def test_on_processors_no_task_asks_for_a_gpu(tmp_path: Path) -> None:
    for task in placed(tmp_path, FormDefaults(profile="demo", gpu_count=0)):
        assert "accelerator" not in task.container["resources"]
        assert task.container["resources"]["resourceMemoryLimit"] == ("3Gi" if task.uses_gpu else "1Gi")


def test_a_training_has_all_gpus_of_the_installation_and_every_other_task_one(tmp_path: Path) -> None:
    several = set()
    for task in placed(tmp_path, FormDefaults(gpu_count=4)):
        count = task.container["resources"].get("accelerator", {}).get("resourceCount", "0")
        assert count in (("1", "4") if task.uses_gpu else ("0",)), task.name
        if count == "4":
            several.add(task.name.rpartition("· ")[2])
        told = task.about["inputs"]["parameters"].get("gpu_count")
        assert told in (None, {"runtimeValue": {"constant": 4.0}})
    # The look at a node asks for what a training asks for.
    assert several == {"check node", "adapt"}


def test_a_toleration_that_kubernetes_does_not_know_is_refused(tmp_path: Path) -> None:
    form = FormDefaults(tolerations=({"key": "a", "seconds": 1},))
    with pytest.raises(InputError, match="tolerations: found the key 'seconds'"):
        placed(tmp_path, form)


def test_results_are_cached_on_digests_only_and_never_of_what_looks_outside(
    by_digest: list[Task], by_tag: list[Task]
) -> None:
    for task in by_digest:
        assert bool(task.about["cachingOptions"].get("enableCache")) == (task.name not in UNCACHED), task.name
    for task in by_tag:
        assert not task.about["cachingOptions"].get("enableCache"), task.name


def test_secrets_are_named_and_never_held(by_digest: list[Task]) -> None:
    for task in by_digest:
        secrets = task.kubernetes.get("secretAsEnv", [])
        for secret in secrets:
            assert set(secret) <= {"keyToEnv", "optional", "secretName", "secretNameParameter"}
        names = {secret["secretName"] for secret in secrets}
        assert names <= {"mlpipeline-minio-artifact", "datum-hub"}
        assert ("datum-hub" in names) == task.name.endswith(("personalize", "check node"))
        assert not any("KEY" in variable["name"] for variable in task.container.get("env", []))


def test_every_task_knows_its_name_and_the_webhook_where_one_is_set(
    by_digest: list[Task], tmp_path: Path
) -> None:
    for task in placed(tmp_path, FormDefaults(webhook_secret="chat")):
        (secret,) = (item for item in task.kubernetes["secretAsEnv"] if item["secretName"] == "chat")
        assert secret["keyToEnv"] == [{"secretKey": "url", "envVar": "DATUM_WEBHOOK"}] and secret["optional"]
        assert {"name": "DATUM_TASK", "value": task.name} in task.container["env"]
    for task in by_digest:
        assert not any(variable["name"] == "DATUM_TASK" for variable in task.container["env"])


def test_only_tasks_that_read_data_sets_mount_them_and_they_say_that_they_are_no_root(
    by_digest: list[Task],
) -> None:
    for task in by_digest:
        reaches_store = any(
            secret["secretName"] == "mlpipeline-minio-artifact"
            for secret in task.kubernetes.get("secretAsEnv", [])
        )
        assert ("pvcMount" in task.kubernetes) == reaches_store
        assert task.kubernetes["securityContext"] == {"runAsNonRoot": True}


def test_the_run_id_that_state_is_kept_under_is_no_input_which_would_spoil_the_cache(
    by_digest: list[Task],
) -> None:
    for task in by_digest:
        assert task.kubernetes["fieldPathAsEnv"] == [
            {"name": "DATUM_RUN_ID", "fieldPath": "metadata.labels['pipeline/runid']"}
        ]
        assert "pipeline_job" not in json.dumps(task.about)


def test_every_field_of_the_form_has_a_type_a_default_and_a_description(by_digest: list[Task]) -> None:
    for task in by_digest:
        for name, field in task.inputs.items():
            assert field["parameterType"] in ("STRING", "LIST", "STRUCT"), name
            assert field["isOptional"] and "defaultValue" in field, name
            assert len(field["description"]) > 20 and field["description"].endswith("."), name


def test_the_first_task_alone_knows_its_service_account_and_the_installations(tmp_path: Path) -> None:
    pipeline = ingest(cluster=Cluster(service_account="datum-runner"))
    compile_pipeline(pipeline, tmp_path / "ingest.yaml")
    first, *others = sorted(tasks_of(tmp_path, "ingest"), key=lambda task: task.name)
    assert first.name == "check parameters"
    paths = {one["name"]: one["fieldPath"] for one in first.kubernetes["fieldPathAsEnv"]}
    assert paths["DATUM_SERVICE_ACCOUNT"] == "spec.serviceAccountName"
    assert {"name": "DATUM_WANTED_SERVICE_ACCOUNT", "value": "datum-runner"} in first.container["env"]
    assert not any("SERVICE_ACCOUNT" in json.dumps(task.kubernetes) for task in others)
