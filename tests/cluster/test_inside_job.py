"""`datum doctor --inside`: Jobs of the cluster look at what a run's first tasks look at.

The stand-in starts a Job's command as a process, with the environment and the folders that its pod has.
"""

import base64
import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from kubernetes.client import V1ObjectMeta, V1Secret

from datum.cluster import inside_job
from datum.cluster.inside_job import job_manifest, look_inside
from datum.cluster.manifests import render_manifests
from datum.cluster.settings import ClusterSettings, load_cluster_settings
from datum.errors import InputError
from datum.store import open_store
from tests.cluster.workloads import Workloads, _Handler
from tests.conftest import ACCESS_KEY, SECRET_KEY
from tests.manifests.test_network_policies import DNS, HUB, Place, connects
from tests.manifests.test_pod_security import violations

REPOSITORY = Path(__file__).parents[2]


class JobCluster(Workloads):
    """Besides its objects: Jobs, whose pods are processes."""

    def __init__(self, scratch: Path) -> None:
        super().__init__()
        self.RequestHandlerClass = _JobHandler
        self.scratch = scratch
        self.jobs: dict[str, dict[str, Any]] = {}
        """Jobs by name, removed ones aside."""
        self.made: list[dict[str, Any]] = []
        """All Jobs that were made."""
        self.job_pods: dict[str, dict[str, Any]] = {}
        """Pods by the name of their Job."""
        self.forbids_jobs = False
        self.refusal = ""
        """Why no pod may be made."""
        self.unschedulable = ""
        """Why no node takes a pod."""

    def begin(self, job: dict[str, Any]) -> None:
        """What the Job's controller, the scheduler and a kubelet do."""
        name, spec = job["metadata"]["name"], job["spec"]["template"]["spec"]
        if self.refusal:
            return
        status: dict[str, Any] = {"phase": "Pending"}
        metadata = {"name": f"{name}-abcde", "namespace": job["metadata"]["namespace"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}
        self.job_pods[name] = pod
        if self.unschedulable:
            status["conditions"] = [
                {"type": "PodScheduled", "status": "False", "message": self.unschedulable}
            ]
            return
        (container,) = spec["containers"]
        done = subprocess.run(
            container["command"], capture_output=True, text=True, env=self.environment(container), timeout=120
        )
        self.logs[metadata["name"]] = (done.stdout + done.stderr).splitlines()
        status["phase"] = "Failed" if done.returncode else "Succeeded"

    def environment(self, container: dict[str, Any]) -> dict[str, str]:
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "OMP_NUM_THREADS": "1",
        }
        if "/scratch" in [mount["mountPath"] for mount in container["volumeMounts"]]:
            environment["DATUM_SCRATCH"] = str(self.scratch)
        for variable in container["env"]:
            if "value" in variable:
                environment[variable["name"]] = variable["value"]
                continue
            reference = variable["valueFrom"]["secretKeyRef"]
            secret = self.objects.get(f"/api/v1/namespaces/kubeflow/secrets/{reference['name']}")
            if secret is None:
                assert reference["optional"]
                continue
            environment[variable["name"]] = base64.b64decode(secret.data[reference["key"]]).decode()
        return environment


class _JobHandler(_Handler):
    server: JobCluster

    def route(self) -> None:
        parts = urlsplit(self.path).path.strip("/").split("/")
        if self.command == "POST" and parts[-1] == "jobs":
            assert parts == ["apis", "batch", "v1", "namespaces", "kubeflow", "jobs"]
            if self.server.forbids_jobs:
                self.body()
                self.refuse(403, 'jobs.batch is forbidden: User "engineer" cannot create resource "jobs"')
                return
            job = json.loads(self.body())
            self.server.jobs[job["metadata"]["name"]] = job
            self.server.made.append(copy.deepcopy(job))
            self.server.begin(job)
            self.answer(201, json.dumps(job).encode())
        elif self.command == "DELETE" and parts[-2] == "jobs":
            self.body()
            assert "propagationPolicy=Background" in self.path
            self.answer(200, json.dumps(self.server.jobs.pop(parts[-1])).encode())
        else:
            super().route()

    def list_below(self, path: str) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        selected = query.get("labelSelector", "").removeprefix("job-name=")
        if path.endswith("/events"):
            message = self.server.refusal.format(pod=f"{list(self.server.jobs)[-1]}-{time.time_ns():x}")
            named = {"name": "event", "namespace": "kubeflow"}
            event = {"metadata": named, "involvedObject": {}, "message": message, "type": "Warning"}
            self.answer(200, json.dumps({"items": [event] if message else []}).encode())
        elif path.endswith("/pods") and selected in self.server.jobs:
            pod = self.server.job_pods.get(selected)
            self.answer(200, json.dumps({"kind": "PodList", "items": [pod] if pod else []}).encode())
        else:
            super().list_below(path)


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobCluster]:
    """The cluster of the current kube context, with the store's secret."""
    monkeypatch.setattr(inside_job, "POLL_SECONDS", 0.01)
    (tmp_path / "scratch").mkdir()
    api = JobCluster(tmp_path / "scratch")
    keys = {"accesskey": ACCESS_KEY, "secretkey": SECRET_KEY}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    named = V1ObjectMeta(name="mlpipeline-minio-artifact", namespace="kubeflow")
    api.put(V1Secret(kind="Secret", metadata=named, data=data))
    with api:
        api.write_kubeconfig(tmp_path / "kubeconfig")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield api


