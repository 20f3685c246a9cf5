"""When a request counts as late: later than a share of all that its policy sent, at its prompt size.

    every wait for a first token ──> one sketch for each size class ──after(97 %)──> seconds

All endpoints of a policy share the sketches. Measured by an endpoint's own answers, a slow one would never be late and
a fast one would be all the time; measured together, those are late whose clients wait longest.
"""

from gateway.route.endpoint import ENOUGH, SIZES
from gateway.route.sketch import Sketch

LOOK_EVERY = 16  # samples: a quantile moves slowly, and takes longer than a sample


class Lateness:
    """The waits of one policy's requests, in seconds."""

    __slots__ = ("_after", "_samples", "_share", "_waits")

    def __init__(self) -> None:
        kinds = len(SIZES) + 1
        self._waits = [Sketch() for _ in range(kinds)]
        self._samples = [0] * kinds
        self._after = [0.0] * kinds
        self._share = 0.0

    def waited(self, seconds: float, size: int, now: float) -> None:
        """A first token came after so many seconds, or had not come by then."""
        self._waits[size].add(seconds, now)
        self._samples[size] += 1
        if self._samples[size] % LOOK_EVERY == 0 and self._waits[size].count(now) >= ENOUGH:
            self._after[size] = self._waits[size].quantiles((self._share,))[0]

    def after(self, share: float, size: int) -> float:
        """Seconds that this share of the requests of this size class do not exceed; 0 while that is not known."""
        self._share = share
        return self._after[size]

    def __repr__(self) -> str:
        return f"<Lateness {self._share:.1%}: {' '.join(f'{seconds:.2f}' for seconds in self._after)}>"
