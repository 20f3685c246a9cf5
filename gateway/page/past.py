"""The past of a model: which buckets a range needs, and the figures of their sums.

    range, now ──> names ──> series ──> buckets of the range, of the one before, of 30 days ──> one read ──> JSON

A range ends now and starts where a bucket starts. The range before is as long, in whole buckets.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from gateway.page.history_shape import Json, day, figures, is_empty, points, saved
from gateway.telemetry.history_reader import Bucket, HistoryReader
from gateway.telemetry.packed import Packed
from gateway.telemetry.series import KINDS, OTHER, SECONDS, Kind, Series, Unit
from gateway.types import Price

DAYS = 30
TOP = 20  # apps and keys, by tokens
MOST_READ = 60  # apps and keys: those that were there on most days
RANKED: tuple[Kind, ...] = ("app", "key")
DAY = SECONDS["day"]
_FIELDS: dict[Kind, str] = {"endpoint": "endpoints", "policy": "policies", "app": "apps", "key": "keys"}
_NOTHING = Packed.total(())
_Strings = Mapping[Bucket, bytes]


class Span(NamedTuple):
    """`points` points, each of `each` buckets of one unit."""

    unit: Unit
    each: int
    points: int

    @property
    def step(self) -> int:
        """Seconds of a point."""
        return SECONDS[self.unit] * self.each

    def times(self, now: float) -> list[int]:
        """When each point starts; the last one is under way."""
        newest = int(now // self.step)
        return [number * self.step for number in range(newest - self.points + 1, newest + 1)]

    def before(self, now: float) -> tuple[int, int]:
        """Start and end of the range before."""
        start, unit = self.times(now)[0], SECONDS[self.unit]
        return start - round((now - start) / unit) * unit, start


RANGES = {"1h": Span("minute", 1, 60), "24h": Span("hour", 1, 24), "7d": Span("hour", 3, 56), "30d": Span("day", 1, 30)}


class PastSeries(NamedTuple):
    """One series: its points, and the total of the range before."""

    points: list[Packed]
    before: Packed

    @property
    def total(self) -> Packed:
        return Packed.total(self.points)


_Named = dict[str, PastSeries]


async def past(reader: HistoryReader, model: str, name: str, prices: Mapping[str, Price], now: float) -> Json:
    """The JSON of the range of this name. `prices` are those of the endpoints in use that have one. Raises OSError when
    the store cannot be reached. Threads do what is long, so that it holds up no request."""
    span, days = RANGES[name], _days_until(now)
    names = await reader.names(model, range(min(days[0], span.before(now)[0] // DAY), days[-1] + 1))
    series = [Series(model, kind, one) for kind, found in names.items() for one in _read_of(kind, found)]
    by_day = [one for one in series if one.kind in ("all", "endpoint")]
    needed = await asyncio.to_thread(_needed, series, by_day, span, now)
    strings = await reader.read(needed)
    return await asyncio.to_thread(_json, name, series, by_day, prices, now, strings)


def _needed(series: Iterable[Series], by_day: Iterable[Series], span: Span, now: float) -> list[Bucket]:
    """All buckets to read."""
    found = [bucket for one in series for bucket in _buckets(one, span, now)]
    return found + [Bucket(one, "day", number) for one in by_day for number in _days_until(now)]


def _days_until(now: float) -> range:
    """The days of uptime (unix time // 86,400), today the last."""
    today = int(now // DAY)
    return range(today - DAYS + 1, today + 1)


def _json(
    name: str,
    series: Sequence[Series],
    by_day: Sequence[Series],
    prices: Mapping[str, Price],
    now: float,
    strings: _Strings,
) -> Json:
    span = RANGES[name]
    times, pasts = span.times(now), _pasts(series, span, now, strings)
    everything = pasts["all"].get("", PastSeries([_NOTHING] * len(times), _NOTHING))
    for kind in RANKED:
        pasts[kind] = _top(pasts[kind], everything)
    return {
        "range": name,
        "from": times[0],
        "to": now,
        "step": span.step,
        "times": times,
        "all": _shape(everything),
        **{field: {one: _shape(own) for one, own in pasts[kind].items()} for kind, field in _FIELDS.items()},
        "days": _days(by_day, _days_until(now), strings),
        "saved": saved(everything.total, _priced(prices, pasts["endpoint"])),
    }


def _pasts(series: Iterable[Series], span: Span, now: float, strings: _Strings) -> dict[Kind, _Named]:
    """The series that have data, by kind and name."""
    pasts: dict[Kind, _Named] = {kind: {} for kind in KINDS}
    for one in series:
        found = _past_series(one, span, now, strings)
        if not _has_nothing(found):
            pasts[one.kind][one.name] = found
    return pasts


def _read_of(kind: Kind, names: Sequence[str]) -> Sequence[str]:
    return [one for one in names if one != OTHER][:MOST_READ] if kind in RANKED else names


def _buckets(series: Series, span: Span, now: float) -> Iterator[Bucket]:
    """All that a series needs."""
    for group in _groups(series, span, now):
        yield from group
    yield from _cover(series, span.unit, *span.before(now))


def _groups(series: Series, span: Span, now: float) -> list[list[Bucket]]:
    """The buckets of each point."""
    seconds = SECONDS[span.unit]
    return [
        [Bucket(series, span.unit, start // seconds + number) for number in range(span.each)]
        for start in span.times(now)
    ]


def _cover(series: Series, unit: Unit, start: int, end: int) -> Iterator[Bucket]:
    """The fewest buckets of this unit and coarser ones from `start` to `end`, both in Unix seconds."""
    units: list[Unit] = [one for one in ("day", "hour", "minute") if SECONDS[one] >= SECONDS[unit]]
    while start < end:
        best = next(one for one in units if start % SECONDS[one] == 0 and start + SECONDS[one] <= end)
        yield Bucket(series, best, start // SECONDS[best])
        start += SECONDS[best]


def _past_series(series: Series, span: Span, now: float, strings: _Strings) -> PastSeries:
    each = [_total(group, strings) for group in _groups(series, span, now)]
    return PastSeries(each, _total(_cover(series, span.unit, *span.before(now)), strings))


def _total(buckets: Iterable[Bucket], strings: _Strings) -> Packed:
    return Packed.total(Packed.of(strings[one]) for one in buckets if one in strings)


def _top(pasts: _Named, everything: PastSeries) -> _Named:
    """The top ones by tokens, most first, and the rest as one: every row has one app and one key, so that is what the
    others leave."""
    top = dict(sorted(pasts.items(), key=lambda one: _tokens(one[1]), reverse=True)[:TOP])
    shown = list(top.values())
    rest = PastSeries(
        [
            whole.without(Packed.total(own))
            for whole, *own in zip(everything.points, *(one.points for one in shown), strict=True)
        ],
        everything.before.without(Packed.total(one.before for one in shown)),
    )
    return top if _has_nothing(rest) else {**top, OTHER: rest}


def _tokens(one: PastSeries) -> int:
    return one.total["prompt"] + one.total["completion"]


def _has_nothing(one: PastSeries) -> bool:
    return is_empty(one.before) and all(map(is_empty, one.points))


def _shape(one: PastSeries) -> Json:
    before = None if is_empty(one.before) else figures(one.before)
    return {"total": figures(one.total), "before": before, "points": points(one.points)}


def _days(series: Sequence[Series], days: Sequence[int], strings: _Strings) -> Json:
    shaped = {
        one.name: [day(number * DAY, _total([Bucket(one, "day", number)], strings)) for number in days]
        for one in series
    }
    nothing = [day(number * DAY, _NOTHING) for number in days]
    return {"all": shaped.pop("", nothing), "endpoints": shaped}


def _priced(prices: Mapping[str, Price], pasts: _Named) -> list[tuple[Price, Packed]]:
    return [(price, pasts[name].total if name in pasts else _NOTHING) for name, price in prices.items()]
