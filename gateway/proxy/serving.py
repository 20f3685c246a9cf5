"""One exchange, live: events queue, the core decides, its commands are performed here.

    attempts, clocks, client ──events──> core ──commands──> attempts, clocks, journal, sink

An event that arrives while commands run waits its turn, so that the core never sees the middle of its own decision.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.errors import ClientError
from gateway.proxy import answer
from gateway.proxy.attempt import Attempt
from gateway.proxy.clocks import Clocks
from gateway.proxy.journal import Journal
from gateway.proxy.keeper import Keeper
from gateway.proxy.reply import Reply
from gateway.proxy.sink import Sink
from gateway.route import exchange as core
from gateway.route.plan import Plan
from gateway.types import OutcomeName, Request
from gateway.upstream import shape
from gateway.upstream.stream import StreamReader
from gateway.upstream.usage import usage_object

if TYPE_CHECKING:
    from gateway.proxy.proxy import Proxy

CLIENT_LEFT = 499
CLOCKS = frozenset({"timeout_first_token", "timeout_gap", "timeout_total"})  # faults by which this side ends an attempt
PATIENCE = 60.0  # seconds for which a client may take nothing of what waits for it
_log = logging.getLogger(__name__)
_Ending = core.Complete | core.Break | core.GiveUp | core.Abandon
_ENDINGS = frozenset({core.Complete, core.Break, core.GiveUp, core.Abandon})


class Serving:
    """Performs the commands of one exchange. It is the sink's source and the attempts' owner."""

    __slots__ = (
        "_attempt",
        "_clocks",
        "_core",
        "_events",
        "_fleet",
        "_journal",
        "_keeper",
        "_plan",
        "_proxy",
        "_reply",
        "_request",
        "_running",
    )

    def __init__(
        self, proxy: "Proxy", request: Request, plan: Plan, sink: Sink, journal: Journal, keeper: Keeper | None
    ) -> None:
        self._proxy = proxy
        self._request = request
        self._plan = plan
        self._fleet = proxy.fleets[request.model]
        self._reply = Reply(request, sink, journal.cache)
        self._journal = journal
        self._keeper = keeper
        self._core = core.Exchange(request, plan)
        self._clocks = Clocks(proxy.wheel)
        self._events: list[core.Event] = []  # rarely more than one
        self._attempt: Attempt | None = None  # the one that runs, or ran last
        self._running = False  # whether commands are being performed

    def __repr__(self) -> str:
        return f"<Serving {self._request.id} {self._core.phase} {self._attempt!r}>"

    def begin(self) -> None:
        self.feed(core.Started(self._proxy.clock()))

    def stop(self) -> None:
        """The gateway stops: whatever the exchange is doing, it ends here."""
        self._break_off("cancelled", answer.shutting_down())

    # from attempts and clocks

    def feed(self, event: core.Event) -> None:
        self._events.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._events:
                self._perform(self._core.on(self._events.pop(0)))
        except Exception:  # a fault of ours must not leave the client waiting
            _log.exception("exchange %s failed inside the gateway", self._request.id)
            self._break_off("internal", answer.internal_error())
        finally:
            self._running = False

    # from the sink

    def pause(self) -> None:
        """Before the commit there is nothing to hold back, and the first token must come through."""
        if not self._reply.paused:
            self._reply.paused = True
            self._clocks.set("client", PATIENCE, self._takes_nothing)
        if self._reply.endpoint and self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        self._reply.paused = False
        self._clocks.stop("client")
        if self._reply.endpoint and self._attempt is not None:
            self._attempt.chunk_at = self._proxy.clock()  # the silence was the client's
            self._attempt.resume()

    def gone(self) -> None:
        self.feed(core.ClientLeft(self._proxy.clock()))

    def _takes_nothing(self) -> None:
        """A client that has stopped reading counts as gone: it would hold its host for ever."""
        self._reply.sink.abort()
        self.gone()

    # commands

    def _perform(self, commands: list[core.Command]) -> None:
        ending: Any = commands[-1] if commands and type(commands[-1]) in _ENDINGS else None
        for command in commands:
            if isinstance(command, core.Book):
                self._book(command, self._status(ending))
            else:
                _PERFORM[type(command)](self, command)
        if ending is not None:
            self._close()

    def _send(self, command: core.Send) -> None:
        proxy, request = self._proxy, self._request
        self._attempt = attempt = Attempt(self, command, request, proxy.clock, proxy.unix())
        self._reply.attempts = command.attempt
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
        silent = 0.0 if self._reply.paused else now - attempt.chunk_at
        if silent < seconds:
            self._clocks.set("gap", seconds - silent, lambda: self._look(number, seconds))
            return
        attempt.heard_at = now  # all this time the host was waited for
        finished = attempt.reader.finished  # only usage and [DONE] are missing
        self.feed(core.Finished(number, now) if finished else core.Expired("gap", number, now))

    def _cancel(self, _: core.Cancel) -> None:
        if self._attempt is not None:
            self._attempt.cancel()

    def _commit(self, _: core.Commit) -> None:
        self._clocks.stop("first_token")
        self._clocks.stop("keepalive")
        attempt = self._attempt
        assert attempt is not None
        if self._request.stream:
            self._journal.first_at = self._proxy.clock()
        self._reply.commit(attempt.send.choice.endpoint.id)
        write = self._reply.sink.write
        attempt.relay = write if self._keeper is None else self._keeper.tee(write)
        if self._reply.paused:
            attempt.pause()

    def _keep_alive(self, _: core.KeepAlive) -> None:
        self._reply.keep_alive()

    def _probe(self, command: core.Probe) -> None:
        self._proxy.probe(self._fleet, command.choice)

    def _complete(self, _: core.Complete) -> None:
        attempt = self._attempt
        assert attempt is not None
        usage = usage_object(attempt.usage, attempt.cost)
        reader = attempt.reader
        if isinstance(reader, StreamReader):
            tail = reader.tail(usage, self._request.include_usage)
            self._reply.finish(tail)
            attempt.let_go(self._proxy.wheel)
            if self._keeper is not None:
                self._keeper.stream(tail, self._reply.endpoint, self._proxy.unix())
        else:
            payload = shape.completion(reader.completion, usage)
            self._reply.whole(payload)
            if self._keeper is not None:
                self._keeper.whole(payload, self._reply.endpoint, self._proxy.unix())

    def _break(self, command: core.Break) -> None:
        self._reply.fail(answer.broke(self._reply.endpoint, command.failure))

    def _give_up(self, command: core.GiveUp) -> None:
        error = answer.gave_up(self._plan, command.failures)
        if not command.failures:
            self._journal.unattempted("unrouted", error.status, self._proxy.clock(), self._proxy.unix())
        self._reply.fail(error)

    def _abandon(self, _: core.Abandon) -> None:
        if self._attempt is None:
            self._journal.unattempted("cancelled", CLIENT_LEFT, self._proxy.clock(), self._proxy.unix())

    def _break_off(self, outcome: OutcomeName, error: ClientError) -> None:
        """Ends the exchange without asking the core: by a fault of ours, or because the gateway stops."""
        if self not in self._proxy.live:
            return
        self._core.phase = "over"
        self._events.clear()
        if self._attempt is not None:
            self._attempt.cancel()
        try:
            self._book_break(outcome, 200 if self._reply.started else error.status)
        except Exception:  # the client is told all the same
            _log.exception("exchange %s is not booked", self._request.id)
        if self._proxy.closed and self._reply.paused:
            self._reply.sink.abort()  # it takes nothing, and nobody can wait for it
        else:
            self._reply.fail(error)
        self._close()

    def _close(self) -> None:
        self._attempt = None  # it refers back
        self._clocks.close()
        self._proxy.ended(self)

    # bookkeeping

    def _book(self, command: core.Book, status: int | None) -> None:
        """The attempt is over, as the core says."""
        failure = command.failure
        cut_off = command.cancelled or (failure is not None and failure.fault in CLOCKS)
        outcome: OutcomeName = failure.fault if failure is not None else "cancelled" if command.cancelled else "ok"
        self._settle(command, outcome, cut_off, status)

    def _book_break(self, outcome: OutcomeName, status: int) -> None:
        """Writes the closing row of an exchange that was broken off, unless it is written."""
        attempt = self._attempt
        if attempt is not None and attempt.ended_at is None:
            self._settle(core.Book(attempt.send.attempt, cancelled=True), outcome, True, status)
        elif not self._journal.closed:
            self._journal.unattempted(outcome, status, self._proxy.clock(), self._proxy.unix())

    def _settle(self, command: core.Book, outcome: OutcomeName, cut_off: bool, status: int | None) -> None:
        """Fixes what the attempt cost, teaches the fleet and writes the row, before the client sees the end."""
        attempt, proxy = self._attempt, self._proxy
        assert attempt is not None
        now = proxy.clock()
        sent = proxy.unix() - (now - attempt.sent_at)
        attempt.settle(self._request, sent, cut_off, self._plan.demand.output_tokens)
        self._learn(command, attempt, now)
        self._journal.attempted(attempt, outcome, command.failure, now, sent, status)

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
        if isinstance(ending, core.GiveUp) and not self._reply.started:
            return answer.gave_up(self._plan, ending.failures).status
        return 200


_PERFORM: dict[type[core.Command], Callable[[Serving, Any], None]] = {
    core.Send: Serving._send,
    core.SetClock: Serving._set_clock,
    core.Cancel: Serving._cancel,
    core.Commit: Serving._commit,
    core.KeepAlive: Serving._keep_alive,
    core.Probe: Serving._probe,
    core.Complete: Serving._complete,
    core.Break: Serving._break,
    core.GiveUp: Serving._give_up,
    core.Abandon: Serving._abandon,
}
