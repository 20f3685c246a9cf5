"""How much slower an endpoint answers when more is in flight there than usual.

    seconds = usual seconds x ((in flight + ROOM) / (usual in flight + ROOM)) ^ exponent

`ROOM` stands for what the host does for others. The exponent is learned from the endpoint's own answers: 0 where
our requests are too few for the host to notice, 1 where twice as many take twice as long. Without it a burst would go
where the first request of it is best off, because no answer has told of the burst yet.
"""

from math import exp2, log

ROOM = 4.0  # requests
HALF_LIFE = 600.0  # seconds, as that of the times to first token
ALONE = 3.0  # samples with one request in flight that count at the start
LIKELY = 0.5  # the exponent at the start
FIRMNESS = 4.0  # how much that counts: as if its standard error had been 1/2
STEEPEST = 1.5
LARGEST_LOG = 1.5  # of a slowness: an answer that took 4.5 times as long says enough


class Crowd:
    """What one endpoint's answers say about its load. In flight counts the request itself, so it is at least 1."""

    __slots__ = ("_at", "_count", "_in_flight", "_xx", "_xy", "exponent", "usual")

    def __init__(self) -> None:
        self.usual = 1.0
        self.exponent = LIKELY
        self._at = 0.0
        self._count = self._in_flight = self._xx = self._xy = 0.0

    def answered(self, in_flight: int, slowness: float | None, now: float) -> None:
        """An answer to a request that was one of so many when it was sent.

        `slowness`: its time to first token over the usual one; None where that is not known well.
        """
        self._fade(now)
        if slowness is not None:
            x = log((in_flight + ROOM) / (self.usual + ROOM))
            y = max(-LARGEST_LOG, min(LARGEST_LOG, log(max(slowness, 1e-3))))
            self._xx += x * x
            self._xy += x * y
            self.exponent = max(0.0, min(STEEPEST, (self._xy + FIRMNESS * LIKELY) / (self._xx + FIRMNESS)))
        self._count += 1
        self._in_flight += in_flight
        self.usual = (self._in_flight + ALONE) / (self._count + ALONE)

    def factor(self, in_flight: int) -> float:
        """How many times as long as usual an answer is expected to take; never less than 1."""
        if in_flight <= self.usual:
            return 1.0
        return float(((in_flight + ROOM) / (self.usual + ROOM)) ** self.exponent)

    def _fade(self, now: float) -> None:
        if now > self._at:
            keep = exp2((self._at - now) / HALF_LIFE)
            self._count *= keep
            self._in_flight *= keep
            self._xx *= keep
            self._xy *= keep
            self._at = now

    def __repr__(self) -> str:
        return f"<Crowd usual={self.usual:.1f} exponent={self.exponent:.2f}>"
