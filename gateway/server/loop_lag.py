"""How late a worker's event loop is: a worker without CPU time left takes fewer requests.

    look every 100 ms ── on time ──> the lower limit of requests grows, if there is one
                     └── late ─────> `LOOKS` times in a row: a tenth fewer than are in flight

The loop is late when there is more to do than CPU time. A single long step, such as parsing a body of 16 MB, makes one
look late, and not several.
"""

import asyncio
from collections.abc import Callable

from gateway.server.admission import Admission

EVERY = 0.1  # seconds between two looks
LATE = 0.1  # seconds
LOOKS = 5


class LoopLag:
    """Of one worker. `clock` is the loop's."""

    def __init__(self, load: Admission, clock: Callable[[], float]) -> None:
        self._load = load
        self._clock = clock
        self._late = 0  # looks in a row
        self._worst = 0.0  # seconds

    def __repr__(self) -> str:
        return f"<LoopLag {self._late} late, worst {self._worst:.3f} s>"

    def take_worst(self) -> float:
        """The longest lag since the last call, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    async def watch(self) -> None:
        """Looks regularly. Never returns."""
        while True:
            due = self._clock() + EVERY
            await asyncio.sleep(EVERY)
            self.look(max(0.0, self._clock() - due))

    def look(self, lag: float) -> None:
        """`lag`: seconds by which this look is late."""
        self._worst = max(self._worst, lag)
        self._late = self._late + 1 if lag > LATE else 0
        if self._late >= LOOKS:
            self._late = 0
            self._load.slow_down()
        elif not self._late and self._load.slowed:
            self._load.speed_up()
