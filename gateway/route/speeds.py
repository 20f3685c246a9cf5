"""How fast one endpoint writes, at any load: output tokens a second after the first one.

speed(in flight) = usual x level / load
"""

from math import log, sqrt

from gateway.route.congestion import Congestion
from gateway.route.peers import NO_PEERS, FleetMedians
from gateway.route.trend import Trend, add_recent, blend_logs, level
from gateway.types import Priors

DEFAULT_SPEED = 30.0  # tokens a second, where nothing is published, and nothing known of any peer
SPREAD = 0.4  # of the logarithm, where nothing was measured
MEAN_TOKEN = 1.15  # times the median of seconds per token, where the slowest tenth has half the usual speed
ENOUGH = 20.0
STEEPNESS = 0.05  # with load, before any answer
SHARES = (0.5, 0.25, 0.1, 0.01)  # that 50, 75, 90 and 99 % of answers reach
OVER = (1.0, 0.76, 0.5, 0.39)  # the same, over the median, where nothing was measured
FADED_WITHIN = 10.0  # seconds until figures show that old samples have faded


class Speeds:
    """Output speeds of one endpoint. What decisions read are plain figures, as of the last `refresh`.

    `quantiles` has the speeds that 50, 75, 90 and 99 % of answers reach, `p50` the first of them and `p10` that of the
    slowest tenth; `token_s` is the mean of seconds per token.
    """

    __slots__ = (
        "_due",
        "_logs",
        "_prior",
        "_usual",
        "_usual_token_s",
        "known",
        "level",
        "load",
        "p10",
        "p50",
        "quantiles",
        "token_s",
        "trend",
    )

    def __init__(self) -> None:
        self.trend = Trend()
        self.load = Congestion(STEEPNESS)
        self._due = 0.0  # when what is usual is computed again
        self._prior = 0.0  # the speed that it was computed with, where nothing was measured
        self._logs: tuple[tuple[Trend, float, float], ...] = ()
        self.level = 1.0
        self.known = False
        self.token_s = self._usual_token_s = MEAN_TOKEN / DEFAULT_SPEED
        self.quantiles: tuple[float, ...] = (DEFAULT_SPEED,) * len(SHARES)
        self._usual = self.quantiles
        self.p50 = self.p10 = DEFAULT_SPEED

    def add(self, speed: float, in_flight: float, now: float) -> None:
        """An answer came at `speed` tokens per second; `in_flight` requests were in flight when its own was sent."""
        self.load.add(in_flight, log(self.p50 / speed), now)
        unloaded = speed * self.load.shown_factor(in_flight)
        self.trend.usual.add(unloaded, now)
        add_recent((self.trend,), 0, unloaded, now)
        self.renew()

    def renew(self) -> None:
        """There are other samples: the next refresh computes everything."""
        self._due = 0.0

    def refresh(self, now: float, priors: Priors, peers: FleetMedians = NO_PEERS) -> None:
        """Computes the figures from the samples."""
        prior = priors.throughput_p50 or peers.speed or DEFAULT_SPEED
        if now >= self._due or prior != self._prior:
            self._refresh_usual(now, prior)
        self.level = level(self._logs, now)
        self.token_s = self._usual_token_s / self.level
        self.quantiles = self._usual if self.level == 1 else tuple([one * self.level for one in self._usual])
        self.p50, _, self.p10, _ = self.quantiles

    def _refresh_usual(self, now: float, prior: float) -> None:
        """What is usual, where a host of which nothing was measured writes `prior` tokens a second."""
        self._due, self._prior = now + FADED_WITHIN, prior
        count = self.trend.usual.count(now)
        self.known = count >= ENOUGH
        mean, variance = self.trend.logs(count, log(prior), SPREAD**2)
        self._logs = ((self.trend, mean, variance),)
        self.load.refresh(now, sqrt(variance))
        self._usual_token_s = blend_logs(self.trend.usual.mean_inverse(), count, MEAN_TOKEN / prior)
        found = self.trend.usual.quantiles(SHARES)
        self._usual = tuple([blend_logs(one, count, over * prior) for one, over in zip(found, OVER, strict=True)])

    def __repr__(self) -> str:
        return f"<Speeds p50={self.p50:.1f} level={self.level:.2f} {self.load!r}>"
