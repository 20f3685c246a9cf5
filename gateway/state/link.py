"""A connection to the store for background work: kept open, one command at a time.

repeat(work) ──> attempt(step) ──> execute(command) ──> the server of its first key ──> StoreConnection
                     └── fails: closed, logged once; the next attempt reconnects
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from gateway.config.store_address import StoreAddress
from gateway.state.store_error import ASKING, NOSCRIPT, READONLY, TRYAGAIN, Command, ErrorReply, StoreError
from gateway.state.store_script import StoreScript
from gateway.state.topologies import find
from gateway.state.topology import Topology, probed

if TYPE_CHECKING:
    from gateway.state.store_connection import StoreConnection

REPLY_WITHIN = 5.0  # seconds for the replies, connecting included
POLL = 1.0  # seconds
MOST_HOPS = 5  # of one command from server to server
MOST_TRIES, TRY_AGAIN_AFTER = 10, 0.05  # of a command whose slot moves; seconds
WITHOUT_KEYS = {"PING", "TIME"}

_log = logging.getLogger(__name__)


class Link:
    """`name` and `failing` are the log message when the store fails. ConfigError for an invalid `url`."""

    def __init__(self, url: str, name: str, failing: str) -> None:
        self._address = StoreAddress.parse(url)
        self._name = name
        self._failing = failing
        self._topology: Topology | None = None
        self._connections: dict[str, StoreConnection] = {}  # by server, no more than the store has
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
        """The store's reply. ErrorReply for an error reply; another OSError when the store cannot be reached: then the
        command may have been executed, and is not sent again."""
        return (await self.execute_all([command]))[0]

    async def execute_all(self, commands: Sequence[Command]) -> list[object]:
        """The replies to commands that are sent together. Raises the first error reply, as `execute` does."""
        try:
            async with asyncio.timeout(REPLY_WITHIN):
                replies = await self._exchange(commands)
        except BaseException:  # cancelled too: a late reply would be read as the next command's
            self.close()
            raise
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ErrorReply):
                if reply.code == READONLY:  # it was a master: the next connection looks for the new one
                    self.close()
                raise reply.of(command)
        return replies

    async def run(
        self, script: StoreScript, keys: Sequence[bytes | str], arguments: Sequence[bytes | str | int]
    ) -> object:
        """The reply of a script, which is sent whole where the store does not have it yet. Raises as `execute` does."""
        try:
            return await self.execute("EVALSHA", script.name, len(keys), *keys, *arguments)
        except ErrorReply as error:
            if error.code != NOSCRIPT:
                raise
        return await self.execute("EVAL", script.text, len(keys), *keys, *arguments)

    async def writable(self, tag: str) -> None:
        """Returns when the server of the keys with this hash tag takes writes. OSError when it does not, or cannot be
        reached."""
        topology = await self._found()
        command = topology.probe("", f"gw:{{{tag}}}:probe".encode())
        if command is not None and (problem := probed(command, await self.execute(*command))):
            raise problem

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections = {}

    async def _found(self) -> Topology:
        self._topology = self._topology or await find(self._address)
        return self._topology

    async def _exchange(self, commands: Sequence[Command]) -> list[object]:
        topology = await self._found()
        if not self._connections:
            await topology.load()
        servers = [_server(topology, command) for command in commands]
        for server in dict.fromkeys(servers):
            connection = await self._connected(topology, server)
            await connection.send([command for command, of in zip(commands, servers, strict=True) if of == server])
        replies = [await self._connections[server].receive() for server in servers]
        for place, reply in enumerate(replies):
            if isinstance(reply, ErrorReply):
                replies[place] = await self._followed(topology, commands[place], reply, servers[place])
        return replies

    async def _connected(self, topology: Topology, server: str) -> "StoreConnection":
        connection = self._connections.get(server)
        if connection is not None and await connection.ended():  # the server was restarted, or failed over
            connection.close()
            connection = None
        if connection is None:
            connection = self._connections[server] = await topology.open(server)
        return connection

    async def _followed(self, topology: Topology, command: Command, reply: ErrorReply, server: str) -> object:
        """The final reply, after an error reply that may say to try elsewhere or later."""
        hops, tries, answer, asking = 0, 0, object(), False
        answer = reply
        while isinstance(answer, ErrorReply) and hops < MOST_HOPS and tries < MOST_TRIES:
            if answer.code == TRYAGAIN:
                tries += 1
                await asyncio.sleep(TRY_AGAIN_AFTER)
            elif target := await topology.redirect(answer, server):
                server, asking = target
                hops += 1
            else:
                break
            connection = await self._connected(topology, server)
            await connection.send([ASKING, command] if asking else [command])
            if asking:
                await connection.receive()
            answer = await connection.receive()
        return answer


def _server(topology: Topology, command: Command) -> str:
    key = _key(command)
    server = next(iter(sorted(topology.servers())), None) if key is None else topology.owner(key)
    if server is None:
        raise StoreError("the Cluster has no node for the key's slot")
    return server


def _key(command: Command) -> bytes | None:
    """A command's first key."""
    name = command[0].decode() if isinstance(command[0], bytes) else str(command[0])
    if name in WITHOUT_KEYS:
        return None
    place = 3 if name in ("EVAL", "EVALSHA") else command.index("STREAMS") + 1 if name == "XREAD" else 1
    key = command[place] if place < len(command) else None
    return key if isinstance(key, bytes | None) else str(key).encode()


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
