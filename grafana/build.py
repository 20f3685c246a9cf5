"""Builds the Grafana dashboard: `python grafana/build.py` writes `dashboards/gateway.json`.

The JSON is committed, a test builds it again and compares. What a panel shows is in the list of its row below; how a
panel looks is in the functions at the end. Every expression has data from a gateway that has served one request and
has never seen a failure.
"""

import json
from pathlib import Path
from typing import Any

from gateway.types import OUTCOMES, counts

Json = dict[str, Any]

FILE = Path(__file__).parent / "dashboards" / "gateway.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24

EXCHANGE = 'model=~"$model",policy=~"$policy"'
ENDPOINT = 'endpoint=~"$endpoint"'
COUNTED = f'outcome!~"{"|".join(outcome for outcome in OUTCOMES if not counts(outcome))}"'  # in a success rate

TTFT = "gen_ai_server_time_to_first_token_seconds"
TPOT = "gen_ai_server_time_per_output_token_seconds"
DURATION = "gen_ai_server_request_duration_seconds"


def rate(metric: str, labels: str) -> str:
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def total(metric: str, labels: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} ({rate(metric, labels)})"


def quantile(q: float, metric: str, labels: str = "", by: str = "") -> str:
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {total(f'{metric}_bucket', labels, grouped)})"


def quantiles(metric: str, labels: str = "") -> list[tuple[str, str]]:
    return [(quantile(q, metric, labels), f"p{round(q * 100)}") for q in (0.5, 0.9, 0.95, 0.99)]


def success(by: str = "") -> str:
    """Successful attempts as a share of those that count for the endpoint."""
    good = total("gateway_attempts_total", f'{ENDPOINT},outcome="ok"', by)
    judged = total("gateway_attempts_total", f"{ENDPOINT},{COUNTED}", by)
    return f"{good} / {judged}"


def served() -> str:
    """Share of exchanges that were answered, of those that the client neither spoilt nor left."""
    good = total("gateway_requests_total", f'{EXCHANGE},outcome=~"ok|cached"')
    judged = total("gateway_requests_total", f"{EXCHANGE},{COUNTED}")
    return f"({good} or vector(0)) / {judged}"


def dollars_per_hour(by: str = "") -> str:
    return f"3600 * {total('gateway_cost_usd_total', ENDPOINT, by)}"


def effective_price() -> str:
    tokens = total("gateway_tokens_total", f'{ENDPOINT},kind=~"prompt|completion"', "endpoint")
    return f"1e6 * {total('gateway_cost_usd_total', ENDPOINT, 'endpoint')} / {tokens}"


def cached_share(by: str = "") -> str:
    cached = total("gateway_tokens_total", f'{ENDPOINT},kind="cached"', by)
    prompt = total("gateway_tokens_total", f'{ENDPOINT},kind="prompt"', by)
    return f"{cached} / {prompt}"


def overview() -> list[Json]:
    requests = total("gateway_requests_total", EXCHANGE)
    tokens = total("gateway_tokens_total", f'{ENDPOINT},kind="completion"')
    return [
        stat("Requests", f"{requests} or vector(0)", "reqps"),
        stat(
            "Success rate", served(), "percentunit", "Successful requests; invalid and cancelled ones are not counted."
        ),
        stat("TTFT p50", quantile(0.5, TTFT, EXCHANGE), "s"),
        stat("TTFT p95", quantile(0.95, TTFT, EXCHANGE), "s"),
        stat("Output tokens per second", f"{tokens} or vector(0)", "short"),
        stat("Cost per hour", f"{dollars_per_hour()} or vector(0)", "currencyUSD"),
        stat("Prompt cache hits", cached_share(), "percentunit", "Share of prompt tokens read from hosts' caches."),
        stat("In flight", "sum(gateway_in_flight) or vector(0)", "short"),
    ]


def latency() -> list[Json]:
    durations = [
        (quantile(q, DURATION, EXCHANGE, "stream"), f"p{round(q * 100)}, stream={{{{stream}}}}") for q in (0.5, 0.95)
    ]
    by_endpoint = quantile(0.95, "gateway_attempt_ttft_seconds", ENDPOINT, "endpoint")
    return [
        graph("Time to first token", quantiles(TTFT, EXCHANGE), "s", "At the client, including failovers."),
        graph("Time per output token", quantiles(TPOT, EXCHANGE), "s", "After the first token, streams only."),
        graph("Request duration", durations, "s"),
        graph(
            "TTFT p95 per endpoint",
            [(by_endpoint, "{{endpoint}}")],
            "s",
            "From sending the request to the first token.",
        ),
    ]


