import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from grafana import queries
from tests.grafana.cases import CASES, Case
from tests.support.programs import needs

ROOT = Path(__file__).parents[2]
RULES = ROOT / "grafana/prometheus/rules.yml"
RUNBOOKS = ROOT / "docs/runbooks.md"
EVALUATED = {"1m": "1m", "2m": "5m", "10m": "10m", "1h": "1h"}  # time between samples: between evaluations
RECORDED = re.compile(r"gateway(?::\w+)+")


def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def promtool(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        [needs("promtool"), *arguments], input=text, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_accepts_config_and_rules() -> None:
    promtool("check", "config", "--lint=all", "grafana/prometheus/prometheus.yml")
    promtool("check", "rules", "--lint=all", "grafana/prometheus/rules.yml")


def test_every_alert_has_a_case_where_it_fires_and_one_where_it_does_not() -> None:
    names = {alert["alert"] for alert in alerts()}
    assert {case.alert for case in CASES if case.summary} == names
    assert {case.alert for case in CASES if not case.summary} == names


def promtool_test(case: Case) -> dict[str, Any]:
    (severity,) = (alert["labels"]["severity"] for alert in alerts() if alert["alert"] == case.alert)
    expected = {"exp_labels": {"severity": severity, **case.labels}, "exp_annotations": {"summary": case.summary}}
    check = {"alertname": case.alert, "eval_time": case.at, "exp_alerts": [expected] if case.summary else []}
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {
        "name": f"{case.alert}: {case.why}",
        "interval": case.step,
        "input_series": series,
        "alert_rule_test": [check],
    }


def test_alerts_fire_when_they_must_and_only_then(tmp_path: Path) -> None:
    """One file for each alert, with the rules that it reads: then few are evaluated over days."""
    files: list[str] = []
    for name in sorted({case.alert for case in CASES}):
        read = read_by(name)
        (tmp_path / f"{name}.rules.yml").write_text(yaml.safe_dump({"groups": read}))
        for step in sorted({case.step for case in CASES if case.alert == name}):
            tests = [promtool_test(case) for case in CASES if (case.alert, case.step) == (name, step)]
            document = {
                "rule_files": [f"{name}.rules.yml"],
                "evaluation_interval": EVALUATED[step],
                "group_eval_order": [group["name"] for group in read],  # else it is random
                "tests": tests,
            }
            files.append(str(tmp_path / f"{name}.{step}.yml"))
            Path(files[-1]).write_text(yaml.safe_dump(document))
    promtool("test", "rules", *files)


def read_by(name: str) -> list[dict[str, Any]]:
    """The groups with only an alert and the recorded series that it reads; of annotations, only the summary."""
    wanted = {name}
    for rule in reversed(rules()):  # a rule reads what is recorded before it
        if _name(rule) in wanted:
            wanted |= set(RECORDED.findall(str(rule["expr"])))
    kept = [
        {**group, "rules": [_only_summary(rule) for rule in group["rules"] if _name(rule) in wanted]}
        for group in groups()
    ]
    return [group for group in kept if group["rules"]]


def _name(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


def _only_summary(rule: dict[str, Any]) -> dict[str, Any]:
    """The summary has all labels of the others; a case states one text."""
    return rule | {"annotations": {"summary": rule["annotations"]["summary"]}} if "alert" in rule else rule


def test_annotations_use_labels_that_the_alert_has() -> None:
    labels = {case.alert: {*case.labels, "severity"} for case in CASES if case.labels}
    for alert in alerts():
        used = set(re.findall(r"\$labels\.(\w+)", " ".join(alert["annotations"].values())))
        assert used <= labels[alert["alert"]], alert["alert"]


def test_every_alert_has_a_severity_and_a_section_in_the_runbooks() -> None:
    sections = set(re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE))
    assert sections == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks.md#{alert['alert'].lower()}"


def test_limits_stand_in_one_place_and_every_one_is_used() -> None:
    limits = [rule["labels"]["limit"] for rule in rules() if rule.get("record") == "gateway:limit"]
    assert len(set(limits)) == len(limits)
    used = {name for rule in rules() for name in re.findall(r'gateway:limit\{limit="(\w+)"\}', str(rule["expr"]))}
    assert used == set(limits)
    assert groups()[0]["name"] == "gateway-limits"


def test_every_recorded_series_that_is_read_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    read = {name for rule in rules() for name in RECORDED.findall(str(rule["expr"]))}
    assert read <= recorded


def test_rules_leave_out_the_outcomes_that_the_dashboards_leave_out() -> None:
    left_out = {found for rule in rules() for found in re.findall(r'outcome!~"[^"]+"', str(rule["expr"]))}
    assert left_out == {queries.COUNTED}
