"""What each figure means: the one place in code. `docs/metrics.md#figures` has the same in words.

    rows ──> succeeded, judged, first token, ... ──> counts ──> share, effective price, ...

The model page, `/api/v1` and the Prometheus metrics all use these.
"""

from typing import Protocol

from gateway.types import OUTCOMES, PICO, counts

SUCCESS = frozenset({"ok", "cached"})  # outcomes of requests that succeeded
NOT_ATTEMPTS = frozenset({"cached", "unrouted"})  # outcomes of exchanges that sent no request to an endpoint
JUDGED = frozenset(outcome for outcome in OUTCOMES if counts(outcome))  # outcomes that a success rate counts
_MILLION = 1_000_000


class Ended(Protocol):
    """What the definitions read of a ledger row."""

    @property
    def outcome(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def hedge(self) -> str: ...
    @property
    def held(self) -> bool: ...
    @property
    def last(self) -> bool: ...
    @property
    def cache(self) -> str: ...
    @property
    def duration(self) -> float: ...
    @property
    def client_ttft(self) -> float | None: ...
    @property
    def client_duration(self) -> float: ...


def is_attempt(row: Ended) -> bool:
    """Whether a request was sent to an endpoint."""
    return row.endpoint != "" and row.outcome not in NOT_ATTEMPTS


def without_routing(row: Ended) -> bool:
    """Whether the exchange needed no second attempt: the cache or the first attempt answered. A first attempt that a
    hedge overtook had not failed."""
    return row.outcome == "cached" or (row.attempt == 1 and (row.outcome == "ok" or row.hedge == "beaten"))


def client_ttft(row: Ended) -> float | None:
    """TTFT of a request, in seconds; None for all rows but the last, without a token, and for cached answers."""
    return row.client_ttft if row.last and row.cache not in ("hit", "joined") else None


def client_latency(row: Ended) -> float | None:
    """Latency of a request, in seconds; None for all rows but the last, and for a request that failed."""
    return row.client_duration if row.last and row.outcome in SUCCESS else None


def host_latency(row: Ended) -> float | None:
    """Latency of an attempt, in seconds; None if it failed, or if its client was slower than the host."""
    return row.duration if row.outcome == "ok" and not row.held else None


def share(part: float, whole: float) -> float | None:
    """Uptime of `ok` in `judged` attempts, success of requests, hit share of tokens: part of whole."""
    return part / whole if whole else None


def price_per_million(cost: int, tokens: int) -> float | None:
    """Effective price: USD per 1M tokens, for a cost in 1e-12 USD."""
    return _MILLION * cost / PICO / tokens if tokens else None
