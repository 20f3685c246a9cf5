"""What one ledger row counts for: its amounts, and the places of a `Packed` that it increases.

row ──> contribution ──┬─> amounts
                       ├─> places in the series of its client's side: all, policy, app, key
                       └─> places in the series of its endpoint
"""

from functools import lru_cache
from typing import NamedTuple

import msgspec

from gateway.telemetry.figure_definitions import (
    JUDGED,
    SUCCESS,
    client_latency,
    client_ttft,
    host_latency,
    is_attempt,
    without_routing,
)
from gateway.telemetry.packed import COUNT_PLACES, FAULT_PLACES, sample_place


class Summed(msgspec.Struct, gc=False):
    """The fields of a row that the sums need."""

    at: float
    tenant: str
    app: str
    model: str
    policy: str
    endpoint: str
    attempt: int
    outcome: str
    ttft: float | None = None
    duration: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cost: int = 0
    hedge: str = ""
    tools: str = ""
    held: bool = False
    throughput: float | None = None
    prompt_cost: int = 0
    saved: int = 0
    last: bool = False
    client_ttft: float | None = None
    client_duration: float = 0.0
    cache: str = "off"


class Contribution(NamedTuple):
    """`amounts`: whether it closes its exchange, then in the order of `packed.AMOUNTS`."""

    amounts: tuple[int, ...]
    client: list[int]
    host: list[int]


class _Kind(NamedTuple):
    """What rows of one kind have in common: their counts and faults, and which of their times are samples."""

    places: tuple[int, ...]
    ttft: bool  # the client's
    latency: bool  # the client's
    host_latency: bool


def contribution(row: Summed) -> Contribution:
    """What a row counts for."""
    from_cache = row.outcome == "cached"
    kind = row.outcome, row.attempt == 1, row.last, row.endpoint != "", row.hedge, row.tools, row.cache, row.held
    places, ttft, latency, of_host = _kind(kind)
    client, host = [*places], [*places]
    if row.throughput is not None:
        place = sample_place("throughput", row.throughput)
        client.append(place)
        host.append(place)
    if ttft and row.client_ttft is not None:
        client.append(sample_place("ttft", row.client_ttft))
    if latency:
        client.append(sample_place("latency", row.client_duration))
    if row.ttft is not None:
        host.append(sample_place("ttft", row.ttft))
    if of_host:
        host.append(sample_place("latency", row.duration))
    amounts = (
        row.last,
        row.prompt_tokens,
        row.cached_tokens,
        row.completion_tokens,
        row.reasoning_tokens,
        row.cost,
        row.prompt_cost,
        0 if from_cache else row.saved,
        row.saved if from_cache else 0,
    )
    return Contribution(amounts, client, host)


@lru_cache(maxsize=1024)
def _kind(kind: tuple[str, bool, bool, bool, str, str, str, bool]) -> _Kind:
    """What rows of this kind have in common. Made once for each kind: `figure_definitions` has functions of a row."""
    outcome, first, last, sent, hedge, tools, cache, held = kind
    row = Summed(
        at=0.0,
        tenant="",
        app="",
        model="",
        policy="",
        endpoint="any" if sent else "",
        attempt=1 if first else 2,
        outcome=outcome,
        hedge=hedge,
        held=held,
        last=last,
        client_ttft=1.0,
        cache=cache,
    )
    timed = client_ttft(row) is not None, client_latency(row) is not None, host_latency(row) is not None
    return _Kind(_places(row, tools), *timed)


def _places(row: Summed, tools: str) -> tuple[int, ...]:
    """The places of the counts and faults that such a row increases."""
    outcome, last, sent, judged = row.outcome, row.last, is_attempt(row), row.outcome in JUDGED
    counted = {
        "requests": last,
        "succeeded": last and outcome in SUCCESS,
        "judged_requests": last and judged,
        "first_ok": without_routing(row),
        "cached_answers": last and outcome == "cached",
        "attempts": sent,
        "ok": sent and outcome == "ok",
        "judged": sent and judged,
        "tool_calls": tools != "",
        "tool_calls_ok": tools == "ok",
    }
    faults = (FAULT_PLACES[outcome],) if sent and outcome in FAULT_PLACES else ()
    return (*(COUNT_PLACES[name] for name, counts in counted.items() if counts), *faults)
