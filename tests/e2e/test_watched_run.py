"""A real Prometheus watches a small `datum run` through one port, and an alert of a task that failed arrives
in a real Alertmanager by way of a real Pushgateway."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from datum.exposition import PUSHGATEWAY, RUN_NAME
from tests.e2e.test_demo_run import command
from tests.manifests.test_monitoring import write_rules
from tests.prometheus_programs import free_port, lint, program, pushgateway, query, read, running, until

FAILING = (
    "from components.task import failing_with_status\n"
    "from datum.errors import InputError\n"
    "with failing_with_status(): raise InputError('the training diverged')\n"
)


class Watch:
    """Where Prometheus and Alertmanager are, and the port that is scraped."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.alertmanager = f"http://127.0.0.1:{free_port()}"
        self.prometheus = f"http://127.0.0.1:{free_port()}"

    def configuration(self, gateway: str) -> Path:
        write_rules(self.folder)
        jobs = [("datum-run", f"127.0.0.1:{self.port}"), ("pushgateway", gateway.removeprefix("http://"))]
        content = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {
                    "job_name": name,
                    "honor_labels": name == "pushgateway",
                    "static_configs": [{"targets": [target]}],
                }
                for name, target in jobs
            ],
            "alerting": {
                "alertmanagers": [
                    {"static_configs": [{"targets": [self.alertmanager.removeprefix("http://")]}]}
                ]
            },
        }
        file = self.folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return file


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Watch, str]]:
    """What watches, and the URL of its Pushgateway."""
    names = ("prometheus", "prometheus-alertmanager")
    prometheus, alertmanager = map(program, names)
    folder = tmp_path_factory.mktemp("watch")
    found = Watch(folder)
    receivers = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    (folder / "alertmanager.yaml").write_text(yaml.safe_dump(receivers), encoding="utf-8")
    manager = [
        alertmanager,
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address={found.alertmanager.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with (
        pushgateway(folder) as gateway,
        running(manager, f"{found.alertmanager}/-/ready", folder / "alertmanager.log"),
    ):
        words = [
            prometheus,
            f"--config.file={found.configuration(gateway)}",
            f"--storage.tsdb.path={folder / 'series'}",
            f"--web.listen-address={found.prometheus.removeprefix('http://')}",
        ]
        with running(words, f"{found.prometheus}/-/ready", folder / "prometheus.log"):
            yield found, gateway


def test_prometheus_sees_every_task_of_a_run_at_one_port_and_its_end_in_the_pushgateway(
    watch: tuple[Watch, str], tmp_path: Path
) -> None:
    found, gateway = watch
    words = [
        *command(tmp_path / "demo", run__seeds="[1,2]", adaptation__log_every=1),
        f"--metrics-port={found.port}",
        "--title=Our town",
    ]
    environment = {**os.environ, PUSHGATEWAY: gateway, "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    shown = ""
    while run.poll() is None:
        try:
            shown = read(f"http://127.0.0.1:{found.port}/metrics")
        except OSError:
            continue
    printed = run.communicate()[0]
    assert run.returncode == 0, printed
    assert lint(shown) == ""
    seen = query(
        found.prometheus, 'max by (stage, seed) (max_over_time(datum_task_running{job="datum-run"}[1h]))'
    )
    stages = {(one["metric"].get("stage"), one["metric"].get("seed", "")) for one in seen}
    for stage in ("personalize", "generate", "adapt", "evaluate"):
        assert {(stage, "1"), (stage, "2")} <= stages
    assert ("run", "") in stages
    # A report may take less than the time between two looks.
    reported = 'datum_task_running{job="datum", stage="report"} == 0'
    until(lambda: query(found.prometheus, reported), reported)
    ended = 'datum_task_running{job="datum", stage="adapt"} == 0 and datum_task_failed == 0'
    assert (
        len(until(lambda: len(query(found.prometheus, ended)) == 2 and query(found.prometheus, ended), ended))
        == 2
    )
    # What the metrics say is what the files say.
    log = (tmp_path / "demo/seed-2/segmentor/training.jsonl").read_text().splitlines()
    report = json.loads((tmp_path / "demo/report/report.json").read_text())
    assert report["data"] == "Our town"
    expected = {
        'datum_validation_miou{job="datum", seed="2"}': json.loads(log[-1])["miou"],
        'datum_reproduction_miou{job="datum"}': report["median_checkpoint"]["miou"],
        'sum(datum_images_drawn_total{job="datum", seed="1"})': 4,
        'sum(datum_iterations_total{job="datum", stage="adapt"})': 8,
    }
    for expression, value in expected.items():
        (one,) = until(lambda expression=expression: query(found.prometheus, expression), expression)
        assert float(one["value"][1]) == value, expression


def test_alertmanager_is_told_of_a_task_that_failed(watch: tuple[Watch, str]) -> None:
    found, gateway = watch
    environment = {**os.environ, PUSHGATEWAY: gateway, RUN_NAME: "fails", "DATUM_TASK": "seed 2 · adapt"}
    failed = subprocess.run([sys.executable, "-c", FAILING], env=environment, check=False)
    assert failed.returncode == 2
    expected = ("DatumRunFailed", "seed 2 · adapt of run fails failed")

    def told() -> bool:
        alerts = json.loads(read(f"{found.alertmanager}/api/v2/alerts"))
        return expected in [(one["labels"]["alertname"], one["annotations"]["summary"]) for one in alerts]

    until(told, "such alert in the Alertmanager", 120)
