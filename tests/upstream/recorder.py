"""A receiver that writes down what it is told, and can be told to act in the middle of it."""

import asyncio
from collections.abc import Callable

import uvloop

from gateway.types import Fault
from gateway.upstream.transport.transport import Call, Origin, Transport

BOTH_LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
Send = Callable[..., tuple["Recorder", Call]]  # (host, body=b"{}", via=transport)


class Recorder:
    """`status`, `headers` and `pieces` of the answer, and `end`: None, `complete`, or (fault, message)."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.end: str | tuple[Fault, str] | None = None
        self.when_response: Callable[[], object] = lambda: None
        self.when_data: Callable[[], object] = lambda: None
        self.when_ended: Callable[[], object] = lambda: None
        self._ended = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def fault(self) -> str | None:
        return self.end[0] if isinstance(self.end, tuple) else None

    @property
    def message(self) -> str | None:
        return self.end[1] if isinstance(self.end, tuple) else None

    async def ended(self) -> "Recorder":
        async with asyncio.timeout(60):
            await self._ended.wait()
        return self

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert self.status == 0, "two heads"
        assert self.end is None, "a head after the end"
        self.status, self.headers = status, headers
        self.when_response()

    def on_data(self, data: bytes) -> None:
        assert self.status, "a body before its head"
        assert self.end is None, "a body after the end"
        assert data, "an empty piece"
        self.pieces.append(data)
        self.when_data()

    def on_complete(self) -> None:
        self._finish("complete")

    def on_lost(self, fault: Fault, message: str) -> None:
        self._finish((fault, message))

    def _finish(self, end: str | tuple[Fault, str]) -> None:
        assert self.end is None, "two ends"
        self.end = end
        self._ended.set()
        self.when_ended()


def start(via: Transport, origin: Origin, receiver: Recorder, body: bytes = b"{}") -> tuple[Recorder, Call]:
    """Send a POST whose answer the receiver gets."""
    head = b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body)
    return receiver, via.send(origin, head, body, receiver, connect_timeout=5.0)
