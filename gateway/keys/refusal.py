"""The error of a request that a limit refuses: which limit, of whom, its bound, and when such a request fits again.

    429 gateway_rate_limit      requests or tokens per minute
    402 budget_exceeded         dollars per day or month
    402 budget_reserved         what is left is reserved for requests under way: a retry may succeed
    503 limits_unavailable      the store is down, and this worker's part is used up, or the operator chose `closed`

The header `x-gateway-limit` has the name of the limit. Errors of hosts never have it.
"""

import math
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

INSTANT = 0.001  # seconds
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
    quota, waits = refusal.quota, refusal.cause != "reached"
    head = limit_headers(quotas, now)
    head.append((b"x-gateway-limit", b"%s; scope=%s" % (quota.name.encode(), quota.scope.encode())))
    if surface == "openrouter" and quota.slides:
        head += _openrouter(quota)
    if waits:
        head.append(RETRY)
    status, code = _status(refusal)
    return LimitReached(
        _message(refusal, now),
        status=status,
        code=code,
        limits=head,
        retry_after=SOON if waits else _seconds(_fits_at(refusal) - now),
        metadata=_metadata(refusal),
    )


def _status(refusal: Refusal) -> tuple[int, str]:
    if refusal.cause == "down":
        return 503, "limits_unavailable"
    if refusal.quota.slides:
        return 429, "gateway_rate_limit"
    return 402, "budget_exceeded" if refusal.cause == "reached" else "budget_reserved"


def _message(refusal: Refusal, now: float) -> str:
    quota = refusal.quota
    whose = f"{_WHOSE[quota.scope]} `{quota.subject}`"
    limit = f"{_amount(quota, quota.bound)} {_PER[quota.name]}"
    if refusal.cause == "down":
        return f"the limit of {whose} ({limit}) cannot be checked: the gateway's store is down; retry soon"
    at = max(now, _fits_at(refusal))
    verb = "such a request fits again" if quota.slides else "it resets"
    resets = f"{verb} at {_time(math.ceil(at))}, in {_seconds(at - now):,} s"
    needs = f"this request may take {_amount(quota, refusal.amount)}, and {_amount(quota, _rest(refusal))} is left"
    if refusal.cause == "reserved":
        return f"the limit of {whose} ({limit}) is reserved for requests under way: {needs}; retry soon, or {resets}"
    return f"{whose} has reached its limit of {limit}: {needs}; {resets}"


def _fits_at(refusal: Refusal) -> float:
    """When there is room for the request, if no other one comes: in unix time."""
    meter = refusal.quota.meter
    return meter.fits_at(refusal.amount) + INSTANT if refusal.quota.slides else meter.period.end


def _seconds(left: float) -> int:
    return max(1, math.ceil(left))


def _rest(refusal: Refusal) -> int:
    """What is neither used nor, if that is the cause, reserved."""
    meter = refusal.quota.meter
    return meter.left if refusal.cause == "reserved" else max(0, meter.bound - meter.sliding - meter.settled)


def _resets_at(quota: Quota) -> int:
    return quota.meter.empty_at() if quota.slides else quota.meter.period.end


def _amount(quota: Quota, units: int) -> str:
    return f"${units / NANO:.6g}" if quota.name.startswith("usd") else f"{units:,}"


def _time(at: int) -> str:
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
        "resets_at": _resets_at(quota),
    }


def _openrouter(quota: Quota) -> list[tuple[bytes, bytes]]:
    meter = quota.meter
    return [
        (b"x-ratelimit-limit", b"%d" % meter.bound),
        (b"x-ratelimit-remaining", b"%d" % meter.left),
        (b"x-ratelimit-reset", b"%d" % (_resets_at(quota) * 1000)),
    ]
