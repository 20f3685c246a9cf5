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


class Speeds:
    """Output speeds of one endpoint. What decisions read are plain figures, as of the last `refresh`.

    `quantiles` has the speeds that 50, 75, 90 and 99 % of answers reach; `token_s` is the mean of seconds per token.
    """

    __slots__ = ("known", "level", "load", "quantiles", "token_s", "trend")

    def __init__(self) -> None:
        self.trend = Trend()
        self.load = Congestion(STEEPNESS)
        self.level = 1.0
        self.known = False
        self.token_s = MEAN_TOKEN / DEFAULT_SPEED
        self.quantiles = (DEFAULT_SPEED,) * len(SHARES)

    @property
    def p50(self) -> float:
        return self.quantiles[0]

    @property
    def p10(self) -> float:
        """The speed of the slowest tenth."""
        return self.quantiles[2]

    def add(self, speed: float, in_flight: float, now: float) -> None:
        """An answer came at `speed` tokens per second; `in_flight` requests were in flight when its own was sent."""
        self.load.add(in_flight, log(self.p50 / speed), now)
        unloaded = speed * self.load.shown_factor(in_flight)
        self.trend.usual.add(unloaded, now)
        add_recent((self.trend,), 0, unloaded, now)

    def refresh(self, now: float, priors: Priors, peers: FleetMedians = NO_PEERS) -> None:
        """Computes the figures from the samples."""
        usual = priors.throughput_p50 or peers.speed or DEFAULT_SPEED
        count = self.trend.usual.count(now)
        self.known = count >= ENOUGH
        mean, variance = self.trend.logs(count, log(usual), SPREAD**2)
        self.level = level([(self.trend, mean, variance)], now)
        self.load.refresh(now, sqrt(variance))
        self.token_s = blend_logs(self.trend.usual.mean_inverse(), count, MEAN_TOKEN / usual) / self.level
        found = self.trend.usual.quantiles(SHARES)
        self.quantiles = tuple(
            [blend_logs(one, count, over * usual) * self.level for one, over in zip(found, OVER, strict=True)]
        )

    def __repr__(self) -> str:
        return f"<Speeds p50={self.p50:.1f} level={self.level:.2f} {self.load!r}>"
