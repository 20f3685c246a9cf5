"""The dashboard of policies and cost: what was paid, for what, and what the decisions were worth."""

from grafana import queries as q
from grafana.looks import SHARE_STEPS, Column, bars, graph, number, rows
from grafana.page import Row

USD = "currencyUSD"
# Of whole days. Grafana evaluates them at midnight (UTC), where each bar stands: that day begins there.
SPENT = "sum by (%s) (sum_over_time(gateway:cost_usd:increase5m{%s}[1d] offset -1d))"
USED = "sum by (%s) (sum_over_time(gateway:tokens:increase5m{%s}[1d] offset -1d))"


def policies() -> list[Row]:
    return [
        Row("Spent", figures(), 4, 4),
        Row("Cost", cost(), 12, 9),
        Row("List prices", prices(), 12, 9),
        Row("Policies and endpoints", [pairs()], 24, 11),
        Row("Days", days(), 12, 9),
        Row("Policies", service(), 12, 9),
        Row("Decisions", decisions(), 12, 9),
    ]


def figures() -> list[object]:
    month = f"sum(sum_over_time(gateway:cost_usd:increase5m{{{q.ATTEMPT}}}[30d]))"
    hour = f"3600 * {q.total(q.COST, q.ATTEMPT)}"
    tokens = q.grown(q.TOKENS, f"{q.ATTEMPT},{q.PAID}", over="24h")
    return [
        number("Cost per hour", q.or_zero(hour), USD, "At the present rate."),
        number("Cost, 24 h", q.grown(q.COST, q.ATTEMPT, over="24h"), USD, "The last 24 hours."),
        number("Cost, 30 days", q.or_zero(month), USD, "The last 30 days, from recorded 5-minute sums."),
        number("Tokens, 24 h", tokens, "short", "Prompt and completion, the last 24 hours."),
        number("Price per 1M", q.effective_price(per=q.RANGE), USD, "Dollars paid per 1M tokens."),
        number("Cached", q.cached_share(per=q.RANGE), "percentunit", "Prompt tokens read from the hosts' caches."),
    ]


def cost() -> list[object]:
    by_policy, by_endpoint = (f"3600 * ({q.active(q.COST, q.ATTEMPT, label)})" for label in ("policy", "endpoint"))
    paid = "Dollars paid per 1M tokens, prompt and completion together, after prompt-cache discounts."
    return [
        graph("Cost per hour by policy", [(by_policy, "{{policy}}")], USD, "At the rate of the moment.", stack=True),
        graph(
            "Cost per hour by endpoint", [(by_endpoint, "{{endpoint}}")], USD, "At the rate of the moment.", stack=True
        ),
        graph("Price per 1M tokens by policy", [(q.effective_price("policy"), "{{policy}}")], USD, paid),
        graph("Price per 1M tokens by endpoint", [(q.effective_price("endpoint"), "{{endpoint}}")], USD, paid),
    ]


def prices() -> list[object]:
    def each(kind: str) -> list[tuple[str, str]]:
        listed = f'max by (endpoint) (gateway_price_usd_per_million_tokens{{{q.ENDPOINT},kind="{kind}"}})'
        return [(q.or_none(listed, "endpoint"), "{{endpoint}}")]

    about = "In force now, USD per 1M tokens. A change is marked on all panels."
    return [
        graph("List price, prompt", each("input"), USD, about),
        graph("List price, completion", each("output"), USD, about),
    ]


def pairs() -> object:
    where = "policy, endpoint"
    attempts = q.grown(q.ATTEMPTS, q.ATTEMPT, where)
    tokens = q.grown(q.TOKENS, f"{q.ATTEMPT},{q.PAID}", where)
    columns = [
        Column("Attempts", f"{attempts} > 0", "locale", decimals=0),
        Column("Success", q.succeeded(where, q.RANGE), "percentunit", steps=SHARE_STEPS, decimals=2),
        Column("Tokens", f"{tokens} > 0", "short"),
        Column("Cost", f"{q.grown(q.COST, q.ATTEMPT, where)} > 0", USD, decimals=4),
        Column("Per 1M tokens", q.effective_price(where, q.RANGE), USD, decimals=3),
        Column("Cached", q.cached_share(where, q.RANGE), "percentunit", decimals=1),
        Column("TTFT p50", q.quantile(0.5, q.ATTEMPT_TTFT, q.ATTEMPT, where, q.RANGE), "s"),
    ]
    return rows("Policies and endpoints", ["policy", "endpoint"], columns, "Over the chosen time.", "Cost")


def days() -> list[object]:
    def each(series: str, labels: str, by: str) -> list[tuple[str, str]]:
        return [(series % (by, labels), f"{{{{{by}}}}}")]

    about = "Days of UTC, the last one so far, from recorded 5-minute sums."
    return [
        bars("Cost per day by endpoint", each(SPENT, q.ATTEMPT, "endpoint"), USD, about, each="1d"),
        bars("Tokens per day by kind", each(USED, q.ATTEMPT, "kind"), "short", about, each="1d"),
    ]


def service() -> list[object]:
    ttft = q.quantile(0.95, q.TTFT, q.EXCHANGE, "policy")
    tpot = q.quantile(0.5, q.TPOT, q.EXCHANGE, "policy")
    return [
        graph(
            "Success by policy", [(q.answered("policy"), "{{policy}}")], "percentunit", "Of requests, after failover."
        ),
        graph(
            "Time to first token by policy, p95", [(ttft, "{{policy}}")], "s", "At the client.", limits=((10, "red"),)
        ),
        graph(
            "Time per output token by policy, p50", [(tpot, "{{policy}}")], "s", "Of streams, after the first token."
        ),
        graph("Tokens of one request by policy, mean", mean_tokens(), "short", "Prompt and completion."),
    ]


def mean_tokens() -> list[tuple[str, str]]:
    usage = "gen_ai_client_token_usage"
    by = "policy, gen_ai_token_type"
    mean = f"{q.total(f'{usage}_sum', q.EXCHANGE, by)} / ({q.total(f'{usage}_count', q.EXCHANGE, by)} > 0)"
    return [(mean, "{{policy}} {{gen_ai_token_type}}")]


def decisions() -> list[object]:
    regret = f"3600 * ({q.active('gateway_regret_usd_total', q.POLICY, 'reason')})"
    relaxed = q.active("gateway_relaxed_total", q.POLICY, "what")
    hedges = q.active("gateway_hedges_total", q.POLICY, "result")
    ratio = "gateway_%s_actual_to_predicted_ratio"
    shares = (0.1, 0.5, 0.9)
    cost, duration = (
        [(q.quantile(share, ratio % of, q.ATTEMPT), f"p{round(share * 100)}") for share in shares]
        for of in ("cost", "duration")
    )
    return [
        graph("Cost, actual to predicted", cost, "short", "1: as predicted; 2: twice as much.", limits=((1, "green"),)),
        graph("Duration, actual to predicted", duration, "short", "1: as predicted; 2: twice.", limits=((1, "green"),)),
        graph("Regret per hour", [(regret, "{{reason}}")], USD, "Score above the best eligible endpoint.", stack=True),
        bars("Limits given up", [(relaxed, "{{what}}")], "reqps", "Requests for which no endpoint met all criteria."),
        bars("Hedges", [(hedges, "{{result}}")], "reqps", "Second attempts, by result."),
    ]
