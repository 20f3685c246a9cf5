"""One exchange, live: events queue, the core decides, its commands are performed here.

An event that arrives while commands run waits its turn, so that the core never sees the middle of its own decision.
"""

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.cache.responses import Answer, assemble
from gateway.errors import ClientError
from gateway.proxy import answer
from gateway.proxy.attempt import Attempt
from gateway.proxy.sink import Headers, Sink
from gateway.proxy.wheel import Timer
from gateway.route import exchange as core
from gateway.route.plan import Plan
from gateway.types import Failure, Request, Row, Usage
from gateway.upstream import shape, sse
from gateway.upstream.reader import StreamReader, WholeReader
from gateway.upstream.usage import usage_object

if TYPE_CHECKING:
    from gateway.proxy.proxy import Proxy

LARGEST_KEPT = 1024 * 1024  # bytes of a streamed answer kept for the response cache
CLIENT_LEFT = 499
_log = logging.getLogger(__name__)
_ENDINGS = (core.Complete, core.Break, core.GiveUp, core.Abandon)


class Serving:
    """Performs the commands of one exchange. It is the sink's source and the attempts' owner."""

    __slots__ = (
        "_attempt",
        "_committed",
        "_core",
        "_events",
        "_fleet",
        "_kept",
        "_kept_size",
        "_left",
        "_paused",
        "_plan",
        "_proxy",
        "_received",
        "_request",
        "_running",
        "_save",
        "_sink",
        "_started",
        "_timers",
        "_waited",
        "_wrote_at",
        "cache",
    )

    def __init__(self, proxy: "Proxy", request: Request, plan: Plan, sink: Sink, received: float) -> None:
        self._proxy = proxy
        self._request = request
        self._plan = plan
        self._fleet = proxy.fleets[request.model]
        self._sink = sink
        self._core = core.Exchange(request, plan)
        self._received = received
        self._events: deque[core.Event] = deque()
        self._running = False
        self._attempt: Attempt | None = None
        self._committed = False  # the answer commit was performed: chunks may flow
        self._started = False  # status and headers left
        self._paused = False
        self._left = False
        self._timers: dict[core.Clock, Timer] = {}
        self._waited = 0.0  # seconds during which an endpoint was being waited for
        self._wrote_at: float | None = None  # when the first answer byte left
        self._save: Callable[[Answer], None] | None = None
        self._kept: list[bytes] = []
        self._kept_size = 0
        self.cache: Any = "off"

    def begin(self, save: Callable[[Answer], None] | None) -> None:
        """Starts the exchange; `save` takes the answer for the response cache."""
        self._save = save
        self.feed(core.Started(self._proxy.clock()))

    # from attempts and clocks

    def feed(self, event: core.Event) -> None:
        self._events.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._events:
                self._perform(self._core.on(self._events.popleft()))
        except Exception:  # a fault of ours must not leave the client waiting
            _log.exception("exchange %s failed inside the gateway", self._request.id)
            self._crashed()
        finally:
            self._running = False

    def relay(self, attempt: Attempt, data: bytes) -> None:
        """Answer bytes: to the client as they come, once the commit was performed."""
        if attempt is not self._attempt or not self._committed:
            return
        if self._wrote_at is None:
            self._wrote_at = self._proxy.clock()
        if self._save is not None:
            self._keep(data)
        self._sink.write(data)

    # from the sink

    def pause(self) -> None:
        self._paused = True
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        self._paused = False
        if self._attempt is not None:
            self._attempt.heard_at = self._proxy.clock()  # the silence was the client's
            self._attempt.resume()

    def gone(self) -> None:
        self._left = True
        self.feed(core.ClientLeft(self._proxy.clock()))

    # commands

    def _perform(self, commands: list[core.Command]) -> None:
        last = bool(commands) and isinstance(commands[-1], _ENDINGS)
        for command in commands:
            match command:
                case core.Send():
                    self._send(command)
                case core.SetClock():
                    self._set_clock(command)
                case core.Cancel():
                    self._cancel()
                case core.Commit():
                    self._commit()
                case core.KeepAlive():
                    self._keep_alive()
                case core.Book():
                    self._book(command, last)
                case core.Probe():
                    self._proxy.probe(self._fleet, command.choice, command.failure)
                case core.Complete():
                    self._complete()
                case core.Break():
                    self._end_badly(answer.broke(self._endpoint(), command.failure))
                case core.GiveUp():
                    self._give_up(command)
                case core.Abandon():
                    pass
        if last:
            self._over()

    def _send(self, command: core.Send) -> None:
        proxy, request = self._proxy, self._request
        attempt = Attempt(self, command, request, proxy.clock, proxy.unix())
        self._attempt = attempt
        self._fleet.sent(command.tried, attempt.sent_at)
        address = proxy.addresses[command.choice.endpoint.id]
        attempt.begin(proxy.transport, address, request, self._plan.policy.timeouts.connect)

    def _set_clock(self, command: core.SetClock) -> None:
        if (timer := self._timers.pop(command.clock, None)) is not None:
            timer.cancel()
        if command.clock == "gap":
            self._watch_gap(command.attempt, command.seconds)
        else:
            expired = core.Expired
            clock, attempt = command.clock, command.attempt
            self._timers[clock] = self._proxy.wheel.after(
                command.seconds, lambda: self.feed(expired(clock, attempt, self._proxy.clock()))
            )

    def _watch_gap(self, number: int, seconds: float) -> None:
        """Looks when the silence could first be too long, and again from the last byte heard."""
        attempt = self._attempt

        def look() -> None:
            now = self._proxy.clock()
            if attempt is None or attempt is not self._attempt:
                return
            silent = now - attempt.heard_at
            if self._paused or silent < seconds:
                remaining = seconds if self._paused else seconds - silent
                self._timers["gap"] = self._proxy.wheel.after(remaining, look)
            elif attempt.reader.finish_reason:
                self.feed(core.Finished(number, now))  # all but usage and [DONE] had come
            else:
                self.feed(core.Expired("gap", number, now))

        self._timers["gap"] = self._proxy.wheel.after(seconds, look)

    def _cancel(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()

    def _commit(self) -> None:
        self._committed = True
        if (timer := self._timers.pop("first_token", None)) is not None:
            timer.cancel()
        if (timer := self._timers.pop("keepalive", None)) is not None:
            timer.cancel()
        if not self._request.stream:
            return
        if self._started:  # the headers left long ago: which endpoint it was goes in-band
            self._sink.write(b": endpoint %s\n\n" % self._endpoint().encode())
        else:
            self._start_stream()

    def _keep_alive(self) -> None:
        if not self._started:
            self._start_stream()
        self._sink.write(answer.COMMENT)

    def _start_stream(self) -> None:
        self._started = True
        self._sink.start(200, answer.stream_head(self._request, self._about()))

    def _complete(self) -> None:
        attempt = self._attempt
        if attempt is None:
            return
        usage = usage_object(attempt.usage(self._request), self._cost(attempt))
        if isinstance(attempt.reader, StreamReader):
            tail = attempt.reader.tail(usage, self._request.include_usage)
            self._sink.write(tail)
            self._sink.end()
            self._save_stream(tail)
        else:
            self._complete_whole(attempt.reader, usage)

    def _complete_whole(self, reader: WholeReader, usage: dict[str, Any]) -> None:
        payload = shape.completion(reader.completion, usage)
        head = [(b"x-generation-id", self._request.id.encode()), *self._about()]
        answer.send_json(self._sink, 200, payload, head)
        if self._save is not None:
            self._save(Answer(payload, self._endpoint(), self._proxy.unix()))

    def _give_up(self, command: core.GiveUp) -> None:
        if not command.failures:
            self._proxy.books.write(self._unrouted())
        self._end_badly(answer.gave_up(self._plan, command.failures))

    def _end_badly(self, error: ClientError) -> None:
        if self._started:
            self._sink.write(answer.error_event(self._request, error))
            self._sink.end()
        else:
            head = [(b"x-generation-id", self._request.id.encode()), *self._about()]
            answer.send_error(self._sink, error, head)

    def _crashed(self) -> None:
        self._core.phase = "over"
        self._events.clear()
        self._cancel()
        self._end_badly(ClientError("the gateway failed to handle this request", code="internal_error"))
        self._over()

    # bookkeeping

    def _book(self, command: core.Book, last: bool) -> None:
        """Teaches the fleet and writes the row, before the client sees the end."""
        attempt = self._attempt
        if attempt is None:
            return
        proxy = self._proxy
        now = proxy.clock()
        attempt.ended_at = now
        usage = attempt.usage(self._request)
        self._waited += (now if attempt.first_at is None else attempt.heard_at) - attempt.sent_at
        row = attempt.row(self._request, usage, proxy.unix() - (now - attempt.sent_at), now)
        self._learn(command, attempt, usage, now)
        if command.failure is not None:
            row.outcome, row.error = command.failure.fault, command.failure.message
        elif command.cancelled:
            row.outcome = "cancelled"
        if last:
            self._close_row(row, command.failure, now)
        proxy.books.write(row)

    def _learn(self, command: core.Book, attempt: Attempt, usage: Usage, now: float) -> None:
        fleet, tried = self._fleet, attempt.send.tried
        if command.cancelled:
            fleet.released(tried.endpoint)
        elif command.failure is not None:
            fleet.failed(tried, command.failure, now, self._proxy.chance())
        else:
            fleet.succeeded(tried, usage, attempt.ttft, attempt.speed(usage, attempt.heard_at), now)

    def _close_row(self, row: Row, failure: Failure | None, now: float) -> None:
        row.last = True
        row.cache = self.cache
        row.client_duration = now - self._received
        row.client_ttft = None if self._wrote_at is None else self._wrote_at - self._received
        row.overhead = max(0.0, row.client_duration - self._waited)
        if row.outcome == "cancelled":
            row.client_status = CLIENT_LEFT
        elif failure is None or self._started:
            row.client_status = 200
        else:
            row.client_status = answer.gave_up(self._plan, [(row.endpoint, failure)]).status

    def _unrouted(self) -> Row:
        request = self._request
        duration = self._proxy.clock() - self._received
        return Row(
            id=f"{request.id}-0",
            exchange=request.id,
            at=self._proxy.unix(),
            tenant=request.tenant,
            app=request.app,
            model=request.model,
            policy=request.policy,
            stream=request.stream,
            endpoint="",
            provider="",
            attempt=0,
            outcome="unrouted",
            last=True,
            client_status=answer.gave_up(self._plan, ()).status,
            client_duration=duration,
            overhead=duration,
            cache=self.cache,
        )

    def _over(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._attempt = None
        self._proxy.ended(self)

    def _cost(self, attempt: Attempt) -> int:
        endpoint = attempt.send.choice.endpoint
        return self._proxy.cost(attempt.usage(self._request), endpoint)

    def _endpoint(self) -> str:
        return self._attempt.send.choice.endpoint.id if self._attempt is not None else ""

    def _about(self) -> Headers:
        """Which endpoint answered under which policy, after how many tries."""
        head: Headers = [
            (b"x-gateway-policy", self._request.policy.encode()),
            (b"x-gateway-attempts", b"%d" % (self._attempt.send.attempt if self._attempt else 0)),
            (b"x-gateway-cache", self.cache.encode()),
        ]
        if self._attempt is not None and self._committed:
            head.append((b"x-gateway-endpoint", self._endpoint().encode()))
        return head

    # response cache

    def _keep(self, data: bytes) -> None:
        self._kept_size += len(data)
        if self._kept_size > LARGEST_KEPT:
            self._save = None
            self._kept.clear()
        else:
            self._kept.append(data)

    def _save_stream(self, tail: bytes) -> None:
        """Puts the whole answer together from what the client was sent, after it was sent."""
        if self._save is None:
            return
        block = b"".join((*self._kept, tail))
        whole = assemble(sse.payloads(block))
        if whole is not None:
            self._save(Answer(whole, self._endpoint(), self._proxy.unix()))
