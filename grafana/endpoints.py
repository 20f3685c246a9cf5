"""The dashboard of endpoints: success, speed, share, and the quality of their answers."""

from grafana import queries as q
from grafana.looks import bars, graph, states
from grafana.overview import STATES, endpoint_table
from grafana.page import Row

EACH = "{{endpoint}}"


def endpoints() -> list[Row]:
    return [
        Row("Endpoints", [endpoint_table()], 24, 11),
        Row("Success", success(), 12, 9),
        Row("Speed", speed(), 12, 9),
        Row("Quality", quality(), 12, 9),
        Row("Probes", probes(), 12, 9),
    ]


def success() -> list[object]:
    outcomes = q.active(q.ATTEMPTS, q.ATTEMPT, "outcome")
    failed = q.active(q.ATTEMPTS, f'{q.ATTEMPT},{q.COUNTED},outcome!="ok"', "endpoint, outcome")
    state = f"max by (endpoint) (gateway_endpoint_state{{{q.ENDPOINT}}})"
    about = "In use; on trial: a single request tests it; set back: not in use after failures."
    return [
        graph("Success per endpoint", [(q.succeeded("endpoint"), EACH)], "percentunit", "Of attempts that count."),
        states("State", state, about, STATES),
        bars("Faults", [(failed, "{{endpoint}} {{outcome}}")], "reqps", "Attempts per second, by outcome."),
        graph("Attempts by outcome", [(outcomes, "{{outcome}}")], "reqps", "Per second.", stack=True),
    ]


def speed() -> list[object]:
    first = "From sending the request to the first token."
    rate = "Output tokens per second after the first token, of successful answers."

    def each(share: float, metric: str) -> list[tuple[str, str]]:
        return [(q.quantile(share, metric, q.ATTEMPT, "endpoint"), EACH)]

    volume = q.active(q.TOKENS, f'{q.ATTEMPT},kind="completion"', "endpoint")
    attempts = q.active(q.ATTEMPTS, q.ATTEMPT, "endpoint")
    return [
        graph("Time to first token, p50", each(0.5, q.ATTEMPT_TTFT), "s", first),
        graph("Time to first token, p95", each(0.95, q.ATTEMPT_TTFT), "s", first, limits=((10, "red"),)),
        graph("Tokens per second of one answer, p50", each(0.5, q.THROUGHPUT), "short", rate),
        graph("Tokens per second of one answer, slowest tenth", each(0.1, q.THROUGHPUT), "short", rate),
        graph("Attempts", [(attempts, EACH)], "reqps", "Per second.", stack=True),
        graph("Output tokens per second of all answers", [(volume, EACH)], "short", "All together.", stack=True),
    ]


def quality() -> list[object]:
    broken = q.active("gateway_tool_calls_total", f'{q.ATTEMPT},result!="ok"', "endpoint, result")
    repairs = q.active("gateway_repairs_total", q.ATTEMPT, "endpoint, kind")
    explored = q.active("gateway_explorations_total", q.ATTEMPT, "endpoint")
    tools = q.active("gateway_tool_calls_total", q.ATTEMPT, "result")
    return [
        graph(
            "Answers that called tools", [(tools, "{{result}}")], "reqps", "By the worst of their calls.", stack=True
        ),
        bars("Broken tool calls", [(broken, "{{endpoint}} {{result}}")], "reqps", "Before any repair."),
        bars("Repaired answers", [(repairs, "{{endpoint}} {{kind}}")], "reqps", "What the client got was repaired."),
        bars("Explorations", [(explored, EACH)], "reqps", "Requests that tried an endpoint with few recent answers."),
    ]


def probes() -> list[object]:
    runs = q.active("gateway_probe_runs_total", q.ENDPOINT, "endpoint, outcome")
    failed = q.active("gateway_probe_canaries_total", f'{q.ENDPOINT},result="failed"', "endpoint, canary")
    drift = q.or_none(f"(max by (endpoint, canary) (gateway_probe_drift{{{q.ENDPOINT}}}) > 0)", "endpoint")
    spent, budget = (
        q.or_zero(f"max(gateway_probe_{name}{{{q.GATEWAY}}})") for name in ("spent_today_usd", "budget_usd_per_day")
    )
    dollars = [(spent, "spent today"), (budget, "budget")]
    return [
        graph("Speed runs", [(runs, "{{endpoint}} {{outcome}}")], "ops", "Per second, by outcome."),
        bars("Failed canaries", [(failed, "{{endpoint}} {{canary}}")], "ops", "Wrong answers to fixed questions."),
        graph("Drift", [(drift, "{{endpoint}} {{canary}}")], "short", "1: a sequential test says that it is worse."),
        graph("Cost of probes", dollars, "currencyUSD", "The budget of a day (UTC) is never exceeded."),
    ]