def throughput() -> list[Json]:
    metric = "gateway_attempt_throughput_tokens_per_second"
    about = "Output tokens of one answer / seconds from sending the request to the last token."
    median = quantile(0.5, metric, ENDPOINT, "endpoint")
    slow = quantile(0.1, metric, ENDPOINT, "endpoint")
    volume = total("gateway_tokens_total", f'{ENDPOINT},kind="completion"', "endpoint")
    return [
        graph("Tokens per second of one answer, p50", [(median, "{{endpoint}}")], "short", about),
        graph("Tokens per second of one answer, slowest tenth", [(slow, "{{endpoint}}")], "short", about),
        graph("Output tokens per second of all answers", [(volume, "{{endpoint}}")], "short", stack=True),
    ]


def faults() -> list[Json]:
    outcomes = total("gateway_attempts_total", ENDPOINT, "outcome")
    failed = total("gateway_attempts_total", f'{ENDPOINT},outcome!~"ok|cancelled"', "endpoint, outcome")
    return [
        graph("Success rate per endpoint", [(success("endpoint"), "{{endpoint}}")], "percentunit"),
        graph("Attempts by outcome", [(outcomes, "{{outcome}}")], "reqps", stack=True),
        graph("Faults per endpoint", [(f"topk(10, {failed})", "{{endpoint}} {{outcome}}")], "reqps", "Top ten."),
    ]


def cost() -> list[Json]:
    effective = "Dollars paid per 1M tokens, prompt and completion together, after prompt-cache discounts."
    return [
        graph("Cost per hour", [(dollars_per_hour("endpoint"), "{{endpoint}}")], "currencyUSD", stack=True),
        graph("Effective price per 1M tokens", [(effective_price(), "{{endpoint}}")], "currencyUSD", effective),
        graph("Cached share of prompt tokens", [(cached_share("endpoint"), "{{endpoint}}")], "percentunit"),
    ]


def routing() -> list[Json]:
    attempts = total("gateway_attempts_total", ENDPOINT, "endpoint")
    share = f"{attempts} / ignoring (endpoint) group_left () sum ({attempts})"
    state = f"max by (endpoint) (gateway_endpoint_state{{{ENDPOINT}}})"
    reloads = "sum by (result) (increase(gateway_policy_reloads_total[$__rate_interval]))"
    policies = total("gateway_requests_total", EXCHANGE, "policy")
    return [
        graph("Share of attempts", [(share, "{{endpoint}}")], "percentunit", stack=True),
        state_timeline("Endpoint state", state),
        graph("Requests by policy", [(policies, "{{policy}}")], "reqps", stack=True),
        graph("Policy reloads", [(reloads, "{{result}}")], "short", "Counted by every worker."),
    ]


def decisions() -> list[Json]:
    hedges = "sum by (result) (rate(gateway_hedges_total[$__rate_interval]))"
    regret = "3600 * sum by (reason) (rate(gateway_regret_usd_total[$__rate_interval]))"
    tools = total("gateway_tool_calls_total", ENDPOINT, "result")
    repairs = total("gateway_repairs_total", ENDPOINT, "endpoint, kind")
    cost, duration = (quantiles(f"gateway_{of}_actual_to_predicted_ratio", ENDPOINT) for of in ("cost", "duration"))
    return [
        graph("Hedges", [(hedges, "{{result}}")], "reqps", "Hedge attempts, by result.", stack=True),
        graph("Regret per hour", [(regret, "{{reason}}")], "currencyUSD", "Score above the best eligible.", stack=True),
        graph(
            "Answers that called tools", [(tools, "{{result}}")], "reqps", "By the worst of their calls.", stack=True
        ),
        graph("Repaired answers", [(repairs, "{{endpoint}} {{kind}}")], "reqps", "Leaked calls, broken arguments."),
        graph("Cost, actual to predicted", cost, "short", "1: as predicted; 2: twice the predicted cost."),
        graph("Duration, actual to predicted", duration, "short", "1: as predicted; 2: twice the predicted time."),
    ]


