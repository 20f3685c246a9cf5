"""One exchange, live: events queue, the core decides, its commands are performed here.

    attempts, clocks, client ──events──> core ──commands──> attempts, clocks, journal, sink

An event that arrives while commands run waits its turn, so that the core never sees the middle of its own decision.
"""

import logging
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from gateway.errors import ClientError
from gateway.proxy import failed
from gateway.proxy.attempt import Attempt
from gateway.proxy.clocks import Clocks
from gateway.proxy.continuation import continuation
from gateway.proxy.journal import Journal, outcome_of
from gateway.proxy.reply import Reply
from gateway.route import signals as core
from gateway.route.exchange import Exchange
from gateway.route.plan import Plan
from gateway.surface import answer
from gateway.types import PICO, Failure, HedgeResult, OutcomeName, Request
from gateway.upstream.stream import NOTHING, StreamReader

if TYPE_CHECKING:
    from gateway.proxy.proxy import Proxy

CLIENT_LEFT = 499
ENDING = 3.0  # seconds that a host has after the finish chunk for usage and `[DONE]`
PATIENCE = 60.0  # seconds for which a client may take nothing of what waits for it
_log = logging.getLogger(__name__)
_Ending = core.Complete | core.Break | core.GiveUp | core.Abandon
_ENDINGS = frozenset({core.Complete, core.Break, core.GiveUp, core.Abandon})


