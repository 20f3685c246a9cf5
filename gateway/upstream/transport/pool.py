"""The connections to one origin by one way out: opened when none is free, kept while young and recently used.

take -> the kept connection that was used last, or the pool itself; either sends a call
send -> a task that opens a connection and sends the call there
release <- a connection whose answer is complete    forget <- a connection that has closed
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from gateway.types import Fault
from gateway.types.egress import ProxyAddress
from gateway.upstream.transport.connection import Call, Connection
from gateway.upstream.transport.dial_error import DialError, why
from gateway.upstream.transport.tls import Trust
from gateway.upstream.transport.tunnel import TunnelTarget, open_tunnel

PORTS = {"http": 80, "https": 443}


class Egress(NamedTuple):
    """The way out to an origin. None: no proxy; the transport's own TLS context."""

    proxy: ProxyAddress | None = None
    trust: Trust | None = None  # of the host
    proxy_trust: Trust | None = None  # of a proxy at https://


class Origin(NamedTuple):
    """An origin: base URLs with the same scheme, host, port and way out share connections."""

    scheme: str
    host: str
    port: int
    egress: Egress = Egress()

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The origin of a base URL; ValueError when it is not http(s) or has no host."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("a base URL must look like https://host/path or http://host:port/path")
        return cls(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme])

    def contains(self, url: str) -> bool:
        """Whether a URL is at this scheme, host and port."""
        return self[:3] == Origin.from_url(url)[:3]

    def __str__(self) -> str:
        proxy = f" through {self.egress.proxy}" if self.egress.proxy else ""
        return f"{self.scheme}://{self.host}:{self.port}{proxy}"


@dataclass(frozen=True, slots=True)
class Keep:
    """The idle timeout and the maximum age of a connection, both in seconds, and how many are kept per origin."""

    idle: float
    lifetime: float
    most: int


class Pool:
    """`idle` is in order of release: the oldest is on the left. `dropped`: it was empty, and its transport no longer
    has it; requests to this origin need another one."""

    def __init__(self, origin: Origin, keep: Keep, trust: Trust) -> None:
        self._origin = origin
        self._keep = keep
        self._trust = (origin.egress.trust or trust) if origin.scheme == "https" else None
        self._proxy_trust = origin.egress.proxy_trust or trust
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._opening: set[Call] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.dropped = False

    def __repr__(self) -> str:
        counts = f"idle={len(self._idle)} busy={len(self._busy)} opening={len(self._opening)}"
        return f"<Pool {self._origin} {counts}{' closed' if self._closed else ''}>"

    @property
    def empty(self) -> bool:
        return not (self._idle or self._busy or self._opening)

    def take(self) -> "Connection | Pool":
        """The kept connection that was used last: the most likely to be alive. The pool itself if none is kept."""
        now = self._loop.time()
        while self._idle:
            connection = self._idle.pop()
            if now < connection.expires and not connection.transport.is_closing():
                self._busy.add(connection)
                return connection
            connection.close()
        return self

    def send(self, call: Call) -> None:
        """Opens a connection for this call, and sends it there."""
        self._opening.add(call)
        call.opening = self._loop.create_task(self._connect(call))
        call.opening.add_done_callback(lambda _: self._opening.discard(call))  # also when it never started

    def release(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if self._trust is not None and connection.expires == 0.0:  # it has served its first call
            self._trust.remember(self._origin.host, connection.transport.get_extra_info("ssl_object").session)
        now, keep = self._loop.time(), self._keep
        connection.expires = min(now + keep.idle, connection.born + keep.lifetime)
        if self._closed or not keep.most or now >= connection.expires:
            connection.close()
            return
        if len(self._idle) == keep.most:
            self._idle.popleft().close()
        self._idle.append(connection)
        if self._timer is None:
            self._timer = self._loop.call_at(connection.expires, self._sweep)

    def forget(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Closes every connection; calls under way are lost, later calls are refused."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._idle:
            self._idle.pop().close()
        for call in list(self._opening):
            if call.opening is not None:
                call.opening.cancel()
            call.lose(Fault.REFUSED, "the gateway is shutting down")
        for connection in list(self._busy):
            connection.fail(Fault.CUT, "the gateway is shutting down")

    def _sweep(self) -> None:
        """Closes expired connections, and schedules itself for the next expiry."""
        now = self._loop.time()
        while self._idle and now >= self._idle[0].expires:
            self._idle.popleft().close()
        self._timer = None
        if self._idle:
            self._timer = self._loop.call_at(self._idle[0].expires, self._sweep)

    async def _connect(self, call: Call) -> None:
        try:
            connection = await self._dial(call)
        except TimeoutError:
            call.lose(Fault.REFUSED, f"connect timed out after {call.connect_timeout:g} s{self._through()}")
        except DialError as failed:  # a name of its own: mypyc gives each name one type
            call.lose(failed.fault, failed.message)
        except (OSError, UnicodeError) as error:
            call.lose(Fault.REFUSED, f"{why(error)}{self._through()}")
        else:
            self._send_on(connection, call)

    async def _dial(self, call: Call) -> Connection:
        """Resolves, connects and, for https, performs the TLS handshake, all within the connect timeout."""
        if self._closed:
            raise ConnectionAbortedError("the gateway is shutting down")
        host, port = self._origin.host, self._origin.port
        if self._origin.egress.proxy is not None:
            return await self._dial_through(self._origin.egress.proxy, call.connect_timeout)
        async with asyncio.timeout(call.connect_timeout):
            make = self._loop.create_connection(lambda: Connection(self, self._loop), host, port, ssl=self._trust)
            return (await make)[1]

    async def _dial_through(self, proxy: ProxyAddress, seconds: float) -> Connection:
        """The same, through a proxy, which resolves the host's name."""
        host, deadline = self._origin.host, self._loop.time() + seconds
        target = TunnelTarget(host, self._origin.port)
        transport = await open_tunnel(proxy, target, self._proxy_trust, deadline, seconds)
        connection = Connection(self, self._loop)
        if self._trust is None:
            transport.set_protocol(connection)
            connection.connection_made(transport)
            return connection
        try:
            async with asyncio.timeout_at(deadline):
                inner = await self._loop.start_tls(transport, connection, self._trust, server_hostname=host)
        except BaseException:
            transport.abort()
            raise
        if inner is None:  # as asyncio returns it where the connection was lost
            raise ConnectionAbortedError("the connection was closed during the TLS handshake")
        connection.connection_made(inner)
        return connection

    def _through(self) -> str:
        """What a message about the host adds, if a proxy is between."""
        proxy = self._origin.egress.proxy
        return f" (through the proxy {proxy})" if proxy else ""

    def _send_on(self, connection: Connection, call: Call) -> None:
        if connection.lost:
            call.lose(Fault.CUT, "the host closed the connection as soon as it was made")
            return
        connection.born = self._loop.time()
        self._busy.add(connection)
        connection.send(call)
