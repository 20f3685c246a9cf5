"""How long one endpoint takes to its first token, for any prompt and at any load.

    seconds(uncached, in flight) = (BASE + uncached / PREFILL)  x  ratio of the size class  x  level  x  load
                                          `scale`                   usual: a Trend each        now     `congestion.py`

A time to first token is kept as a ratio to what a plain host would take for that many uncached tokens, so that every
answer says something about prompts of every length, and estimates do not jump at the classes' bounds. The ratio differs
by size class, because hosts differ in what they take to begin and what they take to read. The level is shared by all
classes: a host that is three times slower is so for all.
"""

from bisect import bisect_left
from math import exp, log, sqrt

from gateway.route.congestion import Congestion
from gateway.route.peers import NO_PEERS, FleetMedians
from gateway.route.sketch import LOWEST
from gateway.route.trend import LEAST_VARIANCE, Trend, add_recent, blend, blend_logs, level
from gateway.types import Priors

SIZES = (2_000, 8_000, 32_000)  # uncached prompt tokens: ratios are learned apart for each class
MIDDLES = (1_000.0, 4_000.0, 16_000.0, 64_000.0)  # a usual prompt of each class
BASE = 1.0  # seconds
PREFILL = 8_000.0  # tokens a second
TYPICAL = 3_500.0  # uncached tokens of the mean prompt behind published figures
LEAST = 0.3  # share of a published time that remains where nothing is to be read
DEFAULT_TTFT = 1.5  # seconds, where nothing is published, and nothing known of any peer
SPREAD = 0.557  # of the logarithm, where no p90 is published: the p95 is 2.5 times the median
STEEPNESS = 0.25  # with load, before any answer
ENOUGH = 20.0  # samples before a p99 is known
SHARES = (0.5, 0.75, 0.9, 0.95, 0.99)
NORMAL = (0.0, 0.6745, 1.2816, 1.6449, 2.3263)  # the same of a normal distribution, in standard deviations
SETTLED = 200.0  # samples from which on one more hardly changes what is usual
USUAL_WITHIN = 1.0  # seconds until it shows then
FADED_WITHIN = 10.0  # seconds until what is usual shows that old samples have faded
_SCALES = tuple(BASE + middle / PREFILL for middle in MIDDLES)
_CLASSES = range(len(MIDDLES))


def size_class(uncached: float) -> int:
    """Index of the class of prompt sizes that `uncached` tokens fall in, 0 to 3."""
    return bisect_left(SIZES, uncached)


def scale(uncached: float) -> float:
    """The reference time to first token for this many uncached tokens, in seconds."""
    return BASE + uncached / PREFILL


