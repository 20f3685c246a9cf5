"""The dashboard that is looked at first: is the service good, and which endpoint is not?"""

from grafana import queries as q
from grafana.looks import (
    ANY_IS_BAD,
    SHARE_STEPS,
    TTFT_STEPS,
    Column,
    bars,
    graph,
    heat,
    number,
    rows,
)
from grafana.page import Row

STATES = {"0": ("in use", "green"), "1": ("on trial", "orange"), "2": ("set back", "red")}
SERVICE = "A burn rate is that of the whole service: job and policy filter it, instance and model do not."


def overview() -> list[Row]:
    return [
        Row("Now", figures(), 3, 4),
        Row("Requests", requests(), 12, 9),
        Row("Endpoints", [endpoint_table()], 24, 11),
        Row("Objectives", objectives(), 12, 9),
    ]


def figures() -> list[object]:
    alerts = 'count(ALERTS{alertname=~"Gateway.+",alertstate="firing"})'
    success = "Requests that were answered. Invalid and cancelled ones are not counted."
    return [
        number("Requests", q.or_zero(q.total(q.REQUESTS, q.EXCHANGE)), "reqps", "Requests per second."),
        number("Success", q.answered(per=q.RANGE), "percentunit", success, SHARE_STEPS),
        number("TTFT p50", q.quantile(0.5, q.TTFT, q.EXCHANGE, per=q.RANGE), "s", "At the client.", TTFT_STEPS),
        number("TTFT p95", q.quantile(0.95, q.TTFT, q.EXCHANGE, per=q.RANGE), "s", "At the client.", TTFT_STEPS),
        number("Cost, 24 h", q.grown(q.COST, q.ATTEMPT, over="24h"), "currencyUSD", "The last 24 hours."),
        number("Price per 1M", q.effective_price(per=q.RANGE), "currencyUSD", "Dollars paid per 1M tokens."),
        number("In flight", q.or_zero(f"sum(gateway_in_flight{{{q.GATEWAY}}})"), "short", "Requests being served."),
        number("Alerts", q.or_zero(alerts), "short", "Those that are firing, of every job and instance.", ANY_IS_BAD),
    ]


def requests() -> list[object]:
    by_policy = q.active(q.REQUESTS, q.EXCHANGE, "policy")
    failed = q.active(q.REQUESTS, f'{q.EXCHANGE},{q.COUNTED},outcome!~"ok|cached"', "outcome")
    ttft = [(q.quantile(share, q.TTFT, q.EXCHANGE), f"p{round(share * 100)}") for share in (0.5, 0.9, 0.95, 0.99)]
    both = [
        (q.answered(), "requests, after failover"),
        (q.succeeded(), "attempts, without it"),
        (q.limit("success_objective"), "objective"),
    ]
    buckets = f"sum by (le) (increase({q.TTFT}_bucket{{{q.EXCHANGE}}}[{q.STEP}]))"
    return [
        graph("Requests by policy", [(by_policy, "{{policy}}")], "reqps", "Per second.", stack=True),
        graph("Success", both, "percentunit", "What failover saves is the distance of the two."),
        graph("Time to first token", ttft, "s", "At the client, including failovers.", limits=((10, "red"),)),
        heat("Time to first token, all requests", buckets, "Requests by their time to the first token."),
        bars("Failed requests", [(failed, "{{outcome}}")], "reqps", "Per second, by outcome."),
        graph("Request duration", durations(), "s", "From the client's request to the end of its answer."),
    ]


def durations() -> list[tuple[str, str]]:
    shares = (0.5, 0.95)
    return [
        (q.quantile(share, q.DURATION, q.EXCHANGE, "stream"), f"p{round(share * 100)}, stream={{{{stream}}}}")
        for share in shares
    ]


def endpoint_table() -> object:
    where = "endpoint"
    share = f"{q.grown(q.ATTEMPTS, q.ATTEMPT, where)} / scalar({q.grown(q.ATTEMPTS, q.ATTEMPT)})"
    columns = [
        Column("State", f"max by (endpoint) (gateway_endpoint_state{{{q.ENDPOINT}}})", words=STATES),
        Column("Share", share, "percentunit", decimals=1),
        Column("Attempts", q.grown(q.ATTEMPTS, q.ATTEMPT, where), "locale", decimals=0),
        Column("Success", q.succeeded(where, q.RANGE), "percentunit", steps=SHARE_STEPS, decimals=2),
        Column("TTFT p50", q.quantile(0.5, q.ATTEMPT_TTFT, q.ATTEMPT, where, q.RANGE), "s", steps=TTFT_STEPS),
        Column("TTFT p95", q.quantile(0.95, q.ATTEMPT_TTFT, q.ATTEMPT, where, q.RANGE), "s", steps=TTFT_STEPS),
        Column("Tokens/s p50", q.quantile(0.5, q.THROUGHPUT, q.ATTEMPT, where, q.RANGE), "short", decimals=0),
        Column("Cost", q.grown(q.COST, q.ATTEMPT, where), "currencyUSD", decimals=4),
        Column("Per 1M tokens", q.effective_price(where, q.RANGE), "currencyUSD", decimals=3),
        Column("Cached", q.cached_share(where, q.RANGE), "percentunit", decimals=1),
    ]
    kept = "${__url_time_range}&${job:queryparam}&${policy:queryparam}"
    link = f"/d/llm-gateway-endpoints?{kept}&var-endpoint=${{__value.text}}"
    about = "Over the chosen time. Endpoints without attempts have a state only."
    return rows("Endpoints", [where], columns, about, "Attempts", link)


def objectives() -> list[object]:
    def burn(of: str) -> list[tuple[str, str]]:
        series = f'max by (policy) (gateway:{of}:burn_rate%s{{job=~"$job",policy=~"$policy"}})'
        rates = [(series % window, f"{{{{policy}}}}, {window}") for window in ("1h", "6h")]
        return [
            *rates,
            (q.limit("budget_burn_medium"), "limit over 6h"),
            (q.limit("budget_burn_fast"), "limit over 1h"),
        ]

    about = f"1 spends exactly the error budget of 30 days. {SERVICE}"
    return [
        graph("Error budget burn: success", burn("success"), "short", about),
        graph("Error budget burn: first token", burn("ttft"), "short", about),
    ]
