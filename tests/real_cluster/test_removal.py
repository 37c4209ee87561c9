"""Removing an installation: the last test of all."""

import json
from typing import Any

from tests.real_cluster.live_cluster import LiveCluster, differences


def test_undeploying_leaves_nothing_of_ours_and_everything_of_others(
    cluster: LiveCluster, before: dict[str, Any]
) -> None:
    cluster.make("undeploy")
    kinds = "serviceaccounts,roles,rolebindings,networkpolicies,configmaps,jobs,deployments,services"
    ours = cluster.kubectl("get", kinds, "--selector", "app.kubernetes.io/part-of=datum", "-o", "json")
    assert json.loads(ours)["items"] == []
    assert differences(before, cluster.objects_of_others(), but=cluster.disturbed) == []
    assert "`make deploy` uploads it" in cluster.datum("submit", status=2)
