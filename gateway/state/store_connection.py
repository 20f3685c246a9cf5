"""One connection to a server of the store, made by redis-py, in RESP 2.

    Opener.open(host) ──> StoreConnection.send(commands) ──> receive(), once for each command, in order
    TCP, TLS or socket, then AUTH, SELECT

The caller bounds every wait with `asyncio.timeout`: one deadline for a whole round trip, however slowly bytes arrive.
Every failure is an OSError, after which the connection must be closed: a late reply would be read as another command's.

Importing this module imports redis-py, so only `topology.find` and what it loads import it.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from gateway.config.store_address import Host, StoreAddress
from gateway.state.store_error import Command, ErrorReply, StoreError

_CLOSED = "Connection closed by server."  # redis-py's words for the end of a connection
_ENDED = "the store closed the connection"


class StoreConnection:
    """An open connection after login. Send commands, then receive as many replies."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    @classmethod
    async def opened(cls, connection: AbstractConnection) -> "StoreConnection":
        """Connects and logs in. Raises OSError; its message holds no secret."""
        opened = cls(connection)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException as error:
            opened.close()
            if isinstance(error, Exception):
                raise store_error(error) from None
            raise
        return opened

    async def send(self, commands: Iterable[Command]) -> None:
        """Writes commands. Raises OSError when the connection is closed."""
        # redis-py's own way packs in Python, connects again without a word, and takes 10 us more for each round trip.
        writer = self._connection._writer
        if writer is None or writer.is_closing():
            raise StoreError(_ENDED)
        writer.write(b"".join(map(_packed, commands)))
        await writer.drain()

    async def receive(self) -> object:
        """The next reply: bytes, int, None, a list of replies, or an `ErrorReply`, which is returned, not raised.

        Raises OSError when the connection is closed, or when the data is not a reply.
        """
        try:
            return await self._connection.read_response()
        except (
            Exception
        ) as error:  # not only RedisError: absurd lengths, and an error reply that is not one, raise others
            found = store_error(error)
        if isinstance(found, ErrorReply):
            return found
        raise found

    async def ended(self) -> bool:
        """Whether an idle connection was closed by the server, or holds a reply to no command."""
        writer = self._connection._writer
        try:
            return writer is None or writer.is_closing() or await self._connection.can_read()
        except RedisError:
            return True

    def close(self) -> None:
        """Closes at once. Unsent commands and unread replies are lost."""
        # redis-py itself waits until all is sent, or lets go of the connection without closing it.
        if self._connection._writer is not None:
            self._connection._writer.transport.abort()
        self._connection._close()  # type: ignore[no-untyped-call]


class TlsConnection(SSLConnection):
    """TLS with a context that is made beforehand: to make one reads files."""

    def __init__(self, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context


class Opener:
    """Opens connections to the servers of an address."""

    def __init__(self, address: StoreAddress) -> None:
        self.address = address

    async def open(self, host: Host | None, options: Mapping[str, Any] | None = None) -> StoreConnection:
        """Connects to `host`, or to the unix socket. `options`: as `self.options` gave them. Raises OSError."""
        chosen = dict(options or await self.options())
        kind: type[AbstractConnection] = chosen.pop("connection_class")
        place = {"path": self.address.path} if host is None else {"host": host.name, "port": host.port}
        try:
            return await StoreConnection.opened(kind(**place, **chosen))
        except StoreError as error:
            if any(secret in str(error) for secret in (self.address.user, self.address.password) if secret):
                raise StoreError("the store repeats the user or password instead of taking them") from None
            raise

    async def options(self) -> dict[str, Any]:
        """redis-py's arguments for a connection to any server. Raises StoreError where certificates cannot be read."""
        address, more = self.address, dict[str, Any]()
        kind: type[AbstractConnection] = UnixDomainSocketConnection if address.kind == "unix" else Connection
        if address.tls:  # in a thread, because to read certificates takes many milliseconds
            kind, more["context"] = TlsConnection, await asyncio.to_thread(_tls, address)
        return {
            "connection_class": kind,
            "username": address.user or None,
            "password": address.password or None,
            "db": address.database,
            "protocol": 2,
            "driver_info": None,  # no CLIENT SETINFO, which a user may lack the right for
            "socket_timeout": None,
            "socket_connect_timeout": None,
            **more,
        }


def _tls(address: StoreAddress) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.certificates)
    except OSError as error:
        raise StoreError(f"the file of ssl_ca_certs cannot be read: {error.strerror or error}") from None
    try:
        if address.certificate:
            context.load_cert_chain(address.certificate, address.key, password="")  # never asks on the terminal
    except OSError as error:
        raise StoreError(
            f"the files of ssl_certfile and ssl_keyfile cannot be read: {error.strerror or error}"
        ) from None
    return context


def store_error(error: BaseException) -> StoreError:
    """redis-py's error as ours, in the store's own words."""
    while error.args and isinstance(error.args[0], BaseException):  # redis-py wraps what fails while it connects
        error = error.args[0]
    code = getattr(error, "status_code", None)  # which redis-py cuts off the message
    if code or isinstance(error, ResponseError):
        return ErrorReply(f"{code} {error}" if code else str(error))
    wrong_replies = InvalidResponse | MemoryError | TypeError | ValueError
    if isinstance(error, wrong_replies) and not isinstance(error, OSError):  # a rejected certificate is both
        return StoreError(f"the server does not use the Redis protocol: {error}")
    return StoreError(_ENDED if str(error) == _CLOSED else str(error) or repr(error))


def _packed(command: Command) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub means a tuple of any length
    return packed
