"""One positive quantity of one endpoint, with a long-term and a short-term estimate: what is usual, and what it is now.

    samples ─┬─> usual     a sketch over about an hour: every quantile, and enough tail for a p99
             └─> recent    the logarithms of the last minute, and of at most `MOST_RECENT` samples

    now = usual x level,   log level = mean of (recent - usual), beyond the standard error

A change shows within seconds of new samples. Without new samples the recent memory fades, and within minutes the
quantity is again expected to be what is usual: a penalty decays as fast as it built up. Samples that
scatter within what is usual leave the level at 1, so that it adds no noise.
"""

from collections.abc import Iterable, Sequence
from math import exp, log, sqrt

from gateway.route.sketch import LOWEST, Rate, Sketch

USUAL = 1_800.0  # seconds until a sample of what is usual counts half
RECENT = 60.0  # and one of what it is now
MOST_RECENT = 40.0  # of all trends that share a level
NOISE = 1.5  # standard errors of the mean; changes within these are noise
LEAST_VARIANCE = 0.01  # of a logarithm
LEAST_EVIDENCE = 1e-3
PRIOR_SAMPLES = 3.0  # samples that a published figure counts for


class Trend:
    """Samples of one quantity. `now` in seconds."""

    __slots__ = ("recent", "usual")

    def __init__(self) -> None:
        self.usual = Sketch(USUAL)
        self.recent = Rate(RECENT)

    def logs(self, count: float, prior: float, variance: float) -> tuple[float, float]:
        """(mean, variance) of the logarithm of what is usual, of which there are `count` samples, as if `PRIOR_SAMPLES`
        of the prior had been seen."""
        if not count:
            return prior, variance
        mean, scatter = self.usual.log_moments()
        return blend(mean, count, prior), blend(scatter, count, variance)

    def __repr__(self) -> str:
        return f"<Trend usual={self.usual!r} recent={self.recent!r}>"


class Estimate:
    """Shares in [0, 1]. Half-lives in seconds; `strength` is how many recent samples what is usual counts for."""

    __slots__ = ("_strength", "recent", "usual")

    def __init__(self, recent: float, most: float, usual: float, strength: float) -> None:
        self.recent = Rate(recent, most)
        self.usual = Rate(usual)
        self._strength = strength

    def add(self, share: float, now: float) -> None:
        self.recent.add(share, now)
        self.usual.add(share, now)

    def add_all(self, total: float, count: float, now: float) -> None:
        """Shares that add up to `total`, of about this moment."""
        self.recent.add_all(total, count, now)
        self.usual.add_all(total, count, now)

    def share(self, now: float, prior: float, strength: float) -> float:
        """The share now; `prior` is what was published, which counts like `strength` samples."""
        return self.recent.share(now, self.usual.share(now, prior, strength), self._strength)

    def __repr__(self) -> str:
        return f"<Estimate recent={self.recent!r} usual={self.usual!r}>"


def add_recent(trends: Sequence[Trend], place: int, value: float, now: float) -> None:
    """A recent sample of one of the trends that share a level: the oldest ones of all of them make room."""
    count = 0.0
    for trend in trends:
        count += trend.recent.count(now)
    if count > MOST_RECENT - 1:
        for trend in trends:
            trend.recent.shrink((MOST_RECENT - 1) / count)
    trends[place].recent.add(log(max(value, LOWEST)), now)


def level(trends: Iterable[tuple[Trend, float, float]], now: float) -> float:
    """What recent samples of all these trends say about their common factor over what is usual.

    Each trend comes with the mean and the variance of its usual logarithm.
    """
    above = evidence = 0.0
    for trend, mean, variance in trends:
        count = trend.recent.count(now)
        if not count:
            continue
        precision = 1 / max(variance, LEAST_VARIANCE)
        above += (trend.recent.sum(now) - count * mean) * precision
        evidence += count * precision
    if evidence < LEAST_EVIDENCE:
        return 1.0
    change = above / evidence
    beyond_noise = max(0.0, abs(change) - NOISE / sqrt(evidence))
    return exp(beyond_noise if change > 0 else -beyond_noise)


def blend(measured: float, count: float, prior: float) -> float:
    """The measured figure, as if `PRIOR_SAMPLES` samples of the prior had been seen first."""
    return (measured * count + prior * PRIOR_SAMPLES) / (count + PRIOR_SAMPLES)


def blend_logs(measured: float, count: float, prior: float) -> float:
    """The same for what scatters by factors: it agrees with `Trend.logs`, which a level is over."""
    share = count / (count + PRIOR_SAMPLES)
    return measured**share * prior ** (1 - share) if share else prior
