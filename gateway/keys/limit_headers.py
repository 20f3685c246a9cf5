"""The headers by which clients see their limits: those of OpenAI's API, and the gateway's own for budgets.

    x-ratelimit-{limit,remaining,reset}-{requests,tokens}       x-gateway-budget-{limit,remaining,reset}

A reset is when all of the limit is left again, as with OpenAI. Of several limits of one kind, the one with the least
left is shown.
"""

import math
from collections.abc import Iterable

from gateway.keys.period import NANO
from gateway.keys.quota import Quota

Headers = list[tuple[bytes, bytes]]
_NAMES = {
    kind: (b"x-ratelimit-limit-" + kind, b"x-ratelimit-remaining-" + kind, b"x-ratelimit-reset-" + kind)
    for kind in (b"requests", b"tokens")
}
_BUDGET = b"x-gateway-budget-limit", b"x-gateway-budget-remaining", b"x-gateway-budget-reset"


def limit_headers(limits: Iterable[Quota], now: float) -> Headers:
    """`now` in unix time. Rates in requests and tokens, budgets in USD, resets in seconds (`12s`)."""
    requests = tokens = budget = None
    for quota in limits:
        name, meter = quota.name, quota.meter
        if name == "requests_per_minute":
            requests = meter if requests is None or meter.left < requests.left else requests
        elif name == "tokens_per_minute":
            tokens = meter if tokens is None or meter.left < tokens.left else tokens
        elif budget is None or meter.left < budget.left:
            budget = meter
    head: Headers = []
    for kind, rate in ((b"requests", requests), (b"tokens", tokens)):
        if rate is not None:
            limit, remaining, reset = _NAMES[kind]
            head += ((limit, b"%d" % rate.bound), (remaining, b"%d" % rate.left))
            head.append((reset, _seconds(rate.empty_at() - now)))
    if budget is not None:
        limit, remaining, reset = _BUDGET
        head += (
            (limit, _usd(budget.bound)),
            (remaining, _usd(budget.left)),
            (reset, _seconds(budget.period.end - now)),
        )
    return head


def _seconds(left: float) -> bytes:
    return b"%ds" % max(1, math.ceil(left))


def _usd(amount: int) -> bytes:
    return b"%.6f" % (amount / NANO)
