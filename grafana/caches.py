"""The dashboard of the two caches: the hosts' prompt caches, and the gateway's response cache with its store."""

from grafana import queries as q
from grafana.looks import graph, number
from grafana.page import Row

SHARE = "percentunit"


def caches() -> list[Row]:
    return [
        Row("Now", figures(), 6, 4),
        Row("Prompt caches of the hosts", prompts(), 12, 9),
        Row("Response cache", answers(), 12, 9),
        Row("Store", store(), 12, 9),
    ]


def figures() -> list[object]:
    saved = q.grown(q.TOKENS, f'{q.ATTEMPT},kind="cached"')
    hits = q.grown(q.CACHE, f'{q.EXCHANGE},result="hit"')
    return [
        number("Prompt tokens from caches", q.cached_share(per=q.RANGE), SHARE, "Of all prompt tokens."),
        number("Cached prompt tokens", saved, "short", "Over the chosen time."),
        number("Response cache hits", q.or_zero(q.hit_share(per=q.RANGE)), SHARE, "Of the requests that looked there."),
        number("Cached answers", f"round({hits})", "locale", "Requests that needed no host, over the chosen time."),
    ]


def prompts() -> list[object]:
    cached, all_of_it = (q.total(q.TOKENS, f'{q.ATTEMPT},kind="{kind}"') for kind in ("cached", "prompt"))
    kinds = [(cached, "from a cache"), (f"{all_of_it} - {cached}", "computed")]
    about = "Cached tokens cost a fraction of the others; affinity keeps a conversation at its host."
    return [
        graph("Cached share by endpoint", [(q.cached_share("endpoint"), "{{endpoint}}")], SHARE, about),
        graph("Cached share by policy", [(q.cached_share("policy"), "{{policy}}")], SHARE, about),
        graph("Prompt tokens per second", kinds, "short", "Of all attempts.", stack=True),
        graph(
            "Price per 1M tokens by endpoint", [(q.effective_price("endpoint"), "{{endpoint}}")], "currencyUSD", "Paid."
        ),
    ]


def answers() -> list[object]:
    results = q.active(q.CACHE, q.EXCHANGE, "result")
    by_policy = q.or_none(q.hit_share("policy"), "policy")
    return [
        graph("Lookups", [(results, "{{result}}")], "reqps", "Requests that used the response cache.", stack=True),
        graph("Hits by policy", [(by_policy, "{{policy}}")], SHARE, "Of the requests that looked there."),
    ]


def store() -> list[object]:
    commands = q.active("gateway_store_commands_total", q.GATEWAY, "result")
    up = f"min by (instance) (gateway_store_up{{{q.GATEWAY}}})"
    return [
        graph("Store commands", [(commands, "{{result}}")], "ops", "Reads, and writes that failed.", stack=True),
        graph("Store reachable", [(up, "{{instance}}")], "short", "1: by every worker of the instance."),
    ]
