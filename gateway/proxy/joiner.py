"""A request that joined another one's flight: it gets the same answer in its own form, and costs nothing.

    Flight ── parts of a stream ──> this one's id, cost 0 ──> its client     from the first part on, at its own speed
           ── whole answer ───────> as from the response cache ──> its client

If the flight fails, this request gets its error, in its own format. It starts anew where a request of its own would
have ended otherwise: one that is not streamed, where a streamed answer breaks, because another host would have answered
it; and where the flight was refused by limits other than its own.
"""

from collections.abc import Callable
from math import inf
from typing import Any

import orjson

from gateway.cache.response_cache import Json, free, fresh, replay, spent
from gateway.errors import ClientError
from gateway.keys.limiter import Refusal
from gateway.proxy.flight import Flight
from gateway.proxy.journal import Journal
from gateway.proxy.live_exchange import CLIENT_LEFT, PATIENCE
from gateway.proxy.reply import Reply
from gateway.proxy.runtime import Runtime
from gateway.proxy.timer_wheel import Timer
from gateway.surface import answer
from gateway.types import OutcomeName, Request
from gateway.types.sink import Sink
from gateway.upstream import sse
from gateway.upstream.stream import NOTHING

NOTHING_HIDDEN: dict[int, str] = {}


class Joiner:
    """The source of its client's sink.

    `received` is when the request's last byte came, on the loop's clock; `keepalive` the seconds until a client that
    waits must see something. `anew` serves the request apart from this flight.
    """

    __slots__ = (
        "_anew",
        "_beat_after",
        "_flight",
        "_journal",
        "_over",
        "_own",
        "_patience",
        "_quiet",
        "_read",
        "_reply",
        "_request",
        "_runtime",
        "_waits",
        "_write",
    )

    def __init__(
        self,
        runtime: Runtime,
        request: Request,
        flight: Flight,
        sink: Sink,
        received: float,
        keepalive: float,
        anew: Callable[[bool], None],
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._flight = flight
        self._anew = anew
        self._journal = Journal(runtime, request, None, received, "joined")
        self._reply = Reply(request, sink, flight.reply.plan, "joined", None)
        self._own: Json = {"id": request.id, "created": int(runtime.wall_clock())}  # on each chunk
        self._read = 0  # parts of the flight
        self._write: Callable[[bytes], None] | None = None  # since the answer began
        self._over = False
        self._quiet = True  # whether the client was written nothing since the last beat
        self._beat_after = keepalive
        self._waits: Timer | None = None  # for the next beat
        self._patience: Timer | None = None  # while the client does not read

    def __repr__(self) -> str:
        return f"<Joiner {self._request.id}{', over' if self._over else ''}>"

    def begin(self) -> None:
        self._runtime.under_way.add(self)
        self._journal.paused()  # what it waits for is the flight's time, and no overhead
        self._flight.join(self)
        self._reply.sink.attach(self)
        if self._over:
            return
        if self._runtime.under_way.closed:
            self.stop()
            return
        self._beat_later()
        self.read()

    def stop(self) -> None:
        """The gateway stops."""
        if not self._over:
            self._end_with(answer.shutting_down(), "cancelled")

    # from the flight

    def read(self) -> None:
        flight = self._flight
        if self._over:
            return
        if self._request.stream and flight.streams:
            self._follow()
        elif flight.over:
            self._take_whole()

    def _follow(self) -> None:
        """Everything there is, as far as the client takes it."""
        flight = self._flight
        while self._patience is None:
            at = self._read - flight.dropped
            if at < 0:  # only where the client was slow, or came late
                self._break_off()
                return
            if at == len(flight.parts):
                break
            self._read += 1
            self._take(flight.parts[at], flight.ended and at + 1 == len(flight.parts))
            if self._over:
                return
        if self._patience is None and flight.over and not flight.ended:
            self._fail()

    def _take(self, part: bytes, is_last: bool) -> None:
        self._quiet = False
        write = self._write or self._commit()
        if is_last:
            tail, usage = own_end(part, self._own, self._request)
            self._close("cached", 200, spent({"usage": usage}))
            self._reply.finish(tail, NOTHING_HIDDEN)
        else:
            write(b"".join(map(self._event, sse.events(part))))

    def _commit(self) -> Callable[[bytes], None]:
        endpoint = self._flight.reply.endpoint
        assert endpoint is not None
        if self._request.stream:
            self._journal.first_at = self._runtime.clock()
        self._write = self._reply.commit(endpoint)
        return self._write

    def _event(self, data: bytes) -> bytes:
        if not data:
            return answer.WAITING[self._request.surface]
        return sse.event(orjson.dumps({**orjson.loads(data), **self._own}))

    def _take_whole(self) -> None:
        flight, request = self._flight, self._request
        found = flight.answer
        if found is None:
            if flight.streams and flight.reply.endpoint is not None:
                self._start_anew()
            else:
                self._fail()
            return
        counted = request.surface == "openai"
        whole = fresh(found, request.id, self._own["created"], counted=counted)
        self._commit()
        self._close("cached", 200, spent(found.completion))
        if request.stream:
            self._reply.finish(b"".join(replay(whole, request.include_usage)), NOTHING_HIDDEN)
        else:
            self._reply.whole(whole, NOTHING_HIDDEN)

    # from the sink

    def pause(self) -> None:
        if self._patience is None and not self._over:
            self._patience = self._runtime.wheel.after(PATIENCE, self._takes_nothing)

    def resume(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self.read()

    def gone(self) -> None:
        if not self._over:
            self._close("cancelled", CLIENT_LEFT)

    def _takes_nothing(self) -> None:
        """A client that has stopped reading counts as gone."""
        self._reply.sink.abort()
        self.gone()

    # ends

    def _start_anew(self) -> None:
        """The request goes its own way. Its row is written then."""
        self._leave()
        started = self._reply.started
        self._runtime.wheel.soon(lambda: self._anew(started))

    def _break_off(self) -> None:
        """Its client was too slow for what is kept of the answer."""
        self._close("cancelled", CLIENT_LEFT)
        self._reply.sink.abort()

    def _fail(self) -> None:
        flight = self._flight
        error = flight.error or answer.internal_error()
        if flight.refusal is not None:
            self._refused(error, flight.refusal)
            return
        self._end_with(error, flight.journal.ended, flight.head)

    def _refused(self, error: ClientError, refusal: Refusal) -> None:
        """Limits refused the flight. If this request has the same ones, they refuse it at once: it has waited as long
        already, and would wait once more for each that began anew before it."""
        request, limiter = self._request, self._runtime.limiter
        if limiter is None or limiter.quotas(request.tenant, request.app) != self._flight.limits:
            self._start_anew()
            return
        limiter.count(refusal)
        self._leave()
        self._reply.fail(error)

    def _end_with(self, error: ClientError, outcome: OutcomeName, head: Any = NOTHING) -> None:
        self._close(outcome, 200 if self._reply.started else error.status)
        own = {**head, **self._own} if head else head
        self._reply.fail(error, own)

    def _close(self, outcome: OutcomeName, status: int, saved: int = 0) -> None:
        self._leave()
        self._journal.unattempted(outcome, status, saved)

    def _leave(self) -> None:
        self._over = True
        for timer in (self._waits, self._patience):
            if timer is not None:
                timer.cancel()
        self._runtime.under_way.discard(self)
        self._flight.leave(self)

    # a client that waits

    def _beat_later(self) -> None:
        if self._beat_after < inf:
            self._waits = self._runtime.wheel.after(self._beat_after, self._beat)

    def _beat(self) -> None:
        if self._quiet and self._patience is None:
            self._reply.keep_alive()
        self._quiet = True
        if self._write is not None:
            self._beat_after = self._request.patience
        self._beat_later()


def own_end(tail: bytes, own: Json, request: Request) -> tuple[bytes, Json]:
    """The end of another request's stream as the end of one's own, and the usage that the other one was sent.

    `own` are this request's fields of each chunk. As in `replay`, the usage is in the last chunk, or in one of its own
    if the request wants that.
    """
    chunks = [{**chunk, **own} for chunk in sse.payloads(tail)]
    usage: Json = {}
    for chunk in chunks:
        usage = chunk.pop("usage", None) or usage
        chunk.pop("openrouter_metadata", None)
    chunks = [chunk for chunk in chunks if chunk["choices"]]
    if usage:
        mine = free(usage, request.surface == "openai")
        if request.include_usage:
            chunks.append({**chunks[-1], "choices": [], "usage": mine})
        else:
            chunks[-1]["usage"] = mine
    return b"".join(map(sse.event, (*map(orjson.dumps, chunks), sse.DONE))), usage
