"""A prepared history of 30 days in a real store, always the same: what the page shows after a month of traffic.

    rows(now) ──> a ledger ──> Shipper, the real script ──> the store

    python -m tests.support.prepared_history --store redis://... [--scale 2] [--now 1764500000]

8 endpoints, 4 policies, 5 apps, 3 keys; daily waves and weekends; 9 days ago an outage of one endpoint for 3 hours, 3
days ago timeouts of another one; a price change 12 days ago; a slow day 5 days ago; tool calls, cached answers,
failovers. The last three hours are denser, so that the range of an hour has something to show.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import pi, sin
from pathlib import Path
from random import Random
from time import time
from typing import Any, NamedTuple, TypeVar

from gateway.telemetry.ledger import Ledger
from gateway.telemetry.shipper import Shipper
from gateway.types import Price, Row, Usage
from gateway.upstream.usage import bill

MODEL = "deepseek/deepseek-v3.2"
DAYS = 60  # the 30 before them are the range before
HOUR, DAY = 3_600.0, 86_400.0
_One = TypeVar("_One")
DENSE = 3 * HOUR


class Host(NamedTuple):
    """What one endpoint is like."""

    endpoint: str
    share: float  # of the traffic
    ttft: float  # seconds, median
    speed: float  # tokens per second, median
    price: tuple[float, float, float]  # input, cached input, output, USD per 1M tokens
    hit: float  # share of a prompt that its cache has
    fails: float  # share of attempts
    tools_ok: float


HOSTS = (
    Host("deepseek/official", 0.26, 1.1, 34.0, (0.28, 0.028, 0.42), 0.72, 0.004, 0.985),
    Host("novita/fp8", 0.20, 0.7, 41.0, (0.269, 0.1345, 0.40), 0.48, 0.009, 0.97),
    Host("siliconflow/fp8", 0.15, 1.4, 29.0, (0.27, 0.135, 0.42), 0.41, 0.012, 0.965),
    Host("atlas-cloud/fp8", 0.12, 0.9, 52.0, (0.26, 0.13, 0.38), 0.33, 0.021, 0.94),
    Host("deepinfra/fp4", 0.10, 0.6, 63.0, (0.26, 0.13, 0.38), 0.52, 0.007, 0.93),
    Host("parasail/fp8", 0.08, 0.8, 47.0, (0.28, 0.28, 0.45), 0.0, 0.006, 0.975),
    Host("gmicloud/fp8", 0.06, 1.9, 24.0, (0.28, 0.14, 0.40), 0.22, 0.035, 0.95),
    Host("baseten/fp4", 0.03, 0.4, 118.0, (0.50, 0.25, 1.50), 0.30, 0.003, 0.98),
)
POLICIES = (("balanced", 0.62), ("nitro", 0.18), ("exacto", 0.12), ("floor", 0.08))
APPS = (("Coding agent", 0.46), ("Chat", 0.27), ("Batch summaries", 0.14), ("Search", 0.08), ("", 0.05))
KEYS = (("team-a", 0.6), ("team-b", 0.3), ("ci", 0.1))
_FAULTS = (("server", 0.4), ("rate_limited", 0.3), ("timeout_first_token", 0.15), ("cut", 0.1), ("empty", 0.05))


def rows(now: float, scale: float = 1.0, seed: int = 7) -> Iterator[Row]:
    """The rows in the order in which they were sent. `scale` 1 is about 30,000 exchanges in 60 days."""
    rng = Random(seed)
    start = (now // DAY - DAYS + 1) * DAY
    at, number = start, 0
    while at < now:
        at += rng.expovariate(_rate(at, now, scale))
        if at < now:
            number += 1
            yield from _exchange(rng, at, now - at, number)


def _rate(at: float, now: float, scale: float) -> float:
    """Exchanges per second."""
    wave = 1 + 0.7 * sin(2 * pi * (at % DAY) / DAY - 2)
    weekend = 0.55 if datetime.fromtimestamp(at, UTC).weekday() >= 5 else 1.0
    growth = 1 + 0.4 * (1 - (now - at) / (DAYS * DAY))
    dense = 12.0 if now - at < DENSE else 1.0
    return scale * 0.0055 * wave * weekend * growth * dense


def _exchange(rng: Random, at: float, ago: float, number: int) -> Iterator[Row]:
    policy, app, tenant = _pick(rng, POLICIES), _pick(rng, APPS), _pick(rng, KEYS)
    common: dict[str, Any] = {
        "exchange": f"gen-{int(at)}-{number:06x}",
        "tenant": tenant,
        "app": app,
        "model": MODEL,
        "policy": policy,
        "stream": rng.random() < 0.8,
    }
    if rng.random() < 0.05:
        yield _cached(rng, at, common)
        return
    waited = 0.0
    for attempt in (1, 2, 3):
        host = _pick(rng, [(one, _preferred(one, policy)) for one in HOSTS])
        row = _attempt(rng, at + waited, ago, host, {**common, "attempt": attempt, "provider": host.endpoint})
        waited += row.duration
        answered = row.outcome == "ok"
        closes = answered or attempt == 3
        yield _closed(row, waited) if closes else row
        if closes:
            return


def _attempt(rng: Random, at: float, ago: float, host: Host, common: dict[str, Any]) -> Row:
    slow = 2.6 if 5 * DAY <= ago < 6 * DAY else 1.0
    ttft = host.ttft * slow * rng.lognormvariate(0, 0.45)
    fault = _fault(rng, host, ago)
    common = {**common, "id": f"{common['exchange']}-{common['attempt']}", "at": at, "endpoint": host.endpoint}
    common["provider"] = host.endpoint.partition("/")[0]
    if fault:
        seconds = 15.0 if fault.startswith("timeout") else 0.2 * rng.lognormvariate(0, 0.5)
        return Row(**common, outcome=fault, status=429 if fault == "rate_limited" else 500, duration=seconds)
    prompt = int(2_400 * rng.lognormvariate(0, 0.9))
    cached = int(prompt * host.hit * rng.uniform(0.6, 1.3) * 0.8)
    completion = 20 + int(260 * rng.lognormvariate(0, 0.7))
    speed = host.speed / slow * rng.lognormvariate(0, 0.22)
    usage = Usage(prompt, cached, completion, completion // 3 if rng.random() < 0.3 else 0, "host")
    cost, prompt_cost, saved = bill(usage, _price(host, ago), 0)
    tools = ("ok" if rng.random() < host.tools_ok else "misfit") if rng.random() < 0.35 else ""
    return Row(
        **common,
        outcome="ok",
        status=200,
        finish_reason="tool_calls" if tools else "stop",
        ttft=ttft,
        duration=ttft + completion / speed,
        prompt_tokens=usage.prompt,
        cached_tokens=usage.cached,
        completion_tokens=usage.completion,
        reasoning_tokens=usage.reasoning,
        usage_source="host",
        cost=cost,
        tools=tools,
        throughput=speed,
        prompt_cost=prompt_cost,
        saved=saved,
    )


def _price(host: Host, ago: float) -> Price:
    """The second endpoint became dearer twelve days ago."""
    fresh, cached, output = host.price
    if host is HOSTS[1] and ago >= 12 * DAY:
        return Price(fresh * 0.8, output * 0.8, cached * 0.8)
    return Price(fresh, output, cached)


def _fault(rng: Random, host: Host, ago: float) -> str:
    """How this attempt fails; "" if it does not."""
    if host is HOSTS[3] and 9 * DAY <= ago < 9 * DAY + 3 * HOUR:
        return "refused"
    if host is HOSTS[6] and 3 * DAY <= ago < 4 * DAY and rng.random() < 0.3:
        return "timeout_first_token"
    return _pick(rng, _FAULTS) if rng.random() < host.fails else ""


def _closed(row: Row, waited: float) -> Row:
    fields = {name: getattr(row, name) for name in row.__struct_fields__}
    ok = row.outcome == "ok"
    fields |= {"last": True, "client_status": 200 if ok else 502, "client_duration": waited, "overhead": 0.0004}
    fields["client_ttft"] = waited - row.duration + row.ttft if row.ttft is not None else None
    return Row(**fields)


def _cached(rng: Random, at: float, common: dict[str, Any]) -> Row:
    """An answer from the response cache, which once cost about a thousandth of a dollar."""
    closing: dict[str, Any] = {"last": True, "client_status": 200, "client_ttft": 0.001, "client_duration": 0.002}
    nothing: dict[str, Any] = {"endpoint": "", "provider": "", "attempt": 0, "outcome": "cached", "cache": "hit"}
    saved = int(8e8 * rng.lognormvariate(0, 0.5))
    return Row(**common, id=f"{common['exchange']}-0", at=at, saved=saved, **nothing, **closing)


def _preferred(host: Host, policy: str) -> float:
    faster = host.speed / 40 if policy == "nitro" else 1.0
    cheaper = 0.3 / host.price[0] if policy == "floor" else 1.0
    return host.share * faster * cheaper


def _pick(rng: Random, weighted: Sequence[tuple[_One, float]]) -> _One:
    return rng.choices([one for one, _ in weighted], [weight for _, weight in weighted])[0]


async def write(store: str, now: float, scale: float = 1.0) -> int:
    """Ships the history into a store, day by day as a gateway would have. Returns how many rows there were."""
    with tempfile.TemporaryDirectory() as folder:
        written, clock = 0, now
        ledger = Ledger(Path(folder))
        shipper = Shipper(Path(folder), store, lambda up: None, clock=lambda: clock)
        try:
            for day, sent in groupby(rows(now, scale), lambda row: row.at // DAY):
                for row in sent:
                    ledger.append(row)
                    written += 1
                clock = min((day + 1) * DAY, now)
                if not await shipper.ship():
                    raise OSError(f"the store {store} cannot be reached")
        finally:
            shipper.close()
            ledger.close()
    return written


def main() -> None:
    """Writes a history of 30 days, and the 30 days before them, into a store."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--store", required=True, help="URL of the store: redis://... or unix://...")
    parser.add_argument("--scale", type=float, default=1.0, help="How much traffic there was.")
    parser.add_argument(
        "--now", type=float, default=time(), help="The end of the history in Unix seconds; default: now."
    )
    options = parser.parse_args()
    print(f"{asyncio.run(write(options.store, options.now, options.scale))} rows shipped")


if __name__ == "__main__":
    main()
