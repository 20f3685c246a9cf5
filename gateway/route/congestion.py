"""How much slower an endpoint answers at more requests in flight than it is known to carry.

    factor = 1                                                    up to `carried` requests in flight
           = 1 + steepness x (in flight - carried) / (carried + ROOM)          beyond

Both are learned from the endpoint's own answers. `carried` is the most that was in flight without slower answers;
`steepness` is what the answers beyond it have shown. A burst therefore spreads before any answer has shown it, and
an endpoint that carries much is used for much.

In flight counts the request itself, so it is at least 1.
"""

from bisect import bisect_left
from math import expm1, sqrt

from gateway.route.sketch import Rate

EDGES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)  # the most in flight of each bucket but the last
MIDDLES = (1.0, 2.0, 3.0, 4.0, 5.5, 7.5, 10.5, 14.5, 20.5, 28.5, 40.5, 56.5, 80.5, 112.5, 160.5, 224.5, 384.0)
HALF_LIFE = 1_200.0  # seconds
MOST = 200.0  # samples of a bucket
FEWEST = 3.0  # samples without which a bucket says nothing
SLOWER = 0.10  # of the logarithm: smaller slowdowns are ignored
ROOM = 4.0  # requests, that any host is taken to carry
FIRMNESS = 8.0  # weight of the prior steepness, in answers at twice the carried load
STEEPEST = 4.0
LARGEST_LOG = 1.5  # of a slowness: an answer that took 4.5 times as long says enough
EVERY = 2.0  # seconds between two fits


class Congestion:
    """One endpoint's answers by what was in flight when their requests were sent: a rate for each bucket."""

    __slots__ = ("_due", "_likely", "carried", "rates", "shown", "steepness")

    def __init__(self, likely: float) -> None:
        """`likely` is the steepness before any answer."""
        self._likely = likely
        self.rates = [Rate(HALF_LIFE, MOST) for _ in MIDDLES]
        self._due = 0.0
        self.carried = ROOM
        self.steepness = likely
        self.shown = 0.0  # the part of it that answers have shown

    def add(self, in_flight: float, slowness: float, now: float) -> None:
        """An answer came. `slowness` is the logarithm of its time over the usual time without load."""
        self.rates[bisect_left(EDGES, in_flight)].add(max(-LARGEST_LOG, min(LARGEST_LOG, slowness)), now)

    def refresh(self, now: float, scatter: float) -> None:
        """Computes the factors from the samples. `scatter` is the usual standard deviation of their slowness."""
        if now >= self._due:
            self._due = now + EVERY
            self._fit(now, scatter)

    def factor(self, in_flight: float) -> float:
        """How many times as long as without load an answer is expected to take; never less than 1."""
        beyond = in_flight - self.carried
        return 1 + self.steepness * beyond / (self.carried + ROOM) if beyond > 0 else 1.0

    def shown_factor(self, in_flight: float) -> float:
        """The same by answers alone, without caution: what a sample is divided by to be one without load."""
        beyond = in_flight - self.carried
        return 1 + self.shown * beyond / (self.carried + ROOM) if beyond > 0 else 1.0

    def _fit(self, now: float, scatter: float) -> None:
        known = [
            (middle, count, bucket.sum(now) / count)
            for middle, bucket in zip(MIDDLES, self.rates, strict=True)
            if (count := bucket.count(now)) >= FEWEST
        ]
        self.carried = ROOM
        weight = total = 0.0
        beyond: list[tuple[float, float, float]] = []
        for middle, count, slowness in known:
            usual = total / weight if weight else slowness
            if not beyond and slowness - usual <= SLOWER + scatter / sqrt(count):
                self.carried = max(self.carried, middle)
                weight += count
                total += count * slowness
            else:
                beyond.append((middle, count, slowness - usual))
        xx, xy = self._moments(beyond)
        self.steepness = max(0.0, min(STEEPEST, (xy + FIRMNESS * self._likely) / (xx + FIRMNESS)))
        self.shown = max(0.0, min(STEEPEST, xy / (xx + FIRMNESS)))

    def _moments(self, beyond: list[tuple[float, float, float]]) -> tuple[float, float]:
        xx = xy = 0.0
        for middle, count, slowness in beyond:
            x = max(0.0, middle - self.carried) / (self.carried + ROOM)
            xx += count * x * x
            xy += count * x * expm1(slowness)
        return xx, xy

    def __repr__(self) -> str:
        return f"<Congestion carried={self.carried:.1f} steepness={self.steepness:.2f}>"
