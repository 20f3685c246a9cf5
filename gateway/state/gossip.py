"""Workers and replicas share state through the store: live state, where prompts were sent, and measurements.

    Fleet ──> Presence, Prefixes, Measurements ──once a second──> store ──> those of the other workers ──> their Fleets

No request waits for this: a decision uses what its own worker knows, which lags the others by seconds. While the store
is down, every worker goes on with what it has. Ages are measured on the store's clock, so the clocks of the machines
need not agree. Entries that cannot be decoded are skipped.
"""

import os
from collections.abc import Callable, Mapping

from gateway.route.fleet import Fleet
from gateway.state.link import Link, repeat
from gateway.state.measurements import Measurements
from gateway.state.prefixes import Prefixes
from gateway.state.presence import KEY, Presence
from gateway.state.store_error import StoreError
from gateway.state.store_script import StoreScript

_TIME = StoreScript("return redis.call('TIME')")  # with a key, by which a Cluster's node is found
LONGEST_WAIT = 8.0  # seconds between attempts while the store is down


class Gossip:
    """One per worker. `fleets` by model id; `clock` is the clock of their attempts."""

    def __init__(self, fleets: Mapping[str, Fleet], url: str, clock: Callable[[], float]) -> None:
        me = os.urandom(8).hex().encode()
        self._presence = Presence(fleets, clock, me)
        self._prefixes = Prefixes(fleets, clock, me)
        self._measurements = Measurements(fleets, clock, me)
        self._link = Link(url, "gossip", "workers do not share state, the store fails")

    def __repr__(self) -> str:
        return f"<Gossip {self._link!r}, {self._prefixes!r}>"

    async def run(self) -> None:
        """Shares until cancelled. While the store is down, retries after 2 s, 4 s, 8 s."""
        await repeat(self.share, LONGEST_WAIT)

    async def share(self) -> bool:
        """Publishes what is new and reads what others published since; False when the store could not be reached."""
        reached = await self._link.attempt(self._share)
        if not reached:
            self._presence.forget()
        return reached

    def take(self, fleets: Mapping[str, Fleet]) -> None:
        """Shares these fleets from now on: those of a new configuration."""
        for part in (self._presence, self._prefixes, self._measurements):
            part.take(fleets)

    def close(self) -> None:
        self._link.close()

    async def _share(self) -> None:
        at, execute = await self._time(), self._link.execute
        await self._presence.share(execute, at)  # first, because new workers read prefixes for seconds
        await self._prefixes.share(execute, at)
        await self._measurements.share(execute, at)

    async def _time(self) -> float:
        """Seconds on the clock of the server that has the keys."""
        match await self._link.run(_TIME, [KEY], []):
            case [bytes() as seconds, bytes() as micros] if seconds.isdigit() and micros.isdigit():
                return int(seconds) + int(micros) / 1e6
        raise StoreError("an unexpected reply to EVALSHA")