@pytest.fixture
def settings(s3_bucket: str, s3_endpoint: str) -> ClusterSettings:
    """A demo installation on processors."""
    places = {name: f"s3://{s3_bucket}/{name}" for name in ("datasets", "state", "reports")}
    return ClusterSettings(profile="demo", gpu_count=0, store_endpoint=s3_endpoint, **places)


def test_what_jobs_find_is_printed_and_nothing_of_them_stays(
    jobs: JobCluster, settings: ClusterSettings, s3_bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    look_inside(settings)
    out = capsys.readouterr().out
    for row in (
        f"✓ state         s3://{s3_bucket}/state: written, read and removed",
        "✓ /dev/shm",
        "✓ GPU                 none is asked for",
        "✓ base model          streetscenes: in /",
    ):
        assert "".join(row.split()) in "".join(out.split()), out
    assert "check parameters, from inside (job datum-check-" in out
    assert SECRET_KEY not in out
    assert jobs.jobs == {} and len(jobs.made) == 2
    assert open_store(f"s3://{s3_bucket}").list() == []


def test_what_is_wrong_inside_ends_the_command_after_both_have_looked(
    jobs: JobCluster, settings: ClusterSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = jobs.objects["/api/v1/namespaces/kubeflow/secrets/mlpipeline-minio-artifact"]
    secret.data["secretkey"] = base64.b64encode(b"another").decode()
    with pytest.raises(InputError, match=r"^--inside: what check parameters found is wrong"):
        look_inside(settings)
    out = capsys.readouterr().out
    assert out.count("✗") == 3 and "check the bucket and the secret" in out
    assert "check node, from inside" in out
    assert jobs.jobs == {}


@pytest.mark.parametrize("fault", ["refusal", "unschedulable"])
def test_a_job_that_does_not_begin_says_what_it_waits_for(
    jobs: JobCluster,
    settings: ClusterSettings,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    why = (
        'pods "{pod}" is forbidden: exceeded quota: team' if fault == "refusal" else "0/2 nodes are available"
    )
    setattr(jobs, fault, why)
    monkeypatch.setattr(inside_job, "SPARE_SECONDS", 2 * 3600 - 0.2)  # a demo's Job has two hours
    with pytest.raises(InputError, match=r"did not end in \d+ minutes \((pods .* quota|0/2 nodes)"):
        look_inside(settings)
    said = capsys.readouterr().err
    assert said.count("waits:") == 1 and why.rpartition("}")[2] in said
    assert jobs.jobs == {}


def test_who_may_not_make_jobs_is_told_which_rights_it_takes(
    jobs: JobCluster, settings: ClusterSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs.forbids_jobs = True
    with pytest.raises(InputError, match=r"403: jobs\.batch is forbidden.*create and delete jobs"):
        look_inside(settings)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(InputError, match="found no kube context"):
        look_inside(settings)


@pytest.mark.parametrize("kind", inside_job.TASKS)
@pytest.mark.parametrize("overlay", ["default", "seaweedfs", "minio", "kind"])
def test_a_job_is_what_the_cluster_and_its_policies_take_a_task_for(overlay: str, kind: str) -> None:
    folder = REPOSITORY / "manifests" / "overlays" / overlay
    installed = load_cluster_settings(folder / "settings.env", ["registry=registry.example.org/team"])
    job = job_manifest(installed, kind)
    for version in ("1.30", "1.36"):
        kubernetes_validate.validate(job, version, strict=True)
    template = job["spec"]["template"]
    assert violations(template) == []
    (container,) = template["spec"]["containers"]
    assert container["image"].startswith("registry.example.org/team/datum-")
    policies = [item for item in render_manifests(installed, folder) if item["kind"] == "NetworkPolicy"]
    pod = Place("10.244.2.9", installed.namespace, template["metadata"]["labels"])
    store = Place(namespace="datum-store", labels={"app.kubernetes.io/name": "minio"})
    kfp_store = Place(namespace="kubeflow", labels={"app": "seaweedfs"})
    assert connects(policies, pod, DNS, 53, "UDP")
    assert connects(policies, pod, *((store, 9000) if overlay == "minio" else (kfp_store, 8333)))
    assert connects(policies, pod, HUB, 443) == (kind == "node")


def test_a_job_is_placed_as_a_training_is() -> None:
    installed = ClusterSettings(
        gpu_memory="64Gi",
        scratch_class="fast",
        data_volume="data",
        data_cache="shared",
        node_selector={"pool": "gpu"},
        tolerations=({"key": "nvidia.com/gpu", "operator": "Exists"},),
        pod_labels={"kueue.x-k8s.io/queue-name": "team"},
    )
    job = job_manifest(installed, "node")
    kubernetes_validate.validate(job, "1.36", strict=True)
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "8", "memory": "64Gi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "64Gi", "nvidia.com/gpu": "1"},
    }
    assert (spec["nodeSelector"], len(spec["tolerations"])) == ({"pool": "gpu"}, 1)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert volumes["scratch"]["ephemeral"]["volumeClaimTemplate"]["spec"]["storageClassName"] == "fast"
    claims = {name: volumes[name]["persistentVolumeClaim"]["claimName"] for name in ("data", "cache")}
    assert claims == {"data": "data", "cache": "shared"}
    assert {"name": "DATUM_DATA_CACHE", "value": "/cache"} in container["env"]
    assert "nodeSelector" not in job_manifest(installed, "check")["spec"]["template"]["spec"]
