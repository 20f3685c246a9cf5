import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.metrics import Metrics
from grafana import build
from grafana.looks import WIDTH
from grafana.page import GATEWAY_URL, LABELS, TAG
from tests.grafana.boards import annotations, expressions, metric_names, panels
from tests.grafana.test_rules import promtool, rules
from tests.support.exposition import quiet_metrics, serve_everything, serve_good_answer, served
from tests.support.prometheus import running_prometheus

ROOT = Path(__file__).parents[2]
DASHBOARDS = build.dashboards()
NAMES = sorted(DASHBOARDS)


@pytest.fixture(params=NAMES)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = DASHBOARDS[request.param]
    return found


def exposed(metrics: Metrics) -> dict[str, set[str]]:
    """Every sample name that a busy gateway exposes, with its labels."""
    serve_everything(metrics)
    labels: dict[str, set[str]] = {}
    metrics.flush()
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(set(sample.labels) - {"le"})
    return labels


def test_the_committed_files_are_what_the_code_makes() -> None:
    made = {str(path): text for path, text in build.files().items()}
    folder = ROOT / "grafana"
    committed = {
        str(path.relative_to(folder)): path.read_text()
        for part in ("dashboards", "import")
        for path in (folder / part).iterdir()
    }
    assert committed == made, "run: make dashboards"


def test_panels_do_not_overlap_fill_their_lines_and_have_ids_of_their_own(dashboard: dict[str, Any]) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        box = panel["gridPos"]
        mine = {(box["x"] + dx, box["y"] + dy) for dx in range(box["w"]) for dy in range(box["h"])}
        assert not mine & cells, panel["title"]
        cells |= mine
    height = max(y for _, y in cells) + 1
    assert cells == {(x, y) for x in range(WIDTH) for y in range(height)}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_panel_has_a_title_a_unit_and_an_explanation(dashboard: dict[str, Any]) -> None:
    for panel in panels(dashboard):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        if panel["type"] in {"timeseries", "stat"}:
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_every_variable_filters_every_panel_or_the_panel_says_why_not(dashboard: dict[str, Any]) -> None:
    """`$endpoint` has the endpoints of `$model`, so it filters by the model, too."""
    names = {one["name"] for one in dashboard["templating"]["list"]} & set(LABELS)
    for panel in panels(dashboard):
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"]))
            used |= {"model"} if "endpoint" in used else set()
            used |= names if "gateway:limit" in target["expr"] else set()  # the same for all
            for name in names - used:
                assert name in panel["description"], (panel["title"], name, target["expr"])


def test_a_panel_asks_for_no_variable_that_its_dashboard_lacks(dashboard: dict[str, Any]) -> None:
    names = {one["name"] for one in dashboard["templating"]["list"]}
    for panel in panels(dashboard):
        for target in panel["targets"]:
            used = {name for name in re.findall(r"\$(\w+)", target["expr"]) if not name.startswith("__")}
            assert used <= names, panel["title"]


def test_dashboards_annotations_and_variables_use_only_metrics_that_exist(tmp_path: Path) -> None:
    known = exposed(quiet_metrics(tmp_path))
    used = {name for _, expression in (*expressions(), *annotations()) for name in metric_names(expression)}
    assert used
    assert used <= set(known)
    for name, (_, source) in LABELS.items():
        metric = source.partition("{")[0]
        assert metric in known
        assert name in known[metric] | {"job", "instance"}


def test_every_recorded_series_that_a_panel_reads_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    read = {name for _, expression in expressions() for name in re.findall(r"gateway(?::\w+)+", expression)}
    assert read
    assert read <= recorded


def test_rules_use_only_metrics_that_exist(tmp_path: Path) -> None:
    used = {name for rule in rules() for name in metric_names(str(rule["expr"]))}
    assert used <= set(exposed(quiet_metrics(tmp_path)))


def test_every_metric_and_label_is_documented(tmp_path: Path) -> None:
    sections = re.split(r"^### ", (ROOT / "docs/metrics.md").read_text(), flags=re.MULTILINE)[1:]
    documented = {name: section for section in sections for name in re.findall(r"`(\w+)`", section.splitlines()[0])}
    labels: dict[str, set[str]] = {}
    for sample, names in exposed(quiet_metrics(tmp_path)).items():
        labels.setdefault(re.sub(r"_(bucket|sum|count)$", "", sample), set()).update(names)
    assert set(documented) == set(labels)
    for metric, names in labels.items():
        assert {name for name in names if f"`{name}`" not in documented[metric]} == set(), metric


@pytest.mark.parametrize("traffic", [serve_good_answer, serve_everything])
def test_every_panel_shows_a_number(tmp_path: Path, traffic: Callable[[Metrics], None]) -> None:
    """A real Prometheus scrapes the exposition and evaluates the rules; also before anything has ever failed."""
    with (
        served(quiet_metrics(tmp_path / "metrics"), traffic) as address,
        running_prometheus(tmp_path, [address]) as prometheus,
    ):
        prometheus.wait_for_rules(3)
        assert not prometheus.finite("gateway_no_such_metric_total")
        assert prometheus.without_data(expressions()) == []
        for _, expression in annotations():
            prometheus.finite(expression)  # it is valid; without an event it has no data


def test_exposition_is_clean(tmp_path: Path) -> None:
    metrics = quiet_metrics(tmp_path)
    serve_everything(metrics)
    metrics.flush()
    promtool("check", "metrics", text=metrics.exposition().decode())


def test_dashboards_lead_to_each_other_and_to_the_model_page(dashboard: dict[str, Any]) -> None:
    others, page = dashboard["links"]
    assert others["tags"] == [TAG]
    assert TAG in dashboard["tags"]
    assert others["includeVars"]
    assert others["keepTime"]
    assert page["url"] == "${gateway}/"
    uids = {one["uid"] for one in DASHBOARDS.values()}
    assert set(re.findall(r"/d/([\w-]+)", json.dumps(dashboard))) <= uids


def test_a_dashboard_for_import_asks_for_its_data_source_and_the_gateways_address(dashboard: dict[str, Any]) -> None:
    imported = build.importable(dashboard)
    inputs = {one["name"] for one in imported["__inputs"]}
    assert inputs == {"DS_PROMETHEUS", "VAR_GATEWAY"}
    text = json.dumps(imported["templating"])
    assert {f"${{{name}}}" for name in inputs} <= set(re.findall(r"\$\{[A-Z_]+\}", text))
    required = {one["id"] for one in imported["__requires"]}
    assert required >= {panel["type"] for panel in panels(dashboard)} | {"grafana", "prometheus"}
    assert "__inputs" not in dashboard


def test_provisioning_fits_the_dashboards() -> None:
    provisioning = ROOT / "grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards/gateway.yaml").read_text())["providers"]
    assert source["isDefault"]  # a data source variable without a value takes the default one
    scrape = yaml.safe_load((ROOT / "grafana/prometheus/prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scrape
    grafana = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    mounts = {volume.split(":")[1]: volume.split(":")[0] for volume in grafana["volumes"]}
    assert provider["options"]["path"] in mounts
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (ROOT / mounts[str(home.parent)] / home.name).exists()
    assert GATEWAY_URL.removeprefix("http://") in str(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))
