"""The error of a request that a limit refuses: which limit, of whom, its bound, and when it resets.

    429 gateway_rate_limit      requests or tokens per minute
    402 budget_exceeded         dollars per day or month
    402 budget_reserved         what is left is reserved for requests under way: a retry may succeed
    503 limits_unavailable      the store is down, and this worker's part is used up, or the operator chose `closed`

The header `x-gateway-limit` has the name of the limit. Errors of hosts never have it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.config import Scope
from gateway.errors import LimitReached
from gateway.keys.limit_headers import limit_headers
from gateway.keys.limiter import Refusal
from gateway.keys.period import NANO
from gateway.keys.quota import Quota
from gateway.types import Surface

SOON = 1.0  # seconds after which a retry may succeed where requests under way hold the rest, or the store is down
RETRY = b"x-should-retry", b"true"  # SDKs obey it: they would not retry a 402
_WHOSE: dict[Scope, str] = {"key": "the key", "group": "the group", "app": "the app"}
_PER = {
    "requests_per_minute": "requests per minute",
    "tokens_per_minute": "tokens per minute",
    "usd_per_day": "per day",
    "usd_per_month": "per month",
}


def refused(refusal: Refusal, quotas: Sequence[Quota], surface: Surface, now: float) -> LimitReached:
    """`quotas` are all limits of the request, `now` is unix time."""
    quota, cause = refusal.quota, refusal.cause
    meter, waits = quota.meter, cause != "reached"
    is_rate = not quota.name.startswith("usd")
    left = meter.period.end - now
    head = limit_headers([(one, one.meter, 0) for one in quotas], now)
    head.append((b"x-gateway-limit", b"%s; scope=%s" % (quota.name.encode(), quota.scope.encode())))
    if surface == "openrouter" and is_rate:
        head += _openrouter(quota)
    if waits:
        head.append(RETRY)
    status, code = _status(refusal, is_rate)
    return LimitReached(
        _message(refusal, now),
        status=status,
        code=code,
        limits=head,
        retry_after=min(SOON, left) if waits else left,
        metadata=_metadata(refusal),
    )


def _status(refusal: Refusal, is_rate: bool) -> tuple[int, str]:
    if refusal.cause == "down":
        return 503, "limits_unavailable"
    if is_rate:
        return 429, "gateway_rate_limit"
    return 402, "budget_exceeded" if refusal.cause == "reached" else "budget_reserved"


def _message(refusal: Refusal, now: float) -> str:
    quota, meter = refusal.quota, refusal.quota.meter
    whose = f"{_WHOSE[quota.scope]} `{quota.subject}`"
    limit = f"{_amount(quota, quota.bound)} {_PER[quota.name]}"
    resets = f"it resets at {_time(meter.period.end)}, in {max(1, int(meter.period.end - now)):,} s"
    if refusal.cause == "down":
        return f"the limit of {whose} ({limit}) cannot be checked: the gateway's store is down; {resets}"
    needs = f"this request may take {_amount(quota, refusal.amount)}, and {_amount(quota, _rest(refusal))} is left"
    if refusal.cause == "reserved":
        return f"the limit of {whose} ({limit}) is reserved for requests under way: {needs}; retry soon, or {resets}"
    return f"{whose} has reached its limit of {limit}: {needs}; {resets}"


def _rest(refusal: Refusal) -> int:
    """What is neither used nor, if that is the cause, reserved."""
    meter = refusal.quota.meter
    return meter.left if refusal.cause == "reserved" else max(0, meter.bound - meter.settled)


def _amount(quota: Quota, units: int) -> str:
    return f"${units / NANO:.6g}" if quota.name.startswith("usd") else f"{units:,}"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _metadata(refusal: Refusal) -> dict[str, Any]:
    quota = refusal.quota
    scale = NANO if quota.name.startswith("usd") else 1
    return {
        "limit": quota.name,
        "scope": quota.scope,
        "name": quota.subject,
        "bound": quota.bound / scale if scale > 1 else quota.bound,
        "remaining": _rest(refusal) / scale if scale > 1 else _rest(refusal),
        "resets_at": quota.meter.period.end,
    }


def _openrouter(quota: Quota) -> list[tuple[bytes, bytes]]:
    meter = quota.meter
    return [
        (b"x-ratelimit-limit", b"%d" % meter.bound),
        (b"x-ratelimit-remaining", b"%d" % meter.left),
        (b"x-ratelimit-reset", b"%d" % (meter.period.end * 1000)),
    ]
