"""One endpoint against its peers, the other endpoints of its model: the prior for a new one, and outliers.

    figures of each endpoint ──medians──> FleetMedians ──> where an endpoint without samples starts

    attempts' ends ──> OutlierStats of each endpoint ──every 10 s: judge──> set back for 30 s, 60 s, ... 5 min

An outlier has a failure share 20 points above the median of the others, or a usual time to first token 4 times theirs
at the same prompt sizes, with enough samples on both sides, even if its breaker would not open.
An endpoint that is set back is used after the others, and judged anew, on fresh samples, when it returns. At most half
of a fleet is set back at a time.
"""

from collections.abc import Collection, Iterable, Sequence
from statistics import median
from typing import NamedTuple, Protocol

from gateway.route.sketch import Rate, Sketch

JUDGE_EVERY = 10.0  # seconds
MEDIANS_EVERY = 1.0  # seconds between two looks at what is usual among peers
ENOUGH = 20.0  # samples
FEWEST_PEERS = 2
FAILS_MORE = 0.2  # share of requests
SLOWER = 4.0  # times
FIRST_TIME = 30.0  # seconds
LONGEST_TIME = 300.0
FADES = 150.0  # seconds until a sample counts half


class FleetMedians(NamedTuple):
    """Median seconds to the first token of a usual prompt of each size class, output tokens per second, shares.

    None where not known.
    """

    ttft: tuple[float | None, ...]
    speed: float | None = None
    uptime: float | None = None
    tools_ok: float | None = None


NO_PEERS = FleetMedians((None,) * 4)


def fleet_medians(known: Collection[FleetMedians]) -> FleetMedians:
    """The medians over endpoints with figures; at least one."""
    return FleetMedians(
        tuple(_median(times) for times in zip(*(one.ttft for one in known), strict=True)),
        _median(one.speed for one in known),
        _median(one.uptime for one in known),
        _median(one.tools_ok for one in known),
    )


def _median(figures: Iterable[float | None]) -> float | None:
    known = sorted([figure for figure in figures if figure is not None])
    if not known:
        return None
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2


class OutlierStats:
    """How one endpoint did since it was last set back. `until`: set back until then."""

    __slots__ = ("_fails", "_slowness", "times", "until", "why")

    def __init__(self) -> None:
        self.until = 0.0
        self.why = ""
        self.times = 0  # how often it was recently set back
        self._start_over()

    def ended(self, failed: int, count: int, now: float) -> None:
        """So many attempts have ended, of which so many have failed."""
        self._fails.add_all(failed, count, now)

    def waited(self, slowness: float, now: float) -> None:
        """A time to first token, over what is usual among all at that prompt size."""
        self._slowness.add(slowness, now)

    def fails(self, now: float) -> float | None:
        """Share of requests; None while there are too few."""
        return self._fails.share(now, 0.0, 1.0) if self._fails.count(now) >= ENOUGH else None

    def slowness(self, now: float) -> float | None:
        """Its median; None while there are too few."""
        return self._slowness.quantiles((0.5,))[0] if self._slowness.count(now) >= ENOUGH else None

    def set_back(self, why: str, now: float) -> None:
        self.times += 1
        self.until = now + min(LONGEST_TIME, FIRST_TIME * self.times)
        self.why = why
        self._start_over()

    def _start_over(self) -> None:
        self._fails = Rate(half_life=FADES)
        self._slowness = Sketch(half_life=FADES)

    def __repr__(self) -> str:
        return f"<OutlierStats times={self.times} until={self.until:.0f} {self.why!r}>"


class Judged(Protocol):
    """An endpoint, as far as it is judged."""

    @property
    def standing(self) -> OutlierStats: ...


class _Verdict(NamedTuple):
    badness: float  # 1 is just far worse
    standing: OutlierStats
    why: str


def judge(endpoints: Collection[Judged], now: float) -> None:
    """Sets back the worst of the outliers, and lets the counts of the others decay."""
    standings = [endpoint.standing for endpoint in endpoints]
    serving = [one for one in standings if one.until <= now]
    room = len(standings) // 2 - (len(standings) - len(serving))
    verdicts = [*_by_fails(serving, now), *_by_slowness(serving, now)]
    for verdict in sorted(verdicts, key=lambda one: -one.badness):
        if room > 0 and verdict.standing.until <= now:
            verdict.standing.set_back(verdict.why, now)
            room -= 1
    guilty = {id(verdict.standing) for verdict in verdicts}
    for one in serving:
        if one.times and id(one) not in guilty:
            one.times -= 1


def _by_fails(standings: Sequence[OutlierStats], now: float) -> list[_Verdict]:
    shares = [(one, share) for one in standings if (share := one.fails(now)) is not None]
    found = []
    for one, share in shares:
        usual = _median_of_others(one, shares)
        if usual is not None and share >= usual + FAILS_MORE:
            why = f"{share:.0%} of its requests fail, {usual:.0%} at its peers"
            found.append(_Verdict((share - usual) / FAILS_MORE, one, why))
    return found


def _by_slowness(standings: Sequence[OutlierStats], now: float) -> list[_Verdict]:
    times = [(one, slow) for one in standings if (slow := one.slowness(now)) is not None]
    found = []
    for one, slow in times:
        usual = _median_of_others(one, times)
        if usual and slow >= usual * SLOWER:
            why = f"its first tokens take {slow / usual:.1f} times as long as at its peers"
            found.append(_Verdict(slow / usual / SLOWER, one, why))
    return found


def _median_of_others(one: OutlierStats, figures: Sequence[tuple[OutlierStats, float]]) -> float | None:
    others = [figure for other, figure in figures if other is not one]
    return median(others) if len(others) >= FEWEST_PEERS else None
