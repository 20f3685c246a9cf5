"""A connection to the store for background work: kept open, one command at a time.

repeat(work) ──> attempt(step) ──> execute(command) ──> RespConnection
                     └── fails: closed, logged once; the next attempt reconnects
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway.config.store_address import StoreAddress
from gateway.state.resp import PROBE, PROBED, RespConnection, StoreError, rejection

REPLY_WITHIN = 5.0  # seconds for one reply, connecting included
POLL = 1.0  # seconds

_log = logging.getLogger(__name__)


class Link:
    """`name` and `failing` are the log message when the store fails. ConfigError for an invalid `url`."""

    def __init__(self, url: str, name: str, failing: str) -> None:
        self._address = StoreAddress.parse(url)
        self._name = name
        self._failing = failing
        self._connection: RespConnection | None = None
        self.up: bool | None = None  # whether the last attempt reached the store; None before the first

    def __repr__(self) -> str:
        return f"<Link {self._name}: store {'up' if self.up else 'not reached'}>"

    async def attempt(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Runs `step` once; False when it raised OSError. A change since the last attempt is logged."""
        try:
            await step()
        except OSError as error:
            if self.up is not False:
                reason = str(error) or f"no reply within {REPLY_WITHIN:g} s"
                _log.warning("%s: %s: %s", self._name, self._failing, reason)
            self.up = False
        else:
            if self.up is False:
                _log.warning("%s: the store is back", self._name)
            self.up = True
        return self.up

    async def execute(self, *command: bytes | str | int) -> object:
        """The store's reply, errors included. OSError when the store cannot be reached."""
        try:
            async with asyncio.timeout(REPLY_WITHIN):
                if self._connection is None:
                    self._connection = await RespConnection.open(self._address)
                await self._connection.send([command])
                return await self._connection.receive()
        except BaseException:  # cancelled too: a late reply would be read as the next command's
            self.close()
            raise

    async def writable(self) -> None:
        """Returns when the store takes writes. OSError when it does not, or cannot be reached."""
        reply = await self.execute(*PROBE)
        if reply != PROBED:
            raise StoreError(rejection(PROBE, reply))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


async def repeat(
    work: Callable[[], Awaitable[bool]],
    longest: float,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Calls `work` once a second until cancelled; while it fails, after 2 s, 4 s, ... up to `longest` seconds."""
    wait = POLL
    while True:
        wait = POLL if await work() else min(2 * wait, longest)
        await pause(wait)
