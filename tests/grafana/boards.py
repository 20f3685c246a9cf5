"""The dashboards in parts, for tests."""

import re
from collections.abc import Iterator
from typing import Any

from grafana import build

METRIC = re.compile(r"(?<![\w:])(?:gateway|gen_ai|process)_\w+(?![\w:]*:)")


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """(dashboard and panel, PromQL) of every target."""
    for name, dashboard in build.dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"]


def annotations() -> Iterator[tuple[str, str]]:
    """(title, PromQL); they are the same on every dashboard."""
    for annotation in build.dashboards()["overview"]["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def metric_names(expression: str) -> set[str]:
    """The metrics that an expression reads; label names and text in quotes do not count."""
    without_labels = re.sub(r'"[^"]*"|\b(?:by|on|group_left)\s*\([^)]*\)', "", expression)
    return {name for name in METRIC.findall(without_labels) if name != "gen_ai_token_type"}
