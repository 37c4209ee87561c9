"""What watches an installation: what is applied, whom Prometheus reaches, every alert, and the dashboard."""

import functools
import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from datum.cluster.manifests import Resource, render_manifests
from datum.cluster.settings import load_cluster_settings
from datum.errors import InputError
from datum.instruments import INSTRUMENTS
from pipelines.resources import PORT_IN_POD
from tests.prometheus_programs import program

MANIFESTS = Path(__file__).parents[2] / "manifests"
UNIT_TESTS = Path(__file__).with_name("alerts.yaml")
OTHERS = {
    *("kube_pod_status_phase", "kube_pod_completion_time"),
    *("kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"),
}
"""Metrics of kube-state-metrics and of the kubelet that the alerts read."""
GATEWAY = "http://pushgateway.observation:9091"


@functools.cache
def rendered(overlay: str = "default", *changes: str) -> list[Resource]:
    folder = MANIFESTS / "overlays" / overlay
    return render_manifests(load_cluster_settings(folder / "settings.env", changes), folder)


def watching(*changes: str) -> dict[tuple[str, str], Resource]:
    """What MONITORING=on adds, by kind and name."""
    plain = {(item["kind"], item["metadata"]["name"]) for item in rendered()}
    every = {
        (item["kind"], item["metadata"]["name"]): item
        for item in rendered("default", "MONITORING=on", *changes)
    }
    return {key: item for key, item in every.items() if key not in plain}


def dashboard_module() -> Any:
    specification = importlib.util.spec_from_file_location("dashboard", MANIFESTS / "monitoring/dashboard.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def metrics_in(expressions: Iterable[str]) -> set[str]:
    return {name for text in expressions for name in re.findall(r"\b(?:datum|kube|kubelet)_[a-z_]+", text)}


def test_every_overlay_has_monitoring_where_its_settings_say_so_and_not_otherwise(overlay: str) -> None:
    assert "PodMonitor" not in {item["kind"] for item in rendered(overlay)}
    kinds = {item["kind"] for item in rendered(overlay, "MONITORING=on")}
    assert {"PodMonitor", "PrometheusRule", "ConfigMap"} <= kinds


def test_monitoring_adds_what_scraping_needs_and_nothing_else() -> None:
    added = watching(
        "PROMETHEUS_NAMESPACE=watch", "PROMETHEUS_ACCOUNT=seer", 'MONITORING_LABELS={"release": "stack"}'
    )
    assert sorted(added) == [
        ("ConfigMap", "datum-dashboard"),
        ("NetworkPolicy", "datum-monitoring"),
        ("NetworkPolicy", "datum-pushgateway"),
        ("PodMonitor", "datum"),
        ("PrometheusRule", "datum"),
        ("Role", "datum-monitoring"),
        ("RoleBinding", "datum-monitoring"),
    ]
    assert added["Role", "datum-monitoring"]["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    (subject,) = added["RoleBinding", "datum-monitoring"]["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "seer", "namespace": "watch"}
    for kind in ("PodMonitor", "PrometheusRule"):
        assert added[kind, "datum"]["metadata"]["labels"]["release"] == "stack"
    assert all(item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "datum" for item in added.values())


def test_prometheus_alone_reaches_the_port_that_tasks_serve() -> None:
    added = watching(f"PUSHGATEWAY={GATEWAY}")
    (rule,) = added["NetworkPolicy", "datum-monitoring"]["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": PORT_IN_POD}]
    (peer,) = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "monitoring"}
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
    relabelings = added["PodMonitor", "datum"]["spec"]["podMetricsEndpoints"][0]["relabelings"]
    addresses = [rule["replacement"] for rule in relabelings if rule.get("targetLabel") == "__address__"]
    assert addresses == [f"$1:{PORT_IN_POD}", f"[$1]:{PORT_IN_POD}"]
    (rule,) = added["NetworkPolicy", "datum-pushgateway"]["spec"]["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 9091}]
    (peer,) = rule["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "observation"}
    # Without a Pushgateway, nothing more is let out.
    assert watching()["NetworkPolicy", "datum-pushgateway"]["spec"]["egress"] == []


@pytest.mark.parametrize("url", ["pushgateway:9091", "ftp://pushgateway", "http://"])
def test_what_is_no_url_of_a_pushgateway_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="setting pushgateway: found"):
        load_cluster_settings(None, [f"PUSHGATEWAY={url}"])


@pytest.mark.parametrize(
    "schedule, seconds",
    [("", "+Inf"), ("nightly", "172800"), ("weekly", "691200"), ("0 0 3 * * MON,THU", "432000")],
)
def test_a_reproduction_is_overdue_by_its_schedule(schedule: str, seconds: str) -> None:
    rules = watching(f"SCHEDULE={schedule}")["PrometheusRule", "datum"]["spec"]["groups"][0]["rules"]
    (overdue,) = (rule for rule in rules if rule["alert"] == "DatumReproductionOverdue")
    assert overdue["expr"].endswith(f" > {seconds}")


def test_alerts_and_dashboard_name_metrics_that_there_are() -> None:
    added = watching()
    rules = added["PrometheusRule", "datum"]["spec"]["groups"][0]["rules"]
    assert metrics_in(rule["expr"] for rule in rules) <= INSTRUMENTS.keys() | OTHERS
    shown = json.loads(added["ConfigMap", "datum-dashboard"]["data"]["dashboard.json"])
    expressions = [target["expr"] for panel in shown["panels"] for target in panel["targets"]]
    assert metrics_in(expressions) <= INSTRUMENTS.keys()


def write_rules(folder: Path) -> Path:
    """The alerts as they are applied where the reproduction is repeated every week, for promtool."""
    rules = watching("SCHEDULE=weekly")["PrometheusRule", "datum"]["spec"]
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(rules), encoding="utf-8")
    return file


