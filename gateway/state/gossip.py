"""Workers and replicas tell each other, through the store, where prompts were sent and what was measured.

    Fleet ──> Prefixes, Measurements ──once a second──> store ──> the others' Prefixes, Measurements ──> their Fleets

No request waits for this: a decision reads what its own worker knows, which is seconds behind what the others know.
While the store is away, every worker goes on with what it has. Ages are measured on the store's clock, so the clocks
of the machines need not agree. What cannot be read is skipped.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping

from hiredis import ReplyError

from gateway.route.fleet import Fleet
from gateway.state.address import Address
from gateway.state.measurements import Measurements
from gateway.state.prefixes import Prefixes
from gateway.state.resp import Command, Connection, StoreError

ANSWER_WITHIN = 5.0  # seconds for one answer, connecting included
POLL = 1.0  # seconds
LONGEST_WAIT = 8.0  # seconds between attempts while the store is away

_log = logging.getLogger(__name__)


class Gossip:
    """One per worker. `fleets` by model id; `clock` is the one that their attempts are timed with."""

    def __init__(self, fleets: Mapping[str, Fleet], url: str, clock: Callable[[], float]) -> None:
        me = os.urandom(8).hex().encode()
        self._prefixes = Prefixes(fleets, clock, me)
        self._measurements = Measurements(fleets, clock, me)
        self._address = Address.parse(url)
        self._connection: Connection | None = None
        self._up = True  # until an attempt fails

    def __repr__(self) -> str:
        return f"<Gossip store {'up' if self._up else 'not reached'}, {self._prefixes!r}>"

    async def run(self) -> None:
        """Tell and listen until cancelled. While the store is away, try again after 2 s, 4 s, 8 s."""
        wait = POLL
        while True:
            wait = POLL if await self.share() else min(2 * wait, LONGEST_WAIT)
            await asyncio.sleep(wait)

    async def share(self) -> bool:
        """Tell what is new and take in what others told since; False when the store could not be reached."""
        try:
            at = await self._time()
            await self._prefixes.share(self._ask, at)
            await self._measurements.share(self._ask, at)
        except OSError as error:
            self._report(False, error)
            return False
        self._report(True, None)
        return True

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _time(self) -> int:
        match await self._ask("TIME"):
            case [bytes() as seconds, bytes()] if seconds.isdigit():
                return int(seconds)
        raise StoreError("what answers TIME is no store")

    async def _ask(self, *command: bytes | str | int) -> object:
        """What the store replies. OSError when it cannot be reached, or refuses."""
        reply = await self._exchange(command)
        if isinstance(reply, ReplyError):
            raise StoreError(f"the store refuses {command[0]!s}: {reply}")
        return reply

    async def _exchange(self, command: Command) -> object:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                if self._connection is None:
                    self._connection = await Connection.open(self._address)
                await self._connection.send([command])
                return await self._connection.receive()
        except BaseException:  # cancelled, too: a reply that is still on its way would be taken for the next one's
            self.close()
            raise

    def _report(self, up: bool, error: Exception | None) -> None:
        if up == self._up:
            return
        if up:
            _log.warning("gossip: the store is back")
        else:
            reason = str(error) or f"no answer within {ANSWER_WITHIN:g} s"
            _log.warning("gossip: workers do not learn from each other, the store fails: %s", reason)
        self._up = up
