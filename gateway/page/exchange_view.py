"""Exchanges as the page shows them, from their rows: no tenant, no prompt, no answer, no key.

rows of attempts ──> shown_exchange()    one line of the list
                └──> shown_attempts()    the time line
"""

from collections.abc import Sequence

from gateway.page.page_types import ShownAttempt, ShownExchange
from gateway.proxy.recent_exchanges import UNTROUBLED
from gateway.telemetry.host_words import said
from gateway.telemetry.series import public_app
from gateway.types import FAULTS, PICO, Row

KINDS = ("failed", "slow", "hedged", "retried")


def shown_exchange(rows: Sequence[Row], slow: bool) -> ShownExchange:
    """One exchange; `rows` are those of all its attempts, the closing one last."""
    closing, last = rows[-1], max(row.attempt for row in rows)
    return ShownExchange(
        id=closing.exchange,
        ended=closing.at + closing.duration,
        model=closing.model,
        policy=closing.policy,
        app=public_app(closing.app),
        endpoint=closing.endpoint if closing.outcome == "ok" else None,
        endpoints=list(dict.fromkeys(row.endpoint for row in rows if row.endpoint)),
        outcome=closing.outcome,
        status=closing.client_status,
        attempts=sum(row.attempt > 0 for row in rows),
        hedged=any(row.hedge for row in rows),
        retried=any(row.outcome in FAULTS and row.attempt < last for row in rows),
        slow=slow,
        ttft=closing.client_ttft,
        seconds=closing.client_duration,
        prompt=closing.prompt_tokens,
        cached=closing.cached_tokens,
        completion=closing.completion_tokens,
        cost_usd=sum(row.cost for row in rows) / PICO,
        cache=closing.cache,
    )


def shown_attempts(rows: Sequence[Row]) -> list[ShownAttempt]:
    """The attempts in the order of their numbers. Times are seconds after the request arrived."""
    closing = rows[-1]
    arrived = closing.at + closing.duration - closing.client_duration
    sent = sorted((row for row in rows if row.attempt > 0), key=lambda row: row.attempt)
    return [_attempt(row, max(0.0, row.at - arrived)) for row in sent]


def kinds(one: ShownExchange) -> set[str]:
    """Those of `KINDS` that this exchange is."""
    found = (one.outcome not in UNTROUBLED, one.slow, one.hedged, one.retried)
    return {name for name, holds in zip(KINDS, found, strict=True) if holds}


def _attempt(row: Row, started: float) -> ShownAttempt:
    return ShownAttempt(
        n=row.attempt,
        endpoint=row.endpoint,
        started=started,
        first_token=None if row.ttft is None else started + row.ttft,
        ended=started + row.duration,
        outcome=row.outcome,
        status=row.status or None,
        said=said(row.outcome, row.error),
        hedge=row.hedge,
        won=row.last and row.outcome == "ok",
        tokens=row.completion_tokens,
        cost_usd=row.cost / PICO,
    )