def promtool(*words: str, folder: Path) -> str:
    command = [program("promtool"), *words]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_every_alert_fires_and_does_not_fire_when_it_should(tmp_path: Path) -> None:
    write_rules(tmp_path)
    assert "11 rules found" in promtool("check", "rules", "rules.yaml", folder=tmp_path)
    shutil.copy(UNIT_TESTS, tmp_path)
    assert "SUCCESS" in promtool("test", "rules", UNIT_TESTS.name, folder=tmp_path)


def test_the_unit_tests_see_every_alert_fire_and_not_fire(tmp_path: Path) -> None:
    alerts = {
        rule["alert"] for rule in yaml.safe_load(write_rules(tmp_path).read_text())["groups"][0]["rules"]
    }
    seen = [
        (one["alertname"], bool(one["exp_alerts"]))
        for test in yaml.safe_load(UNIT_TESTS.read_text(encoding="utf-8"))["tests"]
        for one in test["alert_rule_test"]
    ]
    assert {(name, fires) for name in alerts for fires in (True, False)} == set(seen)


def test_the_dashboard_is_what_its_code_writes() -> None:
    module = dashboard_module()
    written = json.loads(module.FILE.read_text(encoding="utf-8"))
    assert written == module.dashboard(), "run `python manifests/monitoring/dashboard.py`"
    assert [one["name"] for one in written["templating"]["list"]] == ["datasource", "run", "seed", "stage"]
    for panel in written["panels"]:
        assert panel["title"].endswith("?"), "a panel answers a question"
        assert all('run=~"$run"' in target["expr"] for target in panel["targets"])


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    targets = [target for panel in dashboard_module().dashboard()["panels"] for target in panel["targets"]]
    rules = [{"record": f"query:{number}", "expr": target["expr"]} for number, target in enumerate(targets)]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(targets)} rules found" in promtool("check", "rules", "queries.yaml", folder=tmp_path)
