"""One connection to a Redis or Valkey, in the protocol RESP 2 that hiredis packs and parses.

    Connection.open(address) ──> send(commands) ──> receive(), once for each command, in order
    TCP, TLS or socket, then AUTH, SELECT, PING

The caller bounds every wait with `asyncio.timeout`: one deadline for a whole round trip, however slowly bytes drip in.
Whatever goes wrong is an OSError, and the connection is then to be closed: a late answer would be taken for another's.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable

import hiredis

from gateway.config.store_address import StoreAddress

READ_BYTES = 64 * 1024
MAX_REPLY = 64 * 1024 * 1024  # bytes; far above what is ever stored in one key

Command = tuple[bytes | str | int, ...]
Ask = Callable[..., Awaitable[object]]  # a command's parts -> the reply, never a refusal. Raises OSError

# A store that answers PING may refuse all else: when it is full, a replica, part of a cluster, short of disk. This does
# what the gateway does, by a script and with keys of two slots, and leaves nothing behind.
PROBE: Command = (
    "EVAL",
    "for _, key in ipairs(KEYS) do redis.call('SET', key, '', 'PX', 1000) end return redis.call('DEL', unpack(KEYS))",
    2,
    "gw:probe:1",
    "gw:probe:2",
)
PROBED = 2  # the reply that is due

_MORE = object()  # hiredis: the reply is not whole yet


class StoreError(ConnectionError):
    """The peer is no store, refuses us, or hung up."""


class RespConnection:
    """An open connection that has logged in. Send, then receive as many replies as commands were sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._parser = hiredis.Reader(notEnoughData=_MORE)

    @classmethod
    async def open(cls, address: StoreAddress) -> "RespConnection":
        """Connect and log in. Raises OSError; its message holds no secret."""
        connection = cls(*await _connect(address))
        try:
            await connection._introduce(address)
        except BaseException:
            connection.close()
            raise
        return connection

    async def send(self, commands: Iterable[Command]) -> None:
        """Hand commands to the network. Raises OSError when the connection is gone."""
        if self._writer.is_closing():
            raise StoreError("the store hung up")
        self._writer.write(b"".join(map(_packed, commands)))
        await self._writer.drain()

    async def receive(self) -> object:
        """The next reply: bytes, int, None, a list of replies, or a `hiredis.ReplyError`, which is a value too.

        Raises OSError when the connection is gone, or when what arrives is no reply.
        """
        try:
            while (reply := self._parser.gets()) is _MORE:
                self._parser.feed(await self._read())
        except (hiredis.ProtocolError, MemoryError, TypeError) as error:  # the last two: lengths and maps beyond sense
            raise StoreError(f"what answers is no store: {error}") from None
        return reply

    def close(self) -> None:
        """Close at once. Whatever is still unsent or unanswered is lost."""
        self._writer.transport.abort()

    async def _read(self) -> bytes:
        if self._parser.len() > MAX_REPLY:
            raise StoreError(f"an answer is longer than {MAX_REPLY} bytes")
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise StoreError("the store hung up")
        return data

    async def _introduce(self, address: StoreAddress) -> None:
        steps = list(_introduction(address))
        await self.send(command for command, _ in steps)
        for command, due in steps:
            reply = await self.receive()
            if reply != due:
                raise StoreError(refusal(command, reply))


async def _connect(address: StoreAddress) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.scheme == "unix":
        return await asyncio.open_unix_connection(address.path)
    tls = None
    if address.scheme == "rediss":  # in a thread, because reading the system's certificates takes many milliseconds
        tls = await asyncio.to_thread(ssl.create_default_context, cafile=address.certificates)
    return await asyncio.open_connection(address.host, address.port, ssl=tls)


def _introduction(address: StoreAddress) -> Iterable[tuple[Command, bytes]]:
    """Commands with the replies that are due."""
    if address.user:
        yield ("AUTH", address.user, address.password), b"OK"
    elif address.password:
        yield ("AUTH", address.password), b"OK"
    if address.database:
        yield ("SELECT", address.database), b"OK"
    yield ("PING",), b"PONG"


def refusal(command: Command, reply: object) -> str:
    """What a reply that is not due says, in words that may be logged."""
    if not isinstance(reply, hiredis.ReplyError):
        return f"what answers {command[0]!s} is no store"
    # A store without AUTH repeats its arguments ("unknown command, with args beginning with"): only the code is told.
    told = str(reply).partition(" ")[0] if command[0] == "AUTH" else str(reply)
    return f"the store refuses {command[0]!s}: {told}"


def _packed(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub means a tuple of any length
    return packed
