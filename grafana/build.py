"""Writes the dashboards: `python -m grafana.build`, or `make dashboards`.

    overview.py, endpoints.py ... ──> page.whole ──> dashboards/NAME.json   for provisioning
                                               └───> import/NAME.json       for Grafana's import, and grafana.com

The files are committed; a test builds them again and compares.
"""

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.caches import caches
from grafana.endpoints import endpoints
from grafana.internals import internals
from grafana.overview import overview
from grafana.page import GATEWAY_URL, Page, whole
from grafana.policies import policies

HERE = Path(__file__).parent
Json = dict[str, Any]

ALL = ("job", "instance", "model", "policy", "endpoint")
PAGES = (
    Page("overview", "LLM gateway / Overview", "Is the service good, and which endpoint is not?", overview, ALL),
    Page("endpoints", "LLM gateway / Endpoints", "Success, speed and quality of each endpoint.", endpoints, ALL),
    Page("policies", "LLM gateway / Policies and cost", "What was paid, for what, under which policy.", policies, ALL),
    Page("caches", "LLM gateway / Caches", "Prompt caches of the hosts, response cache, store.", caches, ALL),
    Page("internals", "LLM gateway / Internals", "Overhead, limits, parts and processes.", internals, ALL[:2]),
)
GRAFANA = "12.0.0"  # the oldest that shows these dashboards


def dashboards() -> dict[str, Json]:
    """The provisioned dashboards by name."""
    return {page.name: json.loads(JSONEncoder().encode(whole(page))) for page in PAGES}


def importable(dashboard: Json) -> Json:
    """The same for an import: Grafana asks for the data source and the gateway's address."""
    inputs = [
        {"name": "DS_PROMETHEUS", "label": "Prometheus", "type": "datasource", "pluginId": "prometheus"},
        {"name": "VAR_GATEWAY", "label": "Address of the gateway", "type": "constant", "value": GATEWAY_URL},
    ]
    kinds = sorted({panel["type"] for panel in dashboard["panels"]} - {"row"})
    requires = [
        {"type": "grafana", "id": "grafana", "name": "Grafana", "version": GRAFANA},
        {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
        *({"type": "panel", "id": kind, "name": kind, "version": ""} for kind in kinds),
    ]
    chosen = {"current": {"text": "${DS_PROMETHEUS}", "value": "${DS_PROMETHEUS}"}}
    changed = {"datasource": chosen, "gateway": {"query": "${VAR_GATEWAY}"}}
    variables = [variable | changed.get(variable["name"], {}) for variable in dashboard["templating"]["list"]]
    return {"__inputs": inputs, "__requires": requires} | dashboard | {"templating": {"list": variables}}


def files() -> dict[Path, str]:
    """What stands in the repository: path below this folder, and text."""
    found: dict[Path, str] = {}
    for name, dashboard in dashboards().items():
        found[Path("dashboards", f"{name}.json")] = text(dashboard)
        found[Path("import", f"{name}.json")] = text(importable(dashboard))
    return found


def text(dashboard: Json) -> str:
    return json.dumps(dashboard, indent=1) + "\n"


if __name__ == "__main__":
    for path, content in files().items():
        (HERE / path).parent.mkdir(exist_ok=True)
        (HERE / path).write_text(content)
