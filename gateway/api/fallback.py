"""A sink in front of a sink: where a model's answer is an error, the next model of `models` is asked.

    proxy ── error ──> OtherModels ── ask(next) ──> proxy       the client sees the last one's error only
          ── answer ─────────────────────────────────────────> sink

Each model is an exchange of its own, in the ledger too. Where a head has left, with comments or white space to keep the
client, the next model's answer goes on behind it (`moves_on`).
"""

from collections.abc import Callable

from gateway.proxy.sink import Headers, Sink, Source

Ask = Callable[[int, bool, Sink], None]


class OtherModels:
    """One response to one client. `ask` takes the place of a model, from 1 to `others`, whether a head has left, and
    where its answer goes."""

    __slots__ = ("_ask", "_begun", "_failed", "_others", "_place", "_sink")

    def __init__(self, sink: Sink, others: int, ask: Ask) -> None:
        self._sink = sink
        self._ask = ask
        self._others = others
        self._place = 0
        self._begun = False  # whether a head has left for a model that did not answer
        self._failed = False  # whether what comes is an error that the client need not see

    def __repr__(self) -> str:
        return f"<OtherModels {self._place}/{self._others}>"

    def start(self, status: int, headers: Headers) -> None:
        self._failed = status >= 400 and self._place < self._others
        if not self._failed and not self._begun:
            self._sink.start(status, headers)

    def write(self, data: bytes) -> None:
        if not self._failed:
            self._sink.write(data)

    def end(self) -> None:
        if self._failed:
            self._failed = False
            self._next()
        else:
            self._sink.end()

    def abort(self) -> None:
        self._sink.abort()

    def moves_on(self) -> bool:
        if self._place == self._others:
            return False
        self._begun = True
        self._next()
        return True

    def attach(self, source: Source) -> None:
        self._sink.attach(source)

    def _next(self) -> None:
        self._place += 1
        self._ask(self._place, self._begun, self)
