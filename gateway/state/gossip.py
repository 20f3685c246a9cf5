"""Workers and replicas share, through the store, what holds now, where prompts were sent and what was measured.

    Fleet ──> Presence, Prefixes, Measurements ──once a second──> store ──> those of the other workers ──> their Fleets

No request waits for this: a decision reads what its own worker knows, which is seconds behind what the others know.
While the store is away, every worker goes on with what it has. Ages are measured on the store's clock, so the clocks
of the machines need not agree. What cannot be read is skipped.
"""

import os
from collections.abc import Callable, Mapping

from hiredis import ReplyError

from gateway.route.fleet import Fleet
from gateway.state.link import Link, repeat
from gateway.state.measurements import Measurements
from gateway.state.prefixes import Prefixes
from gateway.state.presence import Presence
from gateway.state.resp import StoreError

LONGEST_WAIT = 8.0  # seconds between attempts while the store is away


class Gossip:
    """One per worker. `fleets` by model id; `clock` is the one that their attempts are timed with."""

    def __init__(self, fleets: Mapping[str, Fleet], url: str, clock: Callable[[], float]) -> None:
        me = os.urandom(8).hex().encode()
        self._presence = Presence(fleets, clock, me)
        self._prefixes = Prefixes(fleets, clock, me)
        self._measurements = Measurements(fleets, clock, me)
        self._link = Link(url, "gossip", "workers do not learn from each other, the store fails")

    def __repr__(self) -> str:
        return f"<Gossip {self._link!r}, {self._prefixes!r}>"

    async def run(self) -> None:
        """Tell and listen until cancelled. While the store is away, try again after 2 s, 4 s, 8 s."""
        await repeat(self.share, LONGEST_WAIT)

    async def share(self) -> bool:
        """Tell what is new and take in what others told since; False when the store could not be reached."""
        reached = await self._link.attempt(self._share)
        if not reached:
            self._presence.forget()
        return reached

    def close(self) -> None:
        self._link.close()

    async def _share(self) -> None:
        at = await self._time()
        await self._presence.share(self._ask, at)  # first: newcomers read prefixes for seconds
        await self._prefixes.share(self._ask, at)
        await self._measurements.share(self._ask, at)

    async def _time(self) -> float:
        """Seconds on the store's clock."""
        match await self._ask("TIME"):
            case [bytes() as seconds, bytes() as micros] if seconds.isdigit() and micros.isdigit():
                return int(seconds) + int(micros) / 1e6
        raise StoreError("what answers TIME is no store")

    async def _ask(self, *command: bytes | str | int) -> object:
        """What the store replies. OSError when it cannot be reached, or refuses."""
        reply = await self._link.ask(*command)
        if isinstance(reply, ReplyError):
            raise StoreError(f"the store refuses {command[0]!s}: {reply}")
        return reply
