"""A sink that wraps a sink: if no host of a model answers, the request is served with the next model of `models`.

    proxy ── moves_on ──> ModelFallback ── try_model ──> proxy       the client sees only the last model's error
          ── answer ────────────────────────────────────────> sink

Each model is a separate exchange, also in the ledger. If headers and keep-alives have been sent already, the next
model's answer follows them in the same response.
"""

from collections.abc import Callable

from gateway.types.sink import Headers, Sink, Source

TryModel = Callable[[int, bool, Sink], None]


class ModelFallback:
    """One response to one client. `try_model` takes the place of a model in `models`, from 1 to `others`, whether
    response headers have been sent, and the sink for its answer."""

    __slots__ = ("_others", "_place", "_sink", "_started", "_try_model")

    def __init__(self, sink: Sink, others: int, try_model: TryModel) -> None:
        self._sink = sink
        self._try_model = try_model
        self._others = others
        self._place = 0
        self._started = False  # whether response headers have been sent

    def __repr__(self) -> str:
        return f"<ModelFallback {self._place}/{self._others}>"

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
        self._try_model(self._place, self._started, self)
        return True

    def attach(self, source: Source) -> None:
        self._sink.attach(source)
