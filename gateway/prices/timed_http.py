"""HTTP requests with an end: an answer that takes longer than `within` is cut off, its headers included.

    opener(within) ──open──> request, no redirect, no proxy ──> HTTPResponse
                                └─ after `within`: the socket is shut down, and reading it fails

The timeout of urllib is for each read: a host that sends a byte at a time would hold the caller for days. Redirects are
not followed, because they would take the key to another host.
"""

import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from threading import Timer
from typing import Any
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)


class SameHost(HTTPRedirectHandler):
    """Follows no redirect: its answer is an error."""

    def redirect_request(self, *_: Any) -> None:
        return None


class TimedHttp(HTTPHandler, HTTPSHandler):
    """Opens http and https, and cuts off each answer after `within` seconds."""

    def __init__(self, within: float) -> None:
        HTTPHandler.__init__(self)
        HTTPSHandler.__init__(self)
        self._within = within

    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._timed(HTTPConnection), request)

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._timed(HTTPSConnection), request)

    def _timed(self, kind: type[HTTPConnection]) -> type[HTTPConnection]:
        within = self._within

        class Timed(kind):  # type: ignore[valid-type, misc]
            def connect(self) -> None:
                super().connect()
                timer = Timer(within, _shut_down, (self.sock,))
                timer.daemon = True
                timer.start()

        return Timed


def opener(within: float) -> OpenerDirector:
    """Answers take at most `within` seconds from the connection on."""
    return build_opener(SameHost, ProxyHandler({}), TimedHttp(within))


def _shut_down(connected: socket.socket) -> None:
    with suppress(OSError):  # closed by now
        socket.socket.shutdown(connected, socket.SHUT_RDWR)  # TLS has nothing to say any more
