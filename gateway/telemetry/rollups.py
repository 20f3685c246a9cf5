"""What ledger rows add to the store: to the history, and to each tenant's spending.

    rows ──> RowSums ──┬─> by minute and series ──> HourSums, by hour and series     one `SeriesAddition` each
                       └─> by tenant and day ─────> one `HashAddition` for each hash below

    gw:{books}:day:TENANT:DAY     `WHAT ENDPOINT MODEL`, of `SPENT`     32 days
    gw:{books}:spent              TENANT: its cost                      a year after the last request of all tenants

The hashes hold integers that only grow. They are for `/api/v1/activity` and `/api/v1/key`, which show a tenant's use of
each endpoint and model: the history does not combine tenants with endpoints. Days are Unix time divided by 86,400, in
UTC. No endpoint's id contains a space.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from gateway.telemetry.contributions import Contribution, Summed, contribution
from gateway.telemetry.packed import increments
from gateway.telemetry.series import (
    BOOKS,
    MOST,
    OTHER,
    SECONDS,
    Series,
    Unit,
    ends,
    hashed,
    names_key,
    public_app,
)

RETENTION = 31 * 86_400  # seconds; older rows are not summed
DAY = 86_400
DAYS_KEPT = 32
SPENT_KEPT = 366 * DAY

SPENT = ("requests", "prompt", "cached", "completion", "reasoning", "cost")  # of a tenant's day; cost in 1e-12 USD
SPENT_KEY = f"{BOOKS}:spent"

Amounts = dict[int, int]  # what to add, by integer of 8 bytes of a `Packed`
SeriesSums = Mapping[tuple[int, Series], Amounts]  # by the start of the bucket in Unix seconds


class HashAddition(NamedTuple):
    """One hash: its expiry in unix seconds, and the amounts to add to its fields."""

    expires: int
    fields: dict[str, int]


class SeriesAddition(NamedTuple):
    """What is added to one series, in a bucket of each of some units.

    `keys`: the names of its day, its buckets, and those of the series that counts what exceeds `most` names. `expires`:
    of each bucket, in Unix seconds; the last one is also the names'.
    """

    keys: tuple[str, ...]
    most: int
    name: str
    expires: tuple[int, ...]
    amounts: Amounts


class _OneMinute:
    """What the rows of one minute and model count for: by policy, app and tenant, and by endpoint."""

    __slots__ = ("clients", "endpoints")

    def __init__(self) -> None:
        self.clients: defaultdict[tuple[str, str, str], list[Contribution]] = defaultdict(list)
        self.endpoints: defaultdict[str, list[Contribution]] = defaultdict(list)


class RowSums:
    """Sums of the rows that were added. Memory is bounded by the rows of one batch."""

    def __init__(self) -> None:
        self._minutes: defaultdict[tuple[int, str], _OneMinute] = defaultdict(_OneMinute)
        self._spent: defaultdict[tuple[str, int, str, str], list[Sequence[int]]] = defaultdict(list)

    def __repr__(self) -> str:
        rows = sum(len(counted) for one in self._minutes.values() for counted in one.clients.values())
        return f"<RowSums of {rows} rows>"

    def add(self, rows: Iterable[Summed]) -> None:
        minutes, spent = self._minutes, self._spent
        for row in rows:
            minute, counted = int(row.at // 60), contribution(row)
            found = minutes[minute, row.model]
            found.clients[row.policy, row.app, row.tenant].append(counted)
            if row.endpoint:
                found.endpoints[row.endpoint].append(counted)
                spent[row.tenant, minute // 1440, row.endpoint, row.model].append(counted.amounts)

    def minutes(self) -> SeriesSums:
        """What the rows add to each minute of each series."""
        sums: dict[tuple[int, Series], Amounts] = {}
        for (minute, model), found in self._minutes.items():
            start = minute * 60
            for client, counted in found.clients.items():
                amounts = increments(_amounts(counted), chain.from_iterable([one.client for one in counted]))
                for series in _client_series(model, *client):
                    one = start, series
                    sums[one] = _plus(sums[one], amounts) if one in sums else amounts.copy()
            for name, counted in found.endpoints.items():
                places = chain.from_iterable([one.host for one in counted])
                sums[start, Series(model, "endpoint", name)] = increments(_amounts(counted), places)
        return sums

    def hashes(self, now: float) -> dict[str, HashAddition]:
        """What the rows add to each hash. Rows without an endpoint add nothing."""
        added: dict[str, HashAddition] = {}
        for (tenant, day, endpoint, model), amounts in self._spent.items():
            counted = dict(zip(SPENT, _totals(amounts), strict=False))  # amounts have more, which nothing shows
            fields = added.setdefault(day_key(tenant, day), HashAddition((day + DAYS_KEPT) * DAY, {})).fields
            fields |= {f"{name} {endpoint} {model}": amount for name, amount in counted.items() if amount}
            ever = added.setdefault(SPENT_KEY, HashAddition(int(now) + SPENT_KEPT, {})).fields
            ever[tenant] = ever.get(tenant, 0) + counted["cost"]
        return added


class HourSums:
    """Minutes added up by hour. Memory is bounded by the number of series."""

    def __init__(self) -> None:
        self.sums: dict[tuple[int, Series], Amounts] = {}

    def __repr__(self) -> str:
        return f"<HourSums of {len(self.sums)} series>"

    def add(self, minutes: SeriesSums) -> None:
        for (start, series), amounts in minutes.items():
            hour = start // 3600 * 3600, series
            self.sums[hour] = _plus(self.sums[hour], amounts) if hour in self.sums else amounts.copy()


def additions(sums: SeriesSums, *units: Unit) -> Iterator[SeriesAddition]:
    """What to add to a bucket of each of these units. The longest unit is last."""
    for (start, series), amounts in sums.items():
        buckets = [(unit, start // SECONDS[unit]) for unit in units]
        rest = Series(series.model, series.kind, OTHER)
        keys = [one.key(unit, bucket) for one in (series, rest) for unit, bucket in buckets]
        names = names_key(series.model, series.kind, start // DAY)
        expires = (*(ends(unit, bucket) for unit, bucket in buckets), ends("day", start // DAY))
        yield SeriesAddition((names, *keys), MOST[series.kind], series.name, expires, amounts)


def _client_series(model: str, policy: str, app: str, tenant: str) -> tuple[Series, ...]:
    """The series of the client's side."""
    return (
        Series(model, "all", ""),
        Series(model, "policy", policy),
        Series(model, "app", public_app(app)),
        Series(model, "key", hashed(tenant)),
    )


def day_key(tenant: str, day: int) -> str:
    return f"{BOOKS}:day:{tenant}:{day}"


def _totals(amounts: Iterable[Sequence[int]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*amounts, strict=True)))


def _amounts(counted: Sequence[Contribution]) -> tuple[int, ...]:
    """In the order of `packed.AMOUNTS`."""
    return _totals([one.amounts for one in counted])[1:]


def _plus(whole: Amounts, more: Amounts) -> Amounts:
    """Both added up, in the first one."""
    for integer, amount in more.items():
        whole[integer] = whole.get(integer, 0) + amount
    return whole
