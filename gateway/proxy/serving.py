"""One exchange, live: events queue, the core decides, its commands are performed here.

    attempts, clocks, client ──events──> core ──commands──> attempts, clocks, journal, sink

An event that arrives while commands run waits its turn, so that the core never sees the middle of its own decision.
"""

import logging
from collections import deque
from typing import TYPE_CHECKING

from gateway.errors import ClientError
from gateway.proxy import answer
from gateway.proxy.attempt import Attempt
from gateway.proxy.clocks import Clocks
from gateway.proxy.journal import Journal
from gateway.proxy.keeper import Keeper
from gateway.proxy.sink import Headers, Sink
from gateway.route import exchange as core
from gateway.route.plan import Plan
from gateway.types import Request
from gateway.upstream import shape
from gateway.upstream.stream import StreamReader
from gateway.upstream.usage import usage_object

if TYPE_CHECKING:
    from gateway.proxy.proxy import Proxy

CLIENT_LEFT = 499
_log = logging.getLogger(__name__)
_Ending = core.Complete | core.Break | core.GiveUp | core.Abandon


class Serving:
    """Performs the commands of one exchange. It is the sink's source and the attempts' owner."""

    __slots__ = (
        "_attempt",
        "_clocks",
        "_committed",
        "_core",
        "_events",
        "_fleet",
        "_journal",
        "_keeper",
        "_over",
        "_paused",
        "_plan",
        "_proxy",
        "_request",
        "_running",
        "_sink",
        "_started",
    )

    def __init__(
        self, proxy: "Proxy", request: Request, plan: Plan, sink: Sink, journal: Journal, keeper: Keeper | None
    ) -> None:
        self._proxy = proxy
        self._request = request
        self._plan = plan
        self._fleet = proxy.fleets[request.model]
        self._sink = sink
        self._journal = journal
        self._keeper = keeper
        self._core = core.Exchange(request, plan)
        self._clocks = Clocks(proxy.wheel)
        self._events: deque[core.Event] = deque()
        self._attempt: Attempt | None = None  # the one that runs, or ran last
        self._running = False  # whether commands are being performed
        self._paused = False  # whether the client is slower than the host
        self._started = False  # whether the head of a stream has left
        self._committed = False  # whether the answer is `_attempt`'s
        self._over = False

    def __repr__(self) -> str:
        return f"<Serving {self._request.id} {self._core.phase} {self._attempt!r}>"

    def begin(self) -> None:
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
        if self._keeper is not None:
            self._keeper.take(data)
        self._sink.write(data)

    # from the sink

    def pause(self) -> None:
        self._paused = True
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        self._paused = False
        if self._attempt is not None:
            self._attempt.chunk_at = self._proxy.clock()  # the silence was the client's
            self._attempt.resume()

    def gone(self) -> None:
        self.feed(core.ClientLeft(self._proxy.clock()))

    # commands

    def _perform(self, commands: list[core.Command]) -> None:
        last = commands[-1] if commands else None
        ending = last if isinstance(last, _Ending) else None
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
                    self._book(command, self._status(ending))
                case core.Probe():
                    self._proxy.probe(self._fleet, command.choice)
                case core.Complete():
                    self._complete()
                case core.Break():
                    self._end_badly(answer.broke(self._endpoint(), command.failure))
                case core.GiveUp():
                    self._give_up(command)
                case core.Abandon():
                    pass
        if ending is not None:
            self._close()

    def _send(self, command: core.Send) -> None:
        proxy, request = self._proxy, self._request
        self._attempt = attempt = Attempt(self, command, request, proxy.clock, proxy.unix())
        self._fleet.sent(command.tried, attempt.sent_at)
        address = proxy.addresses[command.choice.endpoint.id]
        attempt.begin(proxy.transport, address, request, self._plan.policy.timeouts.connect)

    def _set_clock(self, command: core.SetClock) -> None:
        clock, number, seconds = command.clock, command.attempt, command.seconds
        if clock == "gap":
            self._clocks.set(clock, seconds, lambda: self._look(number, seconds))
        else:
            expired = core.Expired
            self._clocks.set(clock, seconds, lambda: self.feed(expired(clock, number, self._proxy.clock())))

    def _look(self, number: int, seconds: float) -> None:
        """Whether the host has been silent too long; if not, looks again when it could have been."""
        attempt = self._attempt
        assert attempt is not None
        now = self._proxy.clock()
        silent = 0.0 if self._paused else now - attempt.chunk_at
        if silent < seconds:
            self._clocks.set("gap", seconds - silent, lambda: self._look(number, seconds))
            return
        attempt.heard_at = now  # all this time the host was waited for
        finished = attempt.reader.finished  # only usage and [DONE] are missing
        self.feed(core.Finished(number, now) if finished else core.Expired("gap", number, now))

    def _cancel(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()

    def _commit(self) -> None:
        self._committed = True
        self._clocks.stop("first_token")
        self._clocks.stop("keepalive")
        if not self._request.stream:
            return
        self._journal.first_at = self._proxy.clock()
        if self._started:  # the headers left long ago: who answers goes in-band
            self._sink.write(answer.comment(self._endpoint(), self._attempts()))
        else:
            self._start_stream()

    def _keep_alive(self) -> None:
        if not self._started:
            self._start_stream()
        self._sink.write(answer.KEEP_ALIVE)

    def _start_stream(self) -> None:
        self._started = True
        self._sink.start(200, answer.stream_head(self._about()))

    def _complete(self) -> None:
        attempt = self._attempt
        assert attempt is not None
        usage = usage_object(attempt.usage, attempt.cost)
        reader = attempt.reader
        if isinstance(reader, StreamReader):
            tail = reader.tail(usage, self._request.include_usage)
            self._sink.write(tail)
            self._sink.end()
            attempt.let_go(self._proxy.wheel)
            if self._keeper is not None:
                self._keeper.stream(tail, self._endpoint(), self._proxy.unix())
        else:
            payload = shape.completion(reader.completion, usage)
            answer.send_json(self._sink, 200, payload, self._about())
            if self._keeper is not None:
                self._keeper.whole(payload, self._endpoint(), self._proxy.unix())

    def _give_up(self, command: core.GiveUp) -> None:
        error = answer.gave_up(self._plan, command.failures)
        if not command.failures:
            self._journal.unattempted("unrouted", error.status, self._proxy.clock(), self._proxy.unix())
        self._end_badly(error)

    def _end_badly(self, error: ClientError) -> None:
        if self._started:
            self._sink.write(answer.error_event(self._request, error))
            self._sink.end()
        else:
            answer.send_error(self._sink, error, self._about())

    def _crashed(self) -> None:
        """Ends an exchange that a fault of ours has broken off."""
        if self._over:
            return
        error = answer.internal_error()
        self._core.phase = "over"
        self._events.clear()
        self._cancel()
        if self._attempt is None:
            self._journal.unattempted("unrouted", error.status, self._proxy.clock(), self._proxy.unix())
        elif self._attempt.ended_at is None:
            self._book(core.Book(self._attempts(), cancelled=True), error.status)
        self._end_badly(error)
        self._close()

    def _close(self) -> None:
        self._over = True
        self._attempt = None  # it refers back
        self._clocks.close()
        self._proxy.ended(self)

    # bookkeeping

    def _book(self, command: core.Book, status: int | None) -> None:
        """Settles the attempt, teaches the fleet and writes the row, before the client sees the end."""
        attempt, proxy = self._attempt, self._proxy
        assert attempt is not None
        now = proxy.clock()
        sent = proxy.unix() - (now - attempt.sent_at)
        attempt.settle(self._request, sent, command.cancelled, self._plan.demand.output_tokens)
        self._learn(command, attempt, now)
        self._journal.attempted(attempt, command, now, sent, status)

    def _learn(self, command: core.Book, attempt: Attempt, now: float) -> None:
        fleet, tried = self._fleet, attempt.send.tried
        if command.cancelled:
            fleet.released(tried, attempt.ttft, now)
        elif command.failure is not None:
            fleet.failed(tried, command.failure, now, self._proxy.chance())
        else:
            fleet.succeeded(tried, attempt.usage, attempt.ttft, attempt.speed(), now)

    def _status(self, ending: _Ending | None) -> int | None:
        """What the client gets when the exchange ends in this way; None while it goes on."""
        if ending is None:
            return None
        if isinstance(ending, core.Abandon):
            return CLIENT_LEFT
        if isinstance(ending, core.GiveUp) and not self._started:
            return answer.gave_up(self._plan, ending.failures).status
        return 200

    def _endpoint(self) -> str:
        return self._attempt.send.choice.endpoint.id if self._attempt is not None else ""

    def _attempts(self) -> int:
        return self._attempt.send.attempt if self._attempt is not None else 0

    def _about(self) -> Headers:
        """Headers: which endpoint answers under which policy, after how many tries."""
        endpoint = self._endpoint() if self._committed else ""
        return answer.about(self._request, self._journal.cache, self._attempts(), endpoint)
