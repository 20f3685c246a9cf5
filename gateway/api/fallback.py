"""A sink in front of a sink: where a model's answer is an error, the next model of `models` is asked.

    proxy ── error ──> OtherModels ── ask(next) ──> proxy       the client hears of the last one's error only
          ── answer ─────────────────────────────────────────> sink

Each model is an exchange of its own, in the ledger too. A stream that has begun, if only with a comment, is the
client's: what goes wrong then is told in it.
"""

from collections.abc import Callable

from gateway.proxy.sink import Headers, Sink, Source


class OtherModels:
    """One response to one client. `ask` takes the place of a model, from 1 to `others`, and where its answer goes."""

    __slots__ = ("_ask", "_failed", "_others", "_place", "_sink")

    def __init__(self, sink: Sink, others: int, ask: Callable[[int, Sink], None]) -> None:
        self._sink = sink
        self._others = others
        self._ask = ask
        self._place = 0
        self._failed = False  # whether what comes is an error that the client need not see

    def __repr__(self) -> str:
        return f"<OtherModels {self._place}/{self._others}>"

    def start(self, status: int, headers: Headers) -> None:
        self._failed = status >= 400 and self._place < self._others
        if not self._failed:
            self._sink.start(status, headers)

    def write(self, data: bytes) -> None:
        if not self._failed:
            self._sink.write(data)

    def end(self) -> None:
        if not self._failed:
            self._sink.end()
            return
        self._failed = False
        self._place += 1
        self._ask(self._place, self)

    def abort(self) -> None:
        self._sink.abort()

    def attach(self, source: Source) -> None:
        self._sink.attach(source)