def gateway() -> list[Json]:
    overhead = [(quantile(q, "gateway_overhead_seconds"), f"p{round(q * 100)}") for q in (0.5, 0.99)]
    cache = "sum by (result) (rate(gateway_cache_requests_total[$__rate_interval]))"
    store = [("min(gateway_store_up) or vector(0)", "store up")]
    lost = "sum(increase(gateway_ledger_errors_total[$__rate_interval])) or vector(0)"
    shed = "sum by (reason) (rate(gateway_shed_total[$__rate_interval])) or vector(0)"
    parts = "sum by (part) (increase(gateway_part_failures_total[$__rate_interval])) or vector(0)"
    deaths = "sum(increase(gateway_worker_deaths_total[$__rate_interval])) or vector(0)"
    return [
        graph("Overhead", overhead, "s", "Time that the gateway adds to a request, without waiting for endpoints."),
        graph("In flight", [("sum(gateway_in_flight) or vector(0)", "exchanges")], "short"),
        graph("Response cache", [(cache, "{{result}}")], "reqps", stack=True),
        graph("Store and ledger", [*store, (lost, "ledger rows lost")], "short", "Lost rows are in no report."),
        graph(
            "Shed requests",
            [(shed, "{{reason}}")],
            "reqps",
            "Rejected with a 503 by a worker at its limit.",
            stack=True,
        ),
        graph(
            "Failures of the gateway's own parts",
            [(parts, "{{part}}"), (deaths, "workers that died")],
            "short",
            "Disk, state folder, descriptors, background tasks; worker processes that were replaced.",
        ),
    ]


def dashboard() -> Json:
    rows = [
        ("Overview", overview(), 3, 4),
        ("Latency", latency(), 12, 8),
        ("Throughput per endpoint", throughput(), 8, 8),
        ("Success and faults per endpoint", faults(), 8, 8),
        ("Cost and prompt cache", cost(), 8, 8),
        ("Routing", routing(), 12, 8),
        ("Decisions", decisions(), 8, 8),
        ("Gateway", gateway(), 12, 8),
    ]
    return {
        "uid": "llm-routing-gateway",
        "title": "LLM routing gateway",
        "description": "Speed, success and cost of every endpoint, measured on your traffic.",
        "tags": ["llm", "gateway"],
        "schemaVersion": 42,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": variables()},
        "panels": placed(rows),
    }


def variables() -> list[Json]:
    source: Json = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    source["current"] = {"text": "Prometheus", "value": "prometheus"}  # the one that provisioning/ brings
    return [
        source,
        label_variable("model", "Model", "gateway_requests_total"),
        label_variable("policy", "Policy", "gateway_requests_total"),
        label_variable("endpoint", "Endpoint", "gateway_attempts_total"),
    ]


def label_variable(name: str, label: str, metric: str) -> Json:
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def placed(rows: list[tuple[str, list[Json], int, int]]) -> list[Json]:
    """All rows below each other, their panels left to right, numbered in that order."""
    panels: list[Json] = []
    y = 0
    for title, members, width, height in rows:
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": box(0, y, WIDTH, 1)})
        y += 1
        for index, panel in enumerate(members):
            line, column = divmod(index * width, WIDTH)
            panels.append(panel | {"gridPos": box(column, y + line * height, width, height)})
        y += -(-len(members) * width // WIDTH) * height
    return [{"id": number, **panel} for number, panel in enumerate(panels, 1)]


def box(x: int, y: int, width: int, height: int) -> Json:
    return {"x": x, "y": y, "w": width, "h": height}


def panel(kind: str, title: str, targets: list[tuple[str, str]], about: str = "") -> Json:
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": SOURCE,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(targets)
        ],
    }


def stat(title: str, expression: str, unit: str, about: str = "") -> Json:
    defaults = {"unit": unit, "noValue": "no traffic", "color": {"mode": "fixed", "fixedColor": "blue"}}
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "value",
    }
    looks = {"fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}
    return panel("stat", title, [(expression, title)], about) | looks


def graph(title: str, targets: list[tuple[str, str]], unit: str, about: str = "", *, stack: bool = False) -> Json:
    custom: Json = {"lineWidth": 1, "fillOpacity": 30 if stack else 5, "showPoints": "never"}
    custom["stacking"] = {"mode": "normal" if stack else "none", "group": "A"}
    defaults: Json = {"unit": unit, "min": 0, "custom": custom}
    if unit == "percentunit":
        defaults["max"] = 1
    options = {
        "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["mean", "lastNotNull"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    looks = {"fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}
    return panel("timeseries", title, targets, about) | looks


def state_timeline(title: str, expression: str) -> Json:
    names = {"0": ("closed", "green"), "1": ("half-open", "orange"), "2": ("open", "red")}
    words = {value: {"text": text, "color": color, "index": int(value)} for value, (text, color) in names.items()}
    defaults = {"mappings": [{"type": "value", "options": words}], "custom": {"fillOpacity": 70, "lineWidth": 0}}
    options = {"mergeValues": True, "showValue": "never", "rowHeight": 0.8}
    looks = {"fieldConfig": {"defaults": defaults, "overrides": []}, "options": options}
    about = "Closed: in use. Half-open: probing. Open: not in use after failures."
    return panel("state-timeline", title, [(expression, "{{endpoint}}")], about) | looks


def text() -> str:
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
