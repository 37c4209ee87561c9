"""The dashboard is one that Grafana knows: its own SDK reads it, and leaves nothing out."""

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.manifests.test_monitoring import dashboard_module


def test_the_dashboard_is_one_by_grafanas_own_sdk() -> None:
    register_default_plugins()
    written = dashboard_module().dashboard()
    assert unknown(written, json.loads(JSONEncoder().encode(Dashboard.from_json(written)))) == []


def unknown(given: Any, read: Any, where: str = "") -> list[str]:
    """Places in `given` that a reader who knows all that there are has left out or changed."""
    if isinstance(given, dict) and isinstance(read, dict):
        return [
            path
            for key, value in given.items()
            for path in (unknown(value, read[key], f"{where}.{key}") if key in read else [f"{where}.{key}"])
        ]
    if isinstance(given, list) and isinstance(read, list):
        return [
            path
            for number, pair in enumerate(zip(given, read))
            for path in unknown(*pair, f"{where}[{number}]")
        ]
    return [] if given == read else [where]
