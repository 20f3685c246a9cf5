"""Sums over ledger rows, as the store keeps them: hashes of integers that only grow, each with an expiry.

    gw:minute:ENDPOINT:MINUTE   `FIELDS`                              31 days
    gw:slot:SLOT                `ok ENDPOINT`, `judged ENDPOINT`      a day: five minutes of every endpoint
    gw:day:TENANT:DAY           `WHAT ENDPOINT MODEL`, of `SPENT`     32 days
    gw:spent                    TENANT: its cost                      a year after the last request of all tenants

Minutes, slots and days are unix time divided by 60, 300 and 86,400. No endpoint's id contains a space.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from gateway.types import FAULTS

RETENTION = 31 * 86_400  # seconds that a minute is kept; older rows are not summed
SLOT = 300  # seconds
DAY = 86_400
SLOT_KEPT = DAY + 2 * SLOT
DAYS_KEPT = 32
SPENT_KEPT = 366 * DAY

FIELDS = ("attempts", "ok", "prompt", "cached", "completion", "reasoning", "cost")  # of a minute; cost in 1e-12 USD
SPENT = ("requests", "prompt", "cached", "completion", "reasoning", "cost")  # of a tenant's day
SPENT_KEY = "gw:spent"
_COUNTED = (*FIELDS, "judged", "requests")


class Sum(NamedTuple):
    """One hash: its expiry in unix seconds, and the amounts to add to its fields."""

    expires: int
    fields: dict[str, int]


class Summed(msgspec.Struct):
    """The fields of a row that the sums need."""

    at: float
    tenant: str
    model: str
    endpoint: str
    outcome: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost: int
    last: bool = False


def minute_key(endpoint: str, minute: int) -> str:
    return f"gw:minute:{endpoint}:{minute}"


def slot_key(slot: int) -> str:
    return f"gw:slot:{slot}"


def day_key(tenant: str, day: int) -> str:
    return f"gw:day:{tenant}:{day}"


def sums(rows: Iterable[Summed], now: float) -> dict[str, Sum]:
    """The amounts that these rows add to each key. Rows without an endpoint add nothing."""
    groups: dict[tuple[str, str, str, int], list[int]] = {}
    for row in rows:
        if not row.endpoint:
            continue
        group = (row.endpoint, row.tenant, row.model, int(row.at // 60))
        totals = groups.get(group)
        if totals is None:
            totals = groups[group] = [0] * len(_COUNTED)
        _count(row, totals)
    added: dict[str, Sum] = {}
    for (endpoint, tenant, model, minute), totals in groups.items():
        counted = dict(zip(_COUNTED, totals, strict=True))
        for key, expires, fields in _parts(endpoint, tenant, model, minute, counted, now):
            _add(added.setdefault(key, Sum(expires, {})).fields, fields)
    return added


def _count(row: Summed, totals: list[int]) -> None:
    good, fault = row.outcome == "ok", FAULTS.get(row.outcome)
    totals[0] += 1
    totals[1] += good
    totals[2] += row.prompt_tokens
    totals[3] += row.cached_tokens
    totals[4] += row.completion_tokens
    totals[5] += row.reasoning_tokens
    totals[6] += row.cost
    totals[7] += good if fault is None else fault.blamed
    totals[8] += row.last


def _parts(
    endpoint: str, tenant: str, model: str, minute: int, counted: dict[str, int], now: float
) -> Iterable[tuple[str, int, dict[str, int]]]:
    """One group's share of each hash."""
    slot, day = minute * 60 // SLOT, minute * 60 // DAY
    yield minute_key(endpoint, minute), minute * 60 + RETENTION, {name: counted[name] for name in FIELDS}
    judged = {f"{name} {endpoint}": counted[name] for name in ("ok", "judged") if counted[name]}
    yield slot_key(slot), slot * SLOT + SLOT_KEPT, judged
    yield (
        day_key(tenant, day),
        (day + DAYS_KEPT) * DAY,
        {f"{name} {endpoint} {model}": counted[name] for name in SPENT if counted[name]},
    )
    yield SPENT_KEY, int(now) + SPENT_KEPT, {tenant: counted["cost"]}


def _add(sums: dict[str, int], fields: dict[str, int]) -> None:
    for name, amount in fields.items():
        sums[name] = sums.get(name, 0) + amount
