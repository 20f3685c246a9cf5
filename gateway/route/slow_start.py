"""Slow start: an endpoint that came into use, or back, is trusted with few requests at once, then with more.

    began ──> 2 at once ──each success adds one, so twice as many each round──> 32, then as many as come
                 ^──────────────a fault halves what it has──────────────'

Counted in answers and not in seconds, because answers are what shows that it holds.
"""

from math import inf

FIRST = 2.0  # requests at once
ENOUGH_AT_ONCE = 32.0


class SlowStart:
    """How many requests one endpoint may have in flight; no limit unless it `began`."""

    __slots__ = ("window",)

    def __init__(self) -> None:
        self.window = inf

    def begin(self) -> None:
        self.window = FIRST

    def ended(self, good: bool) -> None:
        """One request succeeded or failed, while there is a limit."""
        if self.window == inf:
            return
        if not good:
            self.window = max(FIRST, self.window // 2)
        elif self.window < ENOUGH_AT_ONCE - 1:
            self.window += 1
        else:
            self.window = inf

    def __repr__(self) -> str:
        return f"<Ramp {self.window:g}>"
