"""Installing into a cluster that other people use."""

from typing import Any

from tests.real_cluster.live_cluster import LiveCluster, differences

LAUNCHER = "ConfigMap/kfp-launcher"
"""KFP's ConfigMap, of which we set one key."""


def test_the_doctor_finds_nothing_wrong(cluster: LiveCluster) -> None:
    assert "✗" not in cluster.datum("doctor")


def test_deploying_twice_changes_nothing_that_is_not_ours(
    cluster: LiveCluster, before: dict[str, Any]
) -> None:
    cluster.make("deploy")
    cluster.datum("upload")
    after = cluster.objects_of_others()
    launcher = f"{cluster.namespace}/{LAUNCHER}"
    assert differences(before, after, but=[launcher]) == []
    kept = {name: value for name, value in before[launcher]["data"].items() if name != "providers"}
    assert {name: after[launcher]["data"].get(name) for name in kept} == kept
