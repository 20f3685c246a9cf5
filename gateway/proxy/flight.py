"""One call to a host that serves several identical requests (single flight).

    first request ──> exchange ── answer ──> Flight ── what has come, then the rest ──> Joiner, its own request
                                                └─────────────────────────────────────> response cache

The exchange runs for the first request, whose client is written to as without joiners. What that client gets is kept
here, up to `LARGEST_KEPT`, and each joiner reads it at the speed of its own client. The first client may leave: the
exchange goes on while there are joiners, and the last client that leaves cancels it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gateway.cache.response_cache import CachedAnswer, assemble
from gateway.errors import ClientError
from gateway.keys.limiter import Refusal
from gateway.keys.quota import Quota
from gateway.proxy.answer_recorder import LARGEST_KEPT, AnswerRecorder, Hidden
from gateway.proxy.journal import Journal
from gateway.proxy.live_exchange import PATIENCE, LiveExchange
from gateway.proxy.reply import Reply
from gateway.proxy.runtime import Runtime
from gateway.proxy.timer_wheel import Timer
from gateway.types.sink import Headers, Source
from gateway.upstream import sse


class Follower(Protocol):
    """A joiner, as its flight sees it."""

    def read(self) -> None:
        """There is more to read, or the flight has ended."""


class _NoClient:
    """The sink of a first client that has left."""

    def start(self, status: int, headers: Headers) -> None: ...
    def write(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def abort(self) -> None: ...
    def moves_on(self) -> bool:
        return False

    def attach(self, source: Source) -> None: ...


class Flight(AnswerRecorder):
    """The recorder of a shared exchange, and the source of the first client's sink.

    `parts` are pieces of an answer that `streams`; `dropped` earlier ones are no longer kept. It is `over` when no more
    will come: with an `answer`, with a stream that has `ended` well, or with an `error` and the fields that the chunks
    before it have in common (`head`). `limits` are those of the first request, and `refusal` is theirs, if they refused
    it. `leave_map` says that no further request may join; it may be called again.
    """

    __slots__ = (
        "_answer",
        "_exchange",
        "_joiners",
        "_lag",
        "_leave_map",
        "_left",
        "_runtime",
        "dropped",
        "ended",
        "error",
        "head",
        "journal",
        "limits",
        "over",
        "refusal",
        "reply",
        "streams",
    )

    _exchange: LiveExchange
    journal: Journal
    limits: Sequence[Quota]
    reply: Reply

    def __init__(
        self,
        runtime: Runtime,
        save: Callable[[CachedAnswer, Hidden], object],
        streams: bool,
        leave_map: Callable[[], None],
    ) -> None:
        super().__init__(save, runtime.wheel.soon, runtime.wall_clock)
        self._runtime = runtime
        self._leave_map = leave_map
        self._joiners: list[Follower] = []
        self._left = False  # whether the first client has left
        self._lag: Timer | None = None  # since the first client has stopped reading, while others follow
        self.streams = streams
        self.dropped = 0
        self.over = False
        self.refusal: Refusal | None = None
        self.ended = False
        self._answer: CachedAnswer | None = None
        self.error: ClientError | None = None
        self.head: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Flight {len(self._joiners)} joiners, {self._size} bytes{', over' if self.over else ''}>"

    @property
    def parts(self) -> list[bytes]:
        return self._parts

    def prepares(self, reply: Reply, journal: Journal, limits: Sequence[Quota]) -> None:
        """Requests may join, although the exchange waits for what its limits allow."""
        self.reply, self.journal, self.limits = reply, journal, limits

    def begins(self, exchange: LiveExchange) -> None:
        self._exchange = exchange

    @property
    def answer(self) -> CachedAnswer | None:
        """The whole answer, once there is one; None also where a stream was too large or cannot be put together."""
        if self._answer is None and self.ended and not self.dropped:
            completion = assemble(sse.payloads(b"".join(self._parts)))
            if completion is not None:
                self._answer = CachedAnswer(completion, self.reply.endpoint_id, self._unix())
        return self._answer

    # joiners

    def join(self, joiner: Follower) -> None:
        self._joiners.append(joiner)
        if self.reply.paused:  # the first client alone has held the host back
            self._exchange.resume()
            self._lags()

    def leave(self, joiner: Follower) -> None:
        """Its client has left, or has all of the answer."""
        if joiner in self._joiners:
            self._joiners.remove(joiner)
        if self._joiners or self.over:
            return
        if self._left:
            self._exchange.gone()
        elif self._lag is not None:
            self._stop_lag()
            self._exchange.pause()

    # from the first client's sink

    def pause(self) -> None:
        if self._joiners:
            self._lags()
        else:
            self._exchange.pause()

    def resume(self) -> None:
        self._stop_lag()
        self._exchange.resume()

    def gone(self) -> None:
        self._stop_lag()
        if not self._joiners:
            self._exchange.gone()
            return
        self._left = True
        self.reply.sink = _NoClient()
        if self.reply.paused:
            self._exchange.resume()

    def _lags(self) -> None:
        """The first client does not read, and others do: it gets the time that a client alone has."""
        if self._lag is None:
            self._lag = self._runtime.wheel.after(PATIENCE, self._cut_off)

    def _stop_lag(self) -> None:
        if self._lag is not None:
            self._lag.cancel()
            self._lag = None

    def _cut_off(self) -> None:
        self.reply.sink.abort()
        self.gone()

    # from the reply

    def tee(self, write: Callable[[bytes], None]) -> Callable[[bytes], None]:
        def both(data: bytes) -> None:
            self.reply.sink.write(data)
            self.take(data)

        return both

    def take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > LARGEST_KEPT:
            self._outgrow()
        self._parts.append(data)
        self._tell()

    def stream(self, tail: bytes, endpoint: str, hidden: Hidden) -> None:
        self.ended = True
        self._close()
        if self._size + len(tail) > LARGEST_KEPT:
            self.take(tail)
        else:
            super().stream(tail, endpoint, hidden)

    def whole(self, completion: dict[str, Any], endpoint: str, hidden: Hidden) -> None:
        self._close()
        self._answer = CachedAnswer(completion, endpoint, self._unix())
        super().whole(completion, endpoint, hidden)
        self._tell()

    def failed(self, error: ClientError | None, head: Mapping[str, Any]) -> None:
        self._close()
        self.error, self.head = error, head
        self._tell()

    def _outgrow(self) -> None:
        """It is too large to be kept: joiners that are up to date follow, later ones cannot begin."""
        self.dropped += len(self._parts)
        self._parts.clear()
        self._leave_map()
        if self._lag is not None:
            self._cut_off()

    def _close(self) -> None:
        self.over = True
        self._stop_lag()
        self._leave_map()

    def _tell(self) -> None:
        for joiner in tuple(self._joiners):
            joiner.read()
