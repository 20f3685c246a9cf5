"""What ledger rows add to the store: to the history, and to what each tenant spent.

    rows ──┬─ by minute and series ──> one `SeriesAddition` each
           └─ by tenant and day ─────> one `HashAddition` for each hash below

    gw:day:TENANT:DAY        `WHAT ENDPOINT MODEL`, of `SPENT`     32 days
    gw:spent                 TENANT: its cost                      a year after the last request of all tenants

The hashes hold integers that only grow. They are for `/api/v1/activity` and `/api/v1/key`, which show a tenant's use of
each endpoint and model: the history has no such product. Days are Unix time divided by 86,400, in UTC. No endpoint's id
contains a space.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec

from gateway.telemetry.definitions import (
    JUDGED,
    SUCCESS,
    client_latency,
    client_ttft,
    host_latency,
    is_attempt,
    without_routing,
)
from gateway.telemetry.packed import COUNT_PLACES, FAULT_PLACES, increments, sample_place
from gateway.telemetry.series import MOST, OTHER, UNITS, Kind, Series, ends, hashed, names_key, public_app

RETENTION = 31 * 86_400  # seconds; older rows are not summed
DAY = 86_400
DAYS_KEPT = 32
SPENT_KEPT = 366 * DAY

SPENT = ("requests", "prompt", "cached", "completion", "reasoning", "cost")  # of a tenant's day; cost in 1e-12 USD
SPENT_KEY = "gw:spent"


class HashAddition(NamedTuple):
    """One hash: its expiry in unix seconds, and the amounts to add to its fields."""

    expires: int
    fields: dict[str, int]


class SeriesAddition(NamedTuple):
    """What a minute adds to one series.

    `keys`: the names of its day, its minute, hour and day, and those of the series that counts what exceeds `most`
    names. `expires`: minute, hour and day, in Unix seconds. `amounts`: by integer of 8 bytes.
    """

    keys: tuple[str, ...]
    most: int
    name: str
    expires: tuple[int, ...]
    amounts: dict[int, int]


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


class _Gathered(NamedTuple):
    """The rows of one series and minute: their amounts, and the places that they count in."""

    amounts: list[tuple[int, ...]]
    places: list[int]


_Group = tuple[int, str, str, str, str, str]  # minute, model, policy, app, tenant, endpoint
_SeriesMinute = tuple[int, str, Kind, str]  # minute, model, kind, name


def series_additions(rows: Iterable[Summed]) -> Iterator[SeriesAddition]:
    """What these rows add to each series."""
    gathered: defaultdict[_SeriesMinute, _Gathered] = defaultdict(lambda: _Gathered([], []))
    members: dict[_Group, list[_Gathered]] = {}
    for row in rows:
        group = int(row.at // 60), row.model, row.policy, row.app, row.tenant, row.endpoint
        found = members.get(group)
        if found is None:
            found = members[group] = [gathered[one] for one in _series_of(*group)]
        amounts, client, host = _contribution(row)
        for one in found[:4]:
            one.amounts.append(amounts)
            one.places.extend(client)
        for one in found[4:]:
            one.amounts.append(amounts)
            one.places.extend(host)
    for (minute, model, kind, name), total in gathered.items():
        sums = map(sum, zip(*total.amounts, strict=True))
        yield _addition(minute, Series(model, kind, name), increments(sums, total.places))


def _series_of(minute: int, model: str, policy: str, app: str, tenant: str, endpoint: str) -> list[_SeriesMinute]:
    """The series that a row belongs to: four of its client's side, then that of its endpoint, if it has one."""
    names: list[tuple[Kind, str]] = [("all", ""), ("policy", policy), ("app", public_app(app)), ("key", hashed(tenant))]
    if endpoint:
        names.append(("endpoint", endpoint))
    return [(minute, model, kind, name) for kind, name in names]


def _contribution(row: Summed) -> tuple[tuple[int, ...], list[int], list[int]]:
    """The amounts of a row, and the places that it counts in at its client's side and at its endpoint's."""
    client = [*_places(row.outcome, row.last, is_attempt(row), without_routing(row), row.tools)]
    if row.throughput is not None:
        client.append(sample_place("throughput", row.throughput))
    host = client.copy()
    for places, ttft, latency in (
        (client, client_ttft(row), client_latency(row)),
        (host, row.ttft, host_latency(row)),
    ):
        if ttft is not None:
            places.append(sample_place("ttft", ttft))
        if latency is not None:
            places.append(sample_place("latency", latency))
    return _amounts(row), client, host


def hash_additions(rows: Iterable[Summed], now: float) -> dict[str, HashAddition]:
    """What these rows add to each hash. Rows without an endpoint add nothing."""
    gathered: dict[tuple[str, int, str, str], list[tuple[int, ...]]] = {}
    for row in rows:
        if row.endpoint:
            group = row.tenant, int(row.at // DAY), row.endpoint, row.model
            gathered.setdefault(group, []).append((row.last, *_amounts(row)[:5]))
    added: dict[str, HashAddition] = {}
    for (tenant, day, endpoint, model), amounts in gathered.items():
        counted = dict(zip(SPENT, map(sum, zip(*amounts, strict=True)), strict=True))
        fields = added.setdefault(day_key(tenant, day), HashAddition((day + DAYS_KEPT) * DAY, {})).fields
        fields |= {f"{name} {endpoint} {model}": amount for name, amount in counted.items() if amount}
        ever = added.setdefault(SPENT_KEY, HashAddition(int(now) + SPENT_KEPT, {})).fields
        ever[tenant] = ever.get(tenant, 0) + counted["cost"]
    return added


def day_key(tenant: str, day: int) -> str:
    return f"gw:day:{tenant}:{day}"


def _amounts(row: Summed) -> tuple[int, ...]:
    """In the order of `AMOUNTS`."""
    from_cache = row.outcome == "cached"
    return (
        row.prompt_tokens,
        row.cached_tokens,
        row.completion_tokens,
        row.reasoning_tokens,
        row.cost,
        row.prompt_cost,
        0 if from_cache else row.saved,
        row.saved if from_cache else 0,
    )


@lru_cache(maxsize=1024)
def _places(outcome: str, last: bool, sent: bool, direct: bool, tools: str) -> tuple[int, ...]:
    """The places of the counts and faults that such a row increases."""
    judged = outcome in JUDGED
    counted = {
        "requests": last,
        "succeeded": last and outcome in SUCCESS,
        "judged_requests": last and judged,
        "first_ok": direct,
        "cached_answers": last and outcome == "cached",
        "attempts": sent,
        "ok": sent and outcome == "ok",
        "judged": sent and judged,
        "tool_calls": tools != "",
        "tool_calls_ok": tools == "ok",
    }
    faults = (FAULT_PLACES[outcome],) if sent and outcome in FAULT_PLACES else ()
    return (*(COUNT_PLACES[name] for name, counts in counted.items() if counts), *faults)


def _addition(minute: int, series: Series, amounts: dict[int, int]) -> SeriesAddition:
    model, kind, name = series
    buckets = list(zip(UNITS, (minute, minute // 60, minute // 1440), strict=True))
    rest = Series(model, kind, OTHER)
    keys = [one.key(unit, bucket) for one in (series, rest) for unit, bucket in buckets]
    expires = tuple(ends(unit, bucket) for unit, bucket in buckets)
    return SeriesAddition((names_key(model, kind, minute // 1440), *keys), MOST[kind], name, expires, amounts)
