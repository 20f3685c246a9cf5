"""Loads of a fixed size: requests that come at a rate whether or not earlier ones are answered, and streams held open.

Arrivals(call, rate=2000, seconds=1)     2,000 requests/s; a late answer does not slow the next request down
Held(call, streams=500, seconds=2)       500 streams at once, one on each connection
"""

import asyncio
import signal
from collections import deque
from time import perf_counter

from bench.load import Call, Connection, Load, Result

TICK = 0.0002  # seconds between two looks at what is to be sent; the event loop's own timers are five times coarser
AT_FIRST = 16  # connections
AT_MOST = 512
BACKLOG = 0.25  # seconds; a subject that is so far behind cannot keep up


class Held(Load):
    """Streams that are open at the same time, opened within a quarter of the run."""

    grace = 1.0

    def __init__(self, call: Call, streams: int, seconds: float) -> None:
        super().__init__(call, streams, seconds=seconds, requests=streams, spread=seconds / 4)


class Arrivals(Load):
    """Requests at even distances. Latencies count from the moment at which a request was to be sent."""

    grace = 1.0

    def __init__(self, call: Call, rate: float, seconds: float) -> None:
        super().__init__(call, AT_FIRST, seconds=seconds)
        self._rate = rate
        self._made = 0
        self._idle: list[Connection] = []
        self._due: deque[float] = deque()

    async def run(self) -> Result:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
        try:
            return await super().run()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            loop.remove_signal_handler(signal.SIGALRM)

    def free(self, connection: Connection) -> None:
        if self._due:
            self._send(connection)
        elif perf_counter() >= self._until:
            connection.finish()
        else:
            self._idle.append(connection)

    def closed(self, connection: Connection, finished: bool) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        super().closed(connection, finished)

    def _tick(self) -> None:
        now = perf_counter()
        while self._made < (min(now, self._until) - self._began) * self._rate:
            self._due.append(self._began + self._made / self._rate)
            self._made += 1
        while self._due and self._idle:
            self._send(self._idle.pop())
        if now >= self._until:
            while self._idle:
                self._idle.pop().finish()
        elif self._due and now - self._due[0] > BACKLOG:
            self.fail("requests come faster than they are answered")
            self._until = now
            self._due.clear()
        elif len(self._due) > self._active - len(self._open) and self._active < AT_MOST:
            self._active += 1
            self.connect()

    def _send(self, connection: Connection) -> None:
        connection.ask(self.payload(), self._due.popleft())
