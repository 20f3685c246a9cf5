import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import Metrics
from grafana import build
from tests.support.exposition import quiet_metrics, serve_everything, serve_good_answer, served
from tests.support.programs import needs
from tests.support.prometheus import running_prometheus

ROOT = Path(__file__).parents[2]
RULES = ROOT / "grafana/prometheus/rules.yml"
METRIC = re.compile(r"(?<![\w:])(?:gateway|gen_ai)_\w+(?![\w:]*:)")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in build.dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """(panel title, PromQL) of everything on the dashboard."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def metric_names(expression: str) -> set[str]:
    """The metrics that an expression reads; label names and text in quotes do not count."""
    without_labels = re.sub(r'"[^"]*"|\bby\s*\([^)]*\)', "", expression)
    return {name for name in METRIC.findall(without_labels) if name != "gen_ai_token_type"}


def exposed(metrics: Metrics) -> dict[str, set[str]]:
    """Every sample name that a busy gateway exposes, with its labels."""
    serve_everything(metrics)
    labels: dict[str, set[str]] = {}
    metrics.flush()
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(set(sample.labels) - {"le"})
    return labels


def test_the_committed_dashboard_is_what_build_makes() -> None:
    assert build.FILE.read_text() == build.text(), "run: python grafana/build.py"


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in build.dashboard()["panels"]:
        box = panel["gridPos"]
        mine = {(box["x"] + dx, box["y"] + dy) for dx in range(box["w"]) for dy in range(box["h"])}
        assert not mine & cells, panel["title"]
        assert max(x for x, _ in mine) < build.WIDTH
        cells |= mine
    ids = [panel["id"] for panel in build.dashboard()["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_panel_has_a_unit_and_rows_are_complete() -> None:
    rows = [panel["title"] for panel in build.dashboard()["panels"] if panel["type"] == "row"]
    assert rows == [
        "Overview",
        "Latency",
        "Throughput per endpoint",
        "Success and faults per endpoint",
        "Cost and prompt cache",
        "Routing",
        "Decisions",
        "Gateway",
    ]
    known = {"s", "percentunit", "currencyUSD", "short", "reqps"}
    for panel in panels():
        assert panel["type"] == "state-timeline" or panel["fieldConfig"]["defaults"]["unit"] in known


def test_dashboard_and_rules_use_only_metrics_that_exist(tmp_path: Path) -> None:
    known = set(exposed(quiet_metrics(tmp_path)))
    used = {name for _, expression in expressions() for name in metric_names(expression)}
    used |= {name for rule in rules() for name in metric_names(rule["expr"])}
    assert used
    assert used <= known
    for variable in build.variables()[1:]:
        metric, label = re.findall(r"\w+", variable["query"]["query"])[1:]
        assert label in exposed(quiet_metrics(tmp_path))[metric]


def test_every_recorded_series_that_an_alert_reads_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    read = {name for rule in rules() for name in re.findall(r"\w+:\w+:\w+", rule["expr"])}
    assert read
    assert read <= recorded


def test_every_metric_and_label_is_documented(tmp_path: Path) -> None:
    sections = re.split(r"^### ", (ROOT / "docs/metrics.md").read_text(), flags=re.MULTILINE)[1:]
    documented = {section.split("`")[1]: section for section in sections}
    labels: dict[str, set[str]] = {}
    for sample, names in exposed(quiet_metrics(tmp_path)).items():
        labels.setdefault(re.sub(r"_(bucket|sum|count)$", "", sample), set()).update(names)
    assert set(documented) == set(labels)
    for metric, names in labels.items():
        assert {name for name in names if f"`{name}`" not in documented[metric]} == set(), metric


@pytest.mark.parametrize("traffic", [serve_good_answer, serve_everything])
def test_every_panel_shows_a_number(tmp_path: Path, traffic: Callable[[Metrics], None]) -> None:
    """A real Prometheus scrapes the exposition; also before anything has ever failed."""
    with (
        served(quiet_metrics(tmp_path / "metrics"), traffic) as address,
        running_prometheus(tmp_path, [address]) as prometheus,
    ):
        prometheus.wait_for_scrapes(3)
        assert not prometheus.finite("gateway_no_such_metric_total")
        assert [title for title, expression in expressions() if not prometheus.finite(expression)] == []


def promtool(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        [needs("promtool"), *arguments], input=text, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_config_and_rules() -> None:
    promtool("check", "config", "--lint=all", "grafana/prometheus/prometheus.yml")
    promtool("check", "rules", "--lint=all", "grafana/prometheus/rules.yml")


def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", "tests/grafana/rules_test.yml")


def test_exposition_is_clean(tmp_path: Path) -> None:
    metrics = quiet_metrics(tmp_path)
    serve_everything(metrics)
    metrics.flush()
    promtool("check", "metrics", text=metrics.exposition().decode())


def test_provisioning_fits_the_dashboard() -> None:
    provisioning = ROOT / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/gateway.yaml").read_text())["providers"]
    current = json.loads(build.text())["templating"]["list"][0]["current"]
    assert current["value"] == source["uid"]
    scrape = yaml.safe_load((ROOT / "grafana/prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scrape
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounts = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts
