"""Where the answer to a probe goes: into memory. It leaves a host that does not end."""

import asyncio

from gateway.types.sink import Headers, Source

MOST_BYTES = 1 << 20  # of an answer; probes allow 200 tokens at most


class ProbeSink:
    """`ended` is done when the answer is over. `status` and `body` are the response's."""

    def __init__(self) -> None:
        self.status = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._source: Source | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def __repr__(self) -> str:
        return f"<ProbeSink {self.status}: {self._size} bytes{', ended' if self.ended.done() else ''}>"

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    def start(self, status: int, headers: Headers) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        if self._size > MOST_BYTES:
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST_BYTES:
            asyncio.get_running_loop().call_soon(self.leave)  # later: the exchange is in the middle of an event

    def end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def abort(self) -> None:
        self.end()

    def moves_on(self) -> bool:
        return False

    def attach(self, source: Source) -> None:
        self._source = source

    def leave(self) -> None:
        """Ends the exchange, as a client that disconnects."""
        if self._source is not None and not self.ended.done():
            self._source.gone()
        self.end()
