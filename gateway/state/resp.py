"""One connection to a Redis or Valkey, in RESP 2, which hiredis packs and parses.

    RespConnection.open(address) ──> send(commands) ──> receive(), once for each command, in order
    TCP, TLS or socket, then AUTH, SELECT, PING

The caller bounds every wait with `asyncio.timeout`: one deadline for a whole round trip, however slowly bytes arrive.
Every failure is an OSError, after which the connection must be closed: a late reply would be read as another command's.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable

import hiredis

from gateway.config.store_address import StoreAddress

READ_BYTES = 64 * 1024
MAX_REPLY = 64 * 1024 * 1024  # bytes; far more than any key holds

Command = tuple[bytes | str | int, ...]
Execute = Callable[..., Awaitable[object]]  # a command's parts -> the reply, never an error reply. Raises OSError

# A store that replies to PING may reject writes: when it is full, a replica, part of a cluster, or short of disk. The
# probe writes as the gateway does, by a script and with keys of two slots, and leaves nothing behind.
PROBE: Command = (
    "EVAL",
    "for _, key in ipairs(KEYS) do redis.call('SET', key, '', 'PX', 1000) end return redis.call('DEL', unpack(KEYS))",
    2,
    "gw:probe:1",
    "gw:probe:2",
)
PROBED = 2  # the expected reply

_MORE = object()  # hiredis: the reply is incomplete


class StoreError(ConnectionError):
    """The peer is not a Redis, rejects a command, or closed the connection."""


class RespConnection:
    """An open connection after login. Send commands, then receive as many replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = hiredis.Reader(notEnoughData=_MORE)

    @classmethod
    async def open(cls, address: StoreAddress) -> "RespConnection":
        """Connects and logs in. Raises OSError; its message holds no secret."""
        connection = cls(*await _connect(address))
        try:
            await connection._log_in(address)
        except BaseException:
            connection.close()
            raise
        return connection

    async def send(self, commands: Iterable[Command]) -> None:
        """Writes commands. Raises OSError when the connection is closed."""
        if self._writer.is_closing():
            raise StoreError("the store closed the connection")
        self._writer.write(b"".join(map(_packed, commands)))
        await self._writer.drain()

    async def receive(self) -> object:
        """The next reply: bytes, int, None, a list of replies, or a `hiredis.ReplyError`, which is returned, not
        raised.

        Raises OSError when the connection is closed, or when the data is not a reply.
        """
        try:
            while (reply := self._parser.gets()) is _MORE:
                self._parser.feed(await self._read())
        except (hiredis.ProtocolError, MemoryError, TypeError) as error:  # the last two: absurd lengths and maps
            raise StoreError(f"the server does not use the Redis protocol: {error}") from None
        return reply

    def close(self) -> None:
        """Closes at once. Unsent commands and unread replies are lost."""
        self._writer.transport.abort()

    async def _read(self) -> bytes:
        if self._parser.len() > MAX_REPLY:
            raise StoreError(f"a reply is longer than {MAX_REPLY} bytes")
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise StoreError("the store closed the connection")
        return data

    async def _log_in(self, address: StoreAddress) -> None:
        steps = list(_login(address))
        await self.send(command for command, _ in steps)
        for command, expected in steps:
            reply = await self.receive()
            if reply != expected:
                raise StoreError(rejection(command, reply))


async def _connect(address: StoreAddress) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.scheme == "unix":
        return await asyncio.open_unix_connection(address.path)
    tls = None
    if address.scheme == "rediss":  # in a thread, because reading the system's certificates takes many milliseconds
        tls = await asyncio.to_thread(ssl.create_default_context, cafile=address.certificates)
    return await asyncio.open_connection(address.host, address.port, ssl=tls)


def _login(address: StoreAddress) -> Iterable[tuple[Command, bytes]]:
    """The login commands with their expected replies."""
    if address.user:
        yield ("AUTH", address.user, address.password), b"OK"
    elif address.password:
        yield ("AUTH", address.password), b"OK"
    if address.database:
        yield ("SELECT", address.database), b"OK"
    yield ("PING",), b"PONG"


def rejection(command: Command, reply: object) -> str:
    """The message for an unexpected reply, without secrets."""
    if not isinstance(reply, hiredis.ReplyError):
        return f"the reply to {command[0]!s} is not one of Redis"
    # A server without AUTH quotes its arguments ("unknown command, with args beginning with"): only the code is safe.
    reason = str(reply).partition(" ")[0] if command[0] == "AUTH" else str(reply)
    return f"the store rejected {command[0]!s}: {reason}"


def _packed(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub means a tuple of any length
    return packed
