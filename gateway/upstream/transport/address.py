"""The address of an endpoint: origin, path and request headers.

Attempt ── body ──> Address.send: head, a connection of the origin's pool ──> Connection.send
"""

import re
from typing import Protocol
from urllib.parse import urlsplit

from gateway import __version__
from gateway.errors import ConfigError
from gateway.types import Endpoint
from gateway.upstream.transport.connection import Call, Receiver, SentCall
from gateway.upstream.transport.pool import PORTS, Egress, Origin, Pool
from gateway.upstream.transport.transport import Transport

_PRINTABLE = re.compile(r"[\x21-\x7e]+")


class Destination(Protocol):
    """An endpoint as the gateway's core sees it: it takes and returns OpenAI's JSON, whatever its own API is."""

    def send(self, body: bytes, receiver: Receiver, connect_timeout: float, headers: bytes = b"") -> SentCall:
        """Sends a completion request whose JSON is `body`, with further header lines. Otherwise as `Transport.send`."""


class Address:
    """The chat completions of an OpenAI-compatible endpoint: their URL, the head of requests, and the pool of
    connections, which endpoints with the same origin share.

    Made once per endpoint, on any thread; sends on the transport's loop.

    Raises ConfigError when the endpoint's URL is not an http(s) URL, or when the key cannot be sent in a header.
    """

    __slots__ = ("_pool", "_start", "_transport", "_url", "origin")

    def __init__(
        self, endpoint: Endpoint, api_key: str | None, transport: Transport, egress: Egress | None = None
    ) -> None:
        self._transport = transport
        self._pool: Pool | None = None  # from the first request on
        self.origin, target = locate(endpoint, egress)
        self._url = f"{self.origin.scheme}://{authority(self.origin)}{target}"
        key = None if api_key is None else header_safe(api_key, endpoint)
        self._start = head_lines("POST", self.origin, target, key) + b"Content-Length: "

    def send(self, body: bytes, receiver: Receiver, connect_timeout: float, headers: bytes = b"") -> Call:
        pool = self._pool
        if pool is None or pool.dropped:
            pool = self._pool = self._transport.pool(self.origin)
        head = b"%b%d\r\n%b\r\n" % (self._start, len(body), headers)
        call = Call(pool, head, body, receiver, connect_timeout)
        pool.take().send(call)
        return call

    def __repr__(self) -> str:
        key = "***" if b"\r\nAuthorization: " in self._start else None
        return f"Address({self._url!r}, api_key={key})"


def locate(endpoint: Endpoint, egress: Egress | None = None, route: str = "/chat/completions") -> tuple[Origin, str]:
    """The endpoint's origin by this way out, and the path and query of a route below its base URL."""
    url = endpoint.base_url or ""
    try:
        origin, parts = Origin.from_url(url), urlsplit(url)
    except ValueError:
        raise _bad_url(endpoint) from None
    if parts.username is not None or not _PRINTABLE.fullmatch(url):
        raise _bad_url(endpoint)
    target = parts.path.rstrip("/") + route + (f"?{parts.query}" if parts.query else "")
    return origin._replace(egress=egress or Egress()), target


def _bad_url(endpoint: Endpoint) -> ConfigError:
    """The URL is not quoted, because it may contain a password."""
    return ConfigError(f"endpoint {endpoint.id}: base_url must look like https://host[:port]/path, without credentials")


def authority(origin: Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == PORTS[origin.scheme] else f"{host}:{origin.port}"


def head_lines(method: str, origin: Origin, target: str, key: str | None) -> bytes:
    """Request line and header lines, without the blank line. `key` as `header_safe` returned it."""
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {authority(origin)}",
        f"User-Agent: llm-routing-gateway/{__version__}",
        "Accept: application/json, text/event-stream",
        "Accept-Encoding: identity",
        "Content-Type: application/json",
    ]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join([*lines, ""]).encode("ascii")


def header_safe(api_key: str, endpoint: Endpoint) -> str:
    """The key, as it may stand in a header. Raises ConfigError."""
    if not _PRINTABLE.fullmatch(api_key):
        where = endpoint.api_key_env or "its API key"
        raise ConfigError(f"endpoint {endpoint.id}: {where} must be printable ASCII without spaces or line breaks")
    return api_key
