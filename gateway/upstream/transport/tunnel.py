"""A tunnel through an HTTP proxy: CONNECT (RFC 9110, 9.3.6), after which the proxy passes bytes in both directions.

    TCP to the proxy ─> TLS with it (https:// proxies) ─> CONNECT host:port ─> 2xx ─> TLS with the host ─> Connection

Hosts at http:// are reached by CONNECT, too: so a proxy never reads a request, and its errors are never mistaken for a
host's.

    failure                                          fault
    the proxy cannot be reached, its TLS fails       proxy
    it closes, or its answer is not HTTP             proxy
    it answers 407, 403, or any other status         proxy
    it answers 502, 503 or 504, or not in time       refused: it could not reach the host, as far as can be known
"""

import asyncio
import ssl
from base64 import b64encode
from typing import NamedTuple, cast

import httptools

from gateway import __version__
from gateway.types import Fault
from gateway.types.egress import ProxyAddress
from gateway.upstream.transport.dial_error import DialError, why

LARGEST_HEAD = 64 * 1024  # bytes of a proxy's answer
_HOST_AWAY = (502, 503, 504)


class TunnelTarget(NamedTuple):
    """The host at the tunnel's far end, as CONNECT names it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ConnectReply(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT. `status` is set to it, or to a DialError."""

    def __init__(self, proxy: ProxyAddress) -> None:
        self._proxy = proxy
        self._head = b""
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not derive from asyncio's

    def data_received(self, data: bytes) -> None:
        if self.status.done():
            self._transport.abort()  # only the host may send now, and it waits for a request
            return
        self._head += data
        while True:
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                if len(self._head) > LARGEST_HEAD or not b"HTTP/".startswith(self._head[:5]):
                    self._fail("answered CONNECT with bytes that are not HTTP")
                return
            status = _status(head + end)
            if status is None:
                self._fail("answered CONNECT with bytes that are not HTTP")
                return
            if status >= 200 or status == 101:
                break
            self._head = rest  # behind an interim answer
        if status < 300 and rest:
            self._fail("sent more than its answer to CONNECT")
        else:
            self.status.set_result(status)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.status.done():
            self._fail("closed the connection before it answered CONNECT")

    def _fail(self, what: str) -> None:
        self.status.set_exception(DialError(Fault.PROXY, f"the proxy {self._proxy} {what}"))
        self.status.exception()  # retrieved, or asyncio would log it where no task waits for it


async def open_tunnel(
    proxy: ProxyAddress, target: TunnelTarget, trust: ssl.SSLContext, deadline: float, seconds: float
) -> asyncio.Transport:
    """The connection to the proxy, whose other end is now the target. `deadline` by the loop's clock; `seconds`: what
    it is for messages. `trust` is for proxies at https://. Raises DialError."""
    transport, reply = await _to_proxy(proxy, trust, deadline, seconds)
    try:
        transport.write(_request(proxy, target))
        async with asyncio.timeout_at(deadline):
            status = await reply.status
        _check(status, proxy)
        if transport.is_closing():
            raise DialError(Fault.PROXY, f"the proxy {proxy} closed the connection after its answer to CONNECT")
    except TimeoutError:
        transport.abort()
        raise DialError(Fault.REFUSED, f"the proxy {proxy} did not reach the host within {seconds:g} s") from None
    except BaseException:
        transport.abort()
        raise
    return transport


async def _to_proxy(
    proxy: ProxyAddress, trust: ssl.SSLContext, deadline: float, seconds: float
) -> tuple[asyncio.Transport, ConnectReply]:
    loop, tls = asyncio.get_running_loop(), trust if proxy.scheme == "https" else None
    try:
        async with asyncio.timeout_at(deadline):
            made = await loop.create_connection(lambda: ConnectReply(proxy), proxy.host, proxy.port, ssl=tls)
    except TimeoutError:
        raise DialError(Fault.PROXY, f"the proxy {proxy} cannot be reached within {seconds:g} s") from None
    except (OSError, UnicodeError) as error:
        raise DialError(Fault.PROXY, f"the proxy {proxy}: {why(error)}") from None
    return made


def _request(proxy: ProxyAddress, target: TunnelTarget) -> bytes:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", f"User-Agent: llm-routing-gateway/{__version__}"]
    if proxy.user or proxy.password:
        login = b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    return "\r\n".join([*lines, "\r\n"]).encode("ascii")


def _status(head: bytes) -> int | None:
    """The status of an answer's head; None for what is not HTTP."""
    parser = httptools.HttpResponseParser(object())
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:  # 101
        pass
    except httptools.HttpParserError:
        return None
    return int(parser.get_status_code()) or None


def _check(status: int, proxy: ProxyAddress) -> None:
    """Raises DialError where there is no tunnel."""
    if 200 <= status < 300:
        return
    if status in _HOST_AWAY:
        raise DialError(Fault.REFUSED, f"the proxy {proxy} could not reach the host: it answered CONNECT with {status}")
    if status == 407:
        given = "refused its user and password" if proxy.user or proxy.password else "requires a user and a password"
        raise DialError(Fault.PROXY, f"the proxy {proxy} {given} (407)")
    raise DialError(Fault.PROXY, f"the proxy {proxy} answered CONNECT with {status}")
