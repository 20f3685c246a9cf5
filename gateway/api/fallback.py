"""A sink in front of a sink: where no host of a model answers, the next model of `models` is asked.

    proxy ── moves_on ──> OtherModels ── ask(next) ──> proxy       the client sees the last one's error only
          ── answer ────────────────────────────────────────> sink

Each model is an exchange of its own, in the ledger too. Where a head has left, with comments or white space to keep the
client, the next model's answer goes on behind it.
"""

from collections.abc import Callable

from gateway.types.sink import Headers, Sink, Source

Ask = Callable[[int, bool, Sink], None]


class OtherModels:
    """One response to one client. `ask` takes the place of a model, from 1 to `others`, whether a head has left, and
    where its answer goes."""

    __slots__ = ("_ask", "_others", "_place", "_sink", "_started")

    def __init__(self, sink: Sink, others: int, ask: Ask) -> None:
        self._sink = sink
        self._ask = ask
        self._others = others
        self._place = 0
        self._started = False  # whether a head has left

    def __repr__(self) -> str:
        return f"<OtherModels {self._place}/{self._others}>"

    def start(self, status: int, headers: Headers) -> None:
        if not self._started:
            self._started = True
            self._sink.start(status, headers)

    def write(self, data: bytes) -> None:
        self._sink.write(data)

    def end(self) -> None:
        self._sink.end()

    def abort(self) -> None:
        self._sink.abort()

    def moves_on(self) -> bool:
        if self._place == self._others:
            return False
        self._place += 1
        self._ask(self._place, self._started, self)
        return True

    def attach(self, source: Source) -> None:
        self._sink.attach(source)
