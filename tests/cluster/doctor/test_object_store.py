"""`datum doctor`: volumes, the store, its secret and the data sets in it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as kubernetes

from datum.cluster.doctor import Finding
from datum.store import open_store
from datum.transfer import publish
from tests.cluster.doctor.objects import (
    CLOSED,
    Doctor,
    a_claim,
    a_pod,
    a_secret,
    a_service,
    a_slice,
    client,
    metadata,
    problems,
    upload,
)
from tests.cluster.kubernetes_api import KubernetesApi


def test_the_minio_overlay_needs_a_default_storage_class(examine: Doctor, cluster: KubernetesApi) -> None:
    row = examine(overlay="minio")["StorageClass"]
    assert row.status == "problem"
    assert "there are none" in row.found
    a_class = kubernetes.V1StorageClass(
        kind="StorageClass", metadata=metadata("fast", None), provisioner="example.org/fast"
    )
    cluster.put(a_class)
    row = examine(overlay="minio")["StorageClass"]
    assert row.remedy == "kubectl annotate storageclass fast storageclass.kubernetes.io/is-default-class=true"
    a_class.metadata.annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert examine(overlay="minio")["StorageClass"].found == "fast is the default"


def test_a_data_volume_must_be_bound(examine: Doctor, cluster: KubernetesApi) -> None:
    assert (
        "there is no PersistentVolumeClaim datasets" in examine(data_volume="datasets")["data volume"].found
    )
    cluster.put(a_claim("Pending"))
    row = examine(data_volume="datasets")["data volume"]
    assert (row.status, row.found) == ("problem", "PersistentVolumeClaim datasets is Pending, expected Bound")
    assert "describe persistentvolumeclaim datasets" in row.remedy
    cluster.put(a_claim("Bound"))
    rows = examine(data_volume="datasets", source="/data/gta", target="/data/cityscapes")
    assert problems(rows) == []
    assert rows["data volume"].found == "datasets is bound, 200Gi, ReadOnlyMany"


def test_a_store_in_the_cluster_that_is_too_small_for_a_run_is_a_warning(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    inside = {"store_endpoint": "http://seaweedfs.kubeflow:8333"}
    assert examine()["store room"].found == "not known: the store lies outside of the cluster"
    cluster.put(a_service("seaweedfs", 8333, app="seaweedfs"))
    assert examine(**inside)["store room"].found.startswith("not known: no pod of service seaweedfs in")
    cluster.put(a_claim("Bound", name="seaweedfs-pvc", size="20Gi"))
    cluster.put(a_pod("seaweedfs-0", "seaweedfs-pvc", app="seaweedfs"))
    cluster.put(a_pod("another", "datasets", app="another"))
    row = examine(**inside)["store room"]
    assert row.status == "warning" and "set STORE_ENDPOINT" in row.remedy
    assert row.found == (
        "seaweedfs-pvc in kubeflow: 21.5 GB in all; a reproduction needs up to 228 GB beside its data"
    )
    assert examine(**inside, profile="demo")["store room"].status == "ok"
    assert examine(**inside, base_model="s3://models/sd")["store room"].found == row.found
    assert "found no such folder" in examine(**inside, base_model="no model")["store room"].found
    cluster.put(a_claim("Bound", name="seaweedfs-pvc", size="500Gi"))
    assert examine(**inside)["store room"].status == "ok"


def test_a_data_cache_must_be_bound_and_is_to_be_shared_by_nodes(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    assert examine()["data cache"].found == "not needed: data_cache is empty"
    row = examine(data_cache="datasets")["data cache"]
    assert (row.status, row.remedy.partition(",")[0]) == ("problem", "make it")
    cluster.put(a_claim("Pending"))
    row = examine(data_cache="datasets")["data cache"]
    assert row.status == "warning" and "WaitForFirstConsumer" in row.found
    cluster.put(a_claim("Lost"))
    assert examine(data_cache="datasets")["data cache"].status == "problem"
    cluster.put(a_claim("Bound"))
    row = examine(data_cache="datasets")["data cache"]
    assert row.status == "warning" and "on one node alone" in row.found
    cluster.put(a_claim("Bound", "ReadWriteMany"))
    row = examine(data_cache="datasets")["data cache"]
    assert (row.status, row.found) == ("ok", "datasets is bound, 200Gi, ReadWriteMany")


def test_a_path_of_the_data_volume_needs_one(examine: Doctor) -> None:
    rows = examine(source="/data/gta", target="cityscapes")
    assert problems(rows) == ["source", "target"]
    assert "data_volume is empty" in rows["source"].found
    assert "s3://bucket/path" in rows["target"].remedy


def test_a_store_secret_is_there_and_whole(examine: Doctor, cluster: KubernetesApi) -> None:
    cluster.put(a_secret("half", accesskey="x"))
    row = examine(store_secret="half")["store secret"]
    assert (row.status, row.found) == (
        "problem",
        "secret half has no key secretkey; the keys are accesskey and secretkey",
    )
    rows = examine(store_secret="absent")
    assert rows["store secret"].found == "there is no secret absent in kubeflow"
    assert rows["store"].found == "not checked: store secret comes first"


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"accesskey": "nobody", "secretkey": "a-wrong-one"}, "does not know the accesskey"),
        ({"accesskey": "tests", "secretkey": "a-wrong-one"}, "the secretkey of secret wrong is wrong"),
    ],
)
def test_keys_that_the_store_refuses_are_a_problem(
    examine: Doctor, cluster: KubernetesApi, keys: dict[str, str], found: str
) -> None:
    cluster.put(a_secret("wrong", **keys))
    row = examine(store_secret="wrong")["store"]
    assert row.status == "problem"
    assert found in row.found
    assert "a-wrong-one" not in row.found + row.remedy


def test_a_missing_bucket_is_a_problem(examine: Doctor) -> None:
    row = examine(state="s3://no-such-bucket/state")["store"]
    assert row.status == "problem"
    assert "there is no bucket no-such-bucket" in row.found


def test_a_store_that_cannot_be_written_is_a_problem(
    examine: Doctor, s3_endpoint: str, s3_bucket: str
) -> None:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject"],
        "Resource": [f"arn:aws:s3:::{s3_bucket}/*"],
    }
    client(s3_endpoint).set_bucket_policy(
        s3_bucket, json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    row = examine(datasets=f"s3://{s3_bucket}/datasets")["store"]
    assert row.status == "problem"
    assert row.found.startswith(f"s3://{s3_bucket}/datasets can be read but not written")


def test_of_a_store_that_only_pods_reach_the_service_is_checked(
    examine: Doctor, cluster: KubernetesApi
) -> None:
    inside = "http://seaweedfs.kubeflow:8333"
    assert examine(store_endpoint=inside)["store"].found == "there is no service seaweedfs in kubeflow"
    cluster.put(a_service("seaweedfs", 9000))
    assert "has ports [9000], not 8333" in examine(store_endpoint=inside)["store"].found
    cluster.put(a_service("seaweedfs", 8333))
    cluster.put(a_slice(ready=False))
    row = examine(store_endpoint=inside)["store"]
    assert (row.status, row.found) == ("problem", "service seaweedfs in kubeflow has no ready pod")
    cluster.put(a_slice())
    rows = examine(store_endpoint=inside, source="s3://b/gta", target="s3://b/cityscapes")
    assert problems(rows) == []
    assert rows["store"].status == rows["source"].status == "warning"
    assert "datum doctor --inside" in rows["store"].remedy


def test_a_store_elsewhere_that_is_not_reached_is_a_problem(examine: Doctor) -> None:
    row = examine(store_endpoint=CLOSED)["store"]
    assert row.status == "problem"
    assert "Connection refused" in row.found


def test_what_the_minio_overlay_makes_may_be_missing_before(examine: Doctor) -> None:
    rows = examine(
        overlay="minio", store_secret="datum-store", store_endpoint="http://minio.datum-store.svc:9000"
    )
    assert problems(rows) == ["StorageClass"]
    assert rows["store secret"].status == rows["store"].status == "warning"


def test_data_sets_are_verified_by_their_listing(examine: Doctor, place: str) -> None:
    source, target = f"{place}/raw/synthia", f"{place}/raw/cityscapes"
    rows = examine(source=source, target=target)
    assert rows["source"].found == f"{source} has no images/ or RGB/"
    assert rows["target"].found == f"{target} has no leftImg8bit/"
    upload(source, "RGB/0000001.png", "RGB/0000002.png", "GT/LABELS/0000001.png", "README")
    frame = "leftImg8bit/{}/ulm/ulm_000001_000019_leftImg8bit.png"
    label = "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png"
    upload(target, frame.format("val"), label)
    rows = examine(source=source, target=target)
    assert rows["source"].found == (
        f"{source}/RGB/0000002.png: its label is missing, expected {source}/GT/LABELS/0000002.png"
    )
    assert rows["source"].remedy == "complete the data set or remove the file"
    assert rows["target"].found == f"{target}/leftImg8bit/train: no such folder"
    assert rows["target"].remedy.startswith("expected Cityscapes's layout, leftImg8bit/<split>/<city> and")
    assert problems(rows) == ["source", "target"]
    upload(source, "GT/LABELS/0000002.png")
    upload(target, frame.format("train"))
    rows = examine(source=source, target=target)
    assert rows["source"].found.startswith(f"{source}: SYNTHIA, 2 images, 2 with labels")
    assert rows["target"].found.startswith(f"{target}: Cityscapes, 2 images, 1 with labels")
    assert problems(rows) == []


def test_the_weights_that_a_training_starts_from_are_named_and_there(examine: Doctor, place: str) -> None:
    def row(**changes: Any) -> Finding:
        return examine(**changes)["encoder weights"]

    weights = f"{place}/weights/mit_b5.pth"
    assert row().found == "random, as set"
    assert row(encoder_weights="", profile="demo").status == "ok"
    unnamed = row(encoder_weights="")
    assert unnamed.status == "warning" and "method_encoder_weights" in unnamed.remedy
    assert row(encoder_weights="", schedule="weekly").status == "problem", "nobody names them for each run"
    assert row(encoder_weights=weights).found == f"{weights} is not there"
    upload(f"{place}/weights", "mit_b5.pth")
    assert (row(encoder_weights=weights).status, row(encoder_weights=weights).found) == ("ok", weights)
    assert "data_volume is empty" in row(encoder_weights="/data/mit_b5.pth").found
    assert row(encoder_weights=weights, store_endpoint=CLOSED).status == "warning"


@pytest.mark.parametrize("weights", ["published", "https://server/mit_b5.pth", "hf://nvidia/mit-b5"])
def test_weights_that_a_training_would_download_are_a_problem_where_policies_keep_it_from_that(
    examine: Doctor, weights: str
) -> None:
    row = examine(encoder_weights=weights)["encoder weights"]
    assert row.status == "problem" and "keep a training from downloading it" in row.found
    assert "set encoder_weights to their s3:// URI" in row.remedy
    assert examine(encoder_weights=weights, network_policies="off")["encoder weights"].status == "ok"


def test_an_ingested_data_set_is_verified_by_its_index(examine: Doctor, place: str, tmp_path: Path) -> None:
    for name in ("images/00001.png", "labels/00001.png"):
        (tmp_path / "gta" / name).parent.mkdir(parents=True)
        (tmp_path / "gta" / name).write_bytes(b"png")
    source = publish(tmp_path / "gta", f"{place}/datasets", "gta")
    rows = examine(source=source, target=f"{place}/datasets/cityscapes-0")
    assert rows["source"].found.endswith("GTA, 1 images, 1 with labels; every file of its index is there")
    assert rows["target"].status == "warning", "the ingest pipeline is yet to fill it"
    open_store(source).delete("labels/00001.png")
    row = examine(source=source, target=source)["source"]
    assert (row.status, row.remedy) == ("problem", "run datum-ingest again")


def test_the_store_is_reached_with_the_keys_of_the_secret_alone(
    examine: Doctor, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(f"{place}/gta", "images/00001.png", "labels/00001.png")
    for name in ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    before = dict(os.environ)
    rows = examine(source=f"{place}/gta")
    assert rows["store"].status == rows["source"].status == "ok"
    assert dict(os.environ) == before


def test_a_source_without_target_is_a_problem(examine: Doctor, place: str) -> None:
    upload(f"{place}/gta", "images/00001.png", "labels/00001.png")
    rows = examine(source=f"{place}/gta")
    assert problems(rows) == ["target"]
    assert rows["target"].found == "target is empty, but source is given"
