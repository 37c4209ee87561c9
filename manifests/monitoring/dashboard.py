"""Writes dashboard.json, the Grafana dashboard: `python manifests/monitoring/dashboard.py`.

A panel answers one question of an operator, which is its title. Grafana's sidecar takes the file from the
ConfigMap datum-dashboard; elsewhere it is imported by hand.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("dashboard.json")
DATA_SOURCE = {"type": "prometheus", "uid": "$datasource"}
CHOSEN = 'run=~"$run", seed=~"$seed", stage=~"$stage"'
"""Selects what the dashboard's variables say."""
WIDTH, HEIGHT = 12, 8
"""Of a panel, in Grafana's grid of 24 columns."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """A question, and what answers it: {legend: PromQL}, where `#` stands for what is chosen."""

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    description: str = ""
    most: float | None = None
    """Top of the axis, where it is known."""


PANELS = (
    Panel(
        title="What runs now, and how far is it?",
        unit="percentunit",
        queries={
            "{{task}} ({{unit}})": "datum_work_done{#} / datum_work_planned{#} "
            "and ignoring (unit) (datum_task_running{#} == 1)"
        },
        kind="bargauge",
        description="Units of the work at hand; a task has several one after another.",
        most=1,
    ),
    Panel(
        title="What failed?",
        unit="short",
        queries={"{{task}} of {{run}}": "max by (run, task) (datum_task_failed{#}) == 1"},
        kind="stat",
        description="Of tasks that told a Pushgateway, or still run.",
    ),
    Panel(
        title="When did each task last make progress?",
        unit="s",
        queries={"{{task}}": "time() - datum_progress_timestamp_seconds{#} and datum_task_running{#} == 1"},
        description="DatumStageStalled fires at half an hour.",
    ),
    Panel(
        title="How old is the newest saved state?",
        unit="s",
        queries={
            "{{task}}": "time() - datum_state_saved_timestamp_seconds{#} and datum_task_running{#} == 1"
        },
        description="What a lost pod would cost. DatumStateOverdue fires at an hour.",
    ),
    Panel(
        title="How fast does it go?",
        unit="ops",
        queries={"{{task}}": "rate(datum_images_processed_total{#}[5m])"},
        description="Images a second: trained on, drawn, or tested.",
    ),
    Panel(
        title="What does a step's time go into?",
        unit="percentunit",
        queries={
            "{{task}} {{part}}": "rate(datum_step_seconds_total{#}[5m]) / ignoring (part) group_left () "
            "sum without (part) (rate(datum_step_seconds_total{#}[5m]))"
        },
        description="Where loading prevails, the GPU waits for data.",
        most=1,
    ),
    Panel(
        title="Does it learn?",
        unit="short",
        queries={"{{task}} {{term}}": "datum_loss{#}"},
        description="The loss terms.",
    ),
    Panel(
        title="How good is it on the validation set?",
        unit="percent",
        queries={"{{task}}": "datum_validation_miou{#}"},
        most=100,
    ),
    Panel(
        title="Does the teacher trust its pseudo-labels?",
        unit="percentunit",
        queries={"{{task}}": "datum_confident_pseudo_labels_ratio{#}"},
        most=1,
    ),
    Panel(
        title="How many images are drawn in vain?",
        unit="percentunit",
        queries={
            "{{task}} {{reason}}": "datum_images_rejected_total{#} "
            "/ ignoring (reason) group_left () datum_images_drawn_total{#}"
        },
    ),
    Panel(
        title="Is the GPU busy?",
        unit="percentunit",
        queries={"{{task}} GPU {{gpu}}": "datum_gpu_utilization_ratio{#}"},
        most=1,
    ),
    Panel(
        title="How much memory does it take?",
        unit="bytes",
        queries={
            "{{task}} GPU {{gpu}}": "datum_gpu_memory_used_bytes{#}",
            "{{task}} peak of the training": "datum_peak_memory_bytes{#}",
        },
    ),
    Panel(
        title="What goes to and from the store?",
        unit="Bps",
        queries={"{{task}} {{direction}}": "rate(datum_store_bytes_total{#}[5m])"},
    ),
    Panel(
        title="What has to be tried again?",
        unit="short",
        queries={"{{task}} {{of}}": "increase(datum_retries_total{#}[15m]) > 0"},
        description="Tries in a quarter of an hour. DatumStoreErrors fires above five of the store.",
    ),
    Panel(
        title="Which disk fills?",
        unit="percentunit",
        queries={
            "{{task}} {{place}}": "1 - datum_disk_free_bytes{#} / datum_disk_size_bytes{#} "
            "and ignoring (place) datum_task_running{#} == 1"
        },
        most=1,
    ),
    Panel(
        title="Are reproductions what they were?",
        unit="percent",
        queries={
            "{{run}}": 'max by (run) (datum_reproduction_miou{run=~"$run"})',
            "{{run}}, out of its band": 'max by (run) (datum_reproduction_miou{run=~"$run"} '
            "and datum_reproduction_drifted == 1)",
        },
        description="mIoU of the median checkpoint of each report, kept by the Pushgateway.",
        most=100,
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's JSON model."""
    return {
        "uid": "datum",
        "title": "DATUM",
        "description": "Runs of DATUM: what they do, how well, and what is in their way.",
        "tags": ["datum"],
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_source(), *(_variable(name) for name in ("run", "seed", "stage"))]},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _variable(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": DATA_SOURCE,
        "query": {"query": f"label_values(datum_task_running, {name})", "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "sort": 3 if name == "seed" else 1,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, 2)
    axis = {"min": 0, "max": panel.most} if panel.most is not None else {}
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATA_SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, **axis}, "overrides": []},
        "options": _options(panel.kind),
        "targets": [
            {
                "refId": chr(ord("A") + letter),
                "datasource": DATA_SOURCE,
                "expr": expression.replace("#", CHOSEN),
                "legendFormat": legend,
                "instant": panel.kind != "timeseries",
                "range": panel.kind == "timeseries",
            }
            for letter, (legend, expression) in enumerate(panel.queries.items())
        ],
    }


def _options(kind: str) -> dict[str, Any]:
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}}
    latest = {"calcs": ["lastNotNull"], "values": False}
    return {"reduceOptions": latest} | (
        {"orientation": "horizontal"} if kind == "bargauge" else {"textMode": "name"}
    )


if __name__ == "__main__":
    FILE.write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")