class Serving:
    """Performs the commands of one exchange. It is the sink's source and the attempts' owner."""

    __slots__ = (
        "_answering",
        "_attempts",
        "_clocks",
        "_continuation",
        "_core",
        "_events",
        "_fleet",
        "_journal",
        "_plan",
        "_proxy",
        "_reply",
        "_request",
        "_working",
    )

    def __init__(self, proxy: "Proxy", request: Request, plan: Plan, reply: Reply, journal: Journal) -> None:
        self._proxy = proxy
        self._request = request
        self._plan = plan
        self._fleet = proxy.fleets[request.model]
        self._reply = reply
        self._journal = journal
        self._core = Exchange(request, plan, proxy.budgets.of(plan.policy, request.model), proxy.chance)
        self._continuation = continuation(request, plan.policy)
        self._clocks = Clocks(proxy.wheel)
        self._events: list[core.Event] = []  # rarely more than one
        self._attempts: tuple[Attempt, ...] = ()  # those that run: two at most
        self._answering: Attempt | None = None  # the one that the answer comes from, since the commit
        self._working = False  # whether commands are being performed

    def __repr__(self) -> str:
        return f"<Serving {self._request.id} {self._core.phase} {self._attempts}>"

    def begin(self) -> None:
        self.feed(core.Started(self._proxy.clock()))

    def stop(self) -> None:
        """The gateway stops: whatever the exchange is doing, it ends here."""
        self._break_off("cancelled", answer.shutting_down())

    # from attempts and clocks

    def feed(self, event: core.Event) -> None:
        self._events.append(event)
        if self._working:
            return
        self._working = True
        try:
            while self._events:
                self._perform(self._core.on(self._events.pop(0)))
        except Exception:  # a fault of ours must not leave the client waiting
            _log.exception("exchange %s failed inside the gateway", self._request.id)
            self._break_off("internal", answer.internal_error())
        finally:
            self._working = False

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        number, now = attempt.send.attempt, self._proxy.clock()
        self.feed(core.Failed(number, failure, now, self._is_resumable(attempt)))

    def ending(self, attempt: Attempt) -> None:
        number = attempt.send.attempt
        self._clocks.set(number, ENDING, lambda: self._look(number, ENDING, inf))

    # from the sink

    def pause(self) -> None:
        """Before the commit there is nothing to hold back, and the first token must come through."""
        if not self._reply.paused:
            self._reply.paused = True
            self._clocks.set("client", PATIENCE, self._takes_nothing)
        if self._answering is not None:
            self._answering.pause()

    def resume(self) -> None:
        self._reply.paused = False
        self._clocks.stop("client")
        if self._answering is not None:
            self._answering.chunk_at = self._proxy.clock()  # the silence was the client's
            self._answering.resume()

    def gone(self) -> None:
        self.feed(core.ClientLeft(self._proxy.clock()))

    def _takes_nothing(self) -> None:
        """A client that has stopped reading counts as gone: it would hold its host for ever."""
        self._reply.sink.abort()
        self.gone()

    # commands

    def _perform(self, commands: list[core.Command]) -> None:
        ending: Any = commands[-1] if commands and type(commands[-1]) in _ENDINGS else None
        closing = None if ending is None else _last_book(commands)
        for command in commands:
            if isinstance(command, core.Book):
                self._book(command, self._status(ending) if command is closing else None)
            else:
                _PERFORM[type(command)](self, command)
        if ending is not None:
            self._close()

    def _send(self, command: core.Send) -> None:
        proxy, request = self._proxy, self._request
        continued = self._continuation if command.continues else None
        if continued is not None and self._answering is not None:
            request = continued.request(self._answering)
        reshape = None if continued is None else continued.shape
        attempt = Attempt(self, command, request, proxy.clock, proxy.unix(), reshape)
        self._attempts += (attempt,)
        self._reply.attempts = command.attempt
        self._journal.pause_ended(attempt.sent_at)
        self._fleet.sent(command.tried, attempt.sent_at)
        attempt.begin(proxy.hosts, request, self._plan.policy.timeouts.connect)

    def _set_clock(self, command: core.SetClock) -> None:
        clock, number, seconds = command.clock, command.attempt, command.seconds
        if clock == "gap":
            ends = self._proxy.clock() + command.total
            first = min(seconds, command.total, self._request.patience)
            self._clocks.set(number, first, lambda: self._look(number, seconds, ends))
            return
        if clock == "retry":
            self._journal.paused()
        expired = core.Expired
        self._clocks.set(number or clock, seconds, lambda: self.feed(expired(clock, number, self._proxy.clock())))

    def _look(self, number: int, seconds: float, ends: float) -> None:
        """Whether the host has been silent too long, or the answer has come for too long; if not, looks again when
        either could be so. A client without patience gets a comment for each silence that tries it."""
        attempt, now = self._of(number), self._proxy.clock()
        silent = 0.0 if self._reply.paused else now - attempt.chunk_at
        if attempt.ending_at is not None:  # only usage and [DONE] are missing
            silent = now - attempt.ending_at
        if silent < seconds and now < ends:
            patience = self._patience(attempt, silent)
            again = min(seconds - silent, ends - now, patience)
            self._clocks.set(number, again, lambda: self._look(number, seconds, ends))
            return
        attempt.heard_at = now  # all this time the host was waited for
        if attempt.ending_at is not None:
            self.feed(core.Finished(number, now))
        else:
            clock: core.Clock = "gap" if silent >= seconds else "total"
            self.feed(core.Expired(clock, number, now, self._is_resumable(attempt)))

    def _patience(self, attempt: Attempt, silent: float) -> float:
        """Seconds until the client of an answer that flows must see something, after so long a silence of its host."""
        patience = self._request.patience
        if silent < patience or self._reply.paused or attempt is not self._answering:
            return patience - silent if silent < patience else patience
        self._reply.keep_alive()
        return patience

    def _is_resumable(self, attempt: Attempt) -> bool:
        continued = self._continuation
        return continued is not None and attempt is self._answering and continued.possible

    def _cancel(self, command: core.Cancel) -> None:
        self._clocks.stop(command.attempt)
        self._of(command.attempt).cancel()

    def _begin(self, command: core.Begin) -> None:
        attempt = self._of(command.attempt)
        self._began(attempt)
        if self._request.stream:
            attempt.hold()

    def _began(self, attempt: Attempt) -> None:
        """Its first token has come. A whole answer is booked at once, which says the same and more."""
        if not attempt.begun and attempt.send.tried.streams:
            attempt.begun = True
            self._fleet.began(attempt.send.tried, self._proxy.clock())

    def _commit(self, command: core.Commit) -> None:
        self._clocks.stop("keepalive")
        attempt = self._of(command.attempt)
        self._began(attempt)
        if self._request.stream and self._journal.first_at is None:
            self._journal.first_at = self._proxy.clock()
        self._answering = attempt
        relay = self._reply.commit(attempt.send.choice.endpoint.id)
        attempt.relay = relay if self._continuation is None else self._continuation.tee(relay)
        if attempt.held_back:
            attempt.relay(b"".join(attempt.held_back))
            attempt.held_back.clear()
        if self._reply.paused:
            attempt.pause()

    def _keep_alive(self, _: core.KeepAlive) -> None:
        self._reply.keep_alive()

    def _probe(self, command: core.Probe) -> None:
        self._proxy.probe(self._fleet, command.choice)

    def _complete(self, _: core.Complete) -> None:
        attempt = self._answering
        assert attempt is not None
        used, cost, continued = attempt.usage, attempt.cost, self._continuation
        if continued is not None and continued.continues:
            used, cost = continued.total(attempt)
        usage = attempt.shape.usage(used, cost)
        reader = attempt.reader
        if isinstance(reader, StreamReader):
            tail = reader.tail(usage, self._request.include_usage, self._reply.routing())
            self._reply.finish(tail, attempt.shape.hidden)
            attempt.let_go(self._proxy.wheel)
        else:
            whole = attempt.shape.completion(reader.completion, usage)
            self._reply.whole(whole, attempt.shape.hidden)

    def _break(self, command: core.Break) -> None:
        self._reply.fail(failed.broke(self._reply.endpoint, command.failure), self._head())

    def _give_up(self, command: core.GiveUp) -> None:
        error = failed.gave_up(self._request, self._plan, command.failures)
        if not self._journal.closed:
            ended: OutcomeName = command.failures[-1][1].fault if command.failures else "unrouted"
            self._journal.unattempted(ended, 200 if self._reply.started else error.status)
        self._reply.fail(error)

    def _abandon(self, _: core.Abandon) -> None:
        if not self._journal.closed:
            self._journal.unattempted("cancelled", CLIENT_LEFT)

    def _break_off(self, outcome: OutcomeName, error: ClientError) -> None:
        """Ends the exchange without asking the core: by a fault of ours, or because the gateway stops."""
        if self not in self._proxy.live:
            return
        self._core.phase = "over"
        self._events.clear()
        for attempt in self._attempts:
            attempt.cancel()
        try:
            self._book_break(outcome, 200 if self._reply.started else error.status)
        except Exception:  # the client is told all the same
            _log.exception("exchange %s is not booked", self._request.id)
        if self._proxy.closed and self._reply.paused:
            self._reply.sink.abort()  # it takes nothing, and nobody can wait for it
        else:
            self._reply.fail(error, self._head())
        self._close()

    def _head(self) -> Mapping[str, Any]:
        """What the chunks that the client has got have in common."""
        reader = self._answering.reader if self._answering is not None else None
        return reader.head() if isinstance(reader, StreamReader) else NOTHING

    def _close(self) -> None:
        self._attempts, self._answering = (), None  # they refer back
        self._clocks.close()
        self._proxy.ended(self)

    # bookkeeping

    def _of(self, number: int) -> Attempt:
        for attempt in self._attempts:
            if attempt.send.attempt == number:
                return attempt
        raise LookupError(f"attempt {number} of {self!r} does not run")

    def _book(self, command: core.Book, status: int | None) -> None:
        """The attempt is over, as the core says."""
        attempt = self._of(command.attempt)
        self._settle(attempt, command, outcome_of(command), status)

    def _book_break(self, ended: OutcomeName, status: int) -> None:
        """Writes what is still to be written of an exchange that was broken off."""
        for attempt in self._attempts:
            if attempt.ended_at is None:
                race: HedgeResult = "won" if attempt is self._answering else "cancelled"
                book = core.Book(attempt.send.attempt, cancelled=True, hedge=race if attempt.send.hedge else "")
                self._settle(attempt, book, ended, status if attempt is self._attempts[-1] else None)
        if not self._journal.closed:
            self._journal.unattempted(ended, status)

    def _settle(self, attempt: Attempt, book: core.Book, ended: OutcomeName, status: int | None) -> None:
        others = tuple([other for other in self._attempts if other is not attempt])
        self._journal.attempted(attempt, book, ended, status, not others)
        self._core.paid(book, attempt.cost / PICO)
        self._attempts = others

    def _status(self, ending: _Ending | None) -> int | None:
        """What the client gets when the exchange ends in this way; None while it goes on."""
        if ending is None:
            return None
        if isinstance(ending, core.Abandon):
            return CLIENT_LEFT
        if isinstance(ending, core.GiveUp) and not self._reply.started:
            return failed.gave_up(self._request, self._plan, ending.failures).status
        return 200


def _last_book(commands: list[core.Command]) -> core.Book | None:
    """The one that closes the exchange which these commands end."""
    for command in reversed(commands):
        if isinstance(command, core.Book):
            return command
    return None


_PERFORM: dict[type[core.Command], Callable[[Serving, Any], None]] = {
    core.Send: Serving._send,
    core.SetClock: Serving._set_clock,
    core.Cancel: Serving._cancel,
    core.Begin: Serving._begin,
    core.Commit: Serving._commit,
    core.KeepAlive: Serving._keep_alive,
    core.Probe: Serving._probe,
    core.Complete: Serving._complete,
    core.Break: Serving._break,
    core.GiveUp: Serving._give_up,
    core.Abandon: Serving._abandon,
}