class Waits:
    """Times to first token of one endpoint. What decisions read are ratios by size class, as of the last `refresh`.

    `trends` has its samples by size class; `quantiles` has one tuple for each of `SHARES`, three of which are `p50`,
    `p95` and `p99`; `scatter` is the standard deviation of the logarithm; `known` says which classes have `ENOUGH`
    samples.
    """

    __slots__ = (
        "_logs",
        "_peers",
        "_rows",
        "_usual_due",
        "_usual_from",
        "known",
        "level",
        "load",
        "mean",
        "p50",
        "p95",
        "p99",
        "quantiles",
        "scatter",
        "trends",
    )

    def __init__(self) -> None:
        self.trends = tuple(Trend() for _ in _CLASSES)
        self.load = Congestion(STEEPNESS)
        self._usual_due = 0.0
        self._usual_from = 0.0  # when a new sample may show in what is usual
        self._peers = NO_PEERS
        self._rows: list[tuple[float, ...]] = []  # usual ratios: for each of `SHARES` and the mean, by size class
        self._logs: list[tuple[Trend, float, float]] = []
        self.level = 1.0
        self.mean: tuple[float, ...] = ()
        self.quantiles: tuple[tuple[float, ...], ...] = ()
        self.p50: tuple[float, ...] = ()
        self.p95: tuple[float, ...] = ()
        self.p99: tuple[float, ...] = ()
        self.scatter: tuple[float, ...] = ()
        self.known: tuple[bool, ...] = (False,) * len(MIDDLES)

    def began(self, seconds: float, uncached: float, in_flight: float, now: float) -> None:
        """A first token came after `seconds`; `in_flight` requests were in flight when this one was sent.

        `uncached` is what was expected: usage comes with the end of the answer. The level shows it at once.
        """
        size, ratio = size_class(uncached), seconds / scale(uncached)
        add_recent(self.trends, size, ratio / self.load.shown_factor(in_flight), now)

    def ended(self, seconds: float, uncached: float, in_flight: float, now: float) -> None:
        """The same at the answer's end, with the tokens that the host had to read."""
        size, ratio = size_class(uncached), seconds / scale(uncached)
        self.load.add(in_flight, log(max(ratio, LOWEST) / self.p50[size]), now)
        self.trends[size].usual.add(ratio / self.load.shown_factor(in_flight), now)
        self._usual_due = min(self._usual_due, self._usual_from)

    def censored(self, seconds: float, uncached: float, in_flight: float, now: float) -> None:
        """Right-censored time to first token, imputed as the mean of the larger samples.

        Dropping censored waits, or taking them as complete, would make slow endpoints look quick.
        """
        size = size_class(uncached)
        ratio = seconds / scale(uncached) / self.load.shown_factor(in_flight)
        usual = self.trends[size].usual
        mean, count = usual.beyond(ratio, now)
        likely = blend(mean, count, max(ratio, self.p95[size]))
        usual.add(likely, now)
        self._usual_due = min(self._usual_due, self._usual_from)
        add_recent(self.trends, size, likely, now)

    def renew(self) -> None:
        """What is published or known elsewhere has changed: the next refresh computes everything."""
        self._usual_due = 0.0

    def refresh(self, now: float, priors: Priors, peers: FleetMedians = NO_PEERS) -> None:
        """Computes the ratios from the samples. What is usual moves slowly: it is computed for new samples only, and
        rarely when many are known."""
        if now >= self._usual_due or (now >= self._usual_from and peers != self._peers):
            self._refresh_usual(now, priors, peers)
        self.level = level(self._logs, now)
        *quantiles, self.mean = self._rows if self.level == 1 else _scaled(self._rows, self.level)
        self.quantiles = tuple(quantiles)
        self.p50, _, _, self.p95, self.p99 = self.quantiles

    def _refresh_usual(self, now: float, priors: Priors, peers: FleetMedians) -> None:
        spread = _spread(priors)
        counts = [trend.usual.count(now) for trend in self.trends]
        row, rows, logs = _published(priors, peers, spread), [], []
        for size, (trend, count) in enumerate(zip(self.trends, counts, strict=True)):
            if size:
                row = _stepped(row, size, _step(peers, size))
            logs.append((trend, *trend.logs(count, log(row[0]), spread**2)))
            if count:
                found = [*trend.usual.quantiles(SHARES), trend.usual.mean()]
                row = [blend_logs(one, count, prior) for one, prior in zip(found, row, strict=True)]
            rows.append(row)
        self._logs = logs
        self._peers = peers
        self._rows = list(zip(*rows, strict=True))
        self.scatter = tuple([sqrt(max(variance, LEAST_VARIANCE)) for _, _, variance in logs])
        self._counted(counts, now)

    def _counted(self, counts: list[float], now: float) -> None:
        """How many samples there are of each class: what that says about them, and about when to look again."""
        self.known = tuple([count >= ENOUGH for count in counts])
        self._usual_from = now + USUAL_WITHIN if sum(counts) > SETTLED else now
        self._usual_due = now + FADED_WITHIN
        usual_size = counts.index(max(counts))
        self.load.refresh(now, self.scatter[usual_size])

    def __repr__(self) -> str:
        return f"<Waits p50={self.p50[0]:.2f} level={self.level:.2f} {self.load!r}>"


def _scaled(rows: list[tuple[float, ...]], factor: float) -> list[tuple[float, ...]]:
    return [tuple([factor * ratio for ratio in row]) for row in rows]


def _published(priors: Priors, peers: FleetMedians, spread: float) -> list[float]:
    """Ratios of the smallest size class before any was measured: at each of `SHARES`, and the mean."""
    first = _first(priors, peers) / _SCALES[0]
    return [*(first * exp(z * spread) for z in NORMAL), first * exp(spread**2 / 2)]


def _first(priors: Priors, peers: FleetMedians) -> float:
    """Seconds to the first token of a usual prompt of the smallest class, before any was measured."""
    if not priors.ttft_p50 and peers.ttft[0]:
        return peers.ttft[0]
    published = priors.ttft_p50 or DEFAULT_TTFT
    return max(LEAST * published, published + (MIDDLES[0] - TYPICAL) / PREFILL)


def _stepped(ratios: list[float], size: int, step: float) -> list[float]:
    """Ratios of a size class, from those of the class below and the seconds that its prompts take longer."""
    return [(ratio * _SCALES[size - 1] + step) / _SCALES[size] for ratio in ratios]


def _step(peers: FleetMedians, size: int) -> float:
    """Seconds that a usual prompt of this size class waits longer than one of the class below."""
    below, here = peers.ttft[size - 1], peers.ttft[size]
    return here - below if here and below and here > below else (MIDDLES[size] - MIDDLES[size - 1]) / PREFILL


def _spread(priors: Priors) -> float:
    """The standard deviation of the logarithm of times to first token, as published."""
    if not priors.ttft_p50 or not priors.ttft_p90:
        return SPREAD
    return log(max(1.0, priors.ttft_p90 / priors.ttft_p50)) / NORMAL[2]
