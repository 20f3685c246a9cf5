"""One exchange, live: events queue, the core decides, its commands are performed here.

    attempts, timers, client ──events──> core ──commands──> attempts, timers, journal, reply

An event that arrives while commands run waits its turn, so that the core never sees the middle of its own decision.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any

from gateway.errors import HOSTS_FULL, ClientError, Overloaded
from gateway.proxy import failed
from gateway.proxy.attempt import Attempt
from gateway.proxy.continuation import continuation
from gateway.proxy.journal import Journal
from gateway.proxy.probe import AccountProbe
from gateway.proxy.reply import Reply
from gateway.proxy.runtime import Runtime
from gateway.proxy.timer_wheel import Timer
from gateway.route import signals as core
from gateway.route.exchange import Exchange
from gateway.route.plan import Plan
from gateway.route.slot_queue import Waiting
from gateway.surface import answer
from gateway.types import PICO, Failure, HedgeResult, OutcomeName, Request
from gateway.upstream.stream import NOTHING, StreamReader

CLIENT_LEFT = 499
ENDING = 3.0  # seconds that a host has after the finish chunk for usage and `[DONE]`
PATIENCE = 60.0  # seconds for which a client may take nothing of what waits for it
_log = logging.getLogger(__name__)


class LiveExchange:
    """Performs the commands of one exchange. It is the sink's source and the attempts' owner.

    Each attempt has one timer, by its number; the exchange has its own by name.
    """

    __slots__ = (
        "_answering",
        "_attempts",
        "_continuation",
        "_core",
        "_ending",
        "_events",
        "_fleet",
        "_journal",
        "_performing",
        "_plan",
        "_reply",
        "_request",
        "_runtime",
        "_timers",
        "_waits",
    )

    def __init__(self, runtime: Runtime, request: Request, plan: Plan, reply: Reply, journal: Journal) -> None:
        policy = plan.policy
        self._runtime = runtime
        self._request = request
        self._plan = plan
        self._fleet = runtime.fleets[request.model]
        self._reply = reply
        self._journal = journal
        budget = runtime.budgets.of(policy, request.model) if request.stream else None
        self._core = Exchange(request, plan, budget, runtime.rng, self._fleet.retry_budget, queues=True)
        self._continuation = continuation(request, policy) if policy.resume == "continue" else None
        self._timers: dict[int | str, Timer] = {}
        self._events: list[core.Event] = []  # that wait until commands are performed
        self._performing = False
        self._ending: core.Command | None = None  # how the exchange ends, once that is decided
        self._waits = False  # for a place at an endpoint
        self._attempts: dict[int, Attempt] = {}  # those that run: two at most
        self._answering: Attempt | None = None  # the one that the answer comes from, since the commit

    def __repr__(self) -> str:
        return f"<LiveExchange {self._request.id} {self._core.phase} {list(self._attempts.values())}>"

    def begin(self) -> None:
        self.feed(core.Started(self._runtime.clock()))

    def stop(self) -> None:
        """The gateway stops: whatever the exchange is doing, it ends here."""
        self._break_off("cancelled", answer.shutting_down())

    # from attempts and timers

    def feed(self, event: core.Event) -> None:
        if self._performing:
            self._events.append(event)
            return
        self._performing = True
        try:
            self._perform(self._core.on(event))
            while self._events:
                self._perform(self._core.on(self._events.pop(0)))
        except Exception:  # a fault of ours must not leave the client waiting
            _log.exception("exchange %s failed inside the gateway", self._request.id)
            self._break_off("internal", answer.internal_error())
        finally:
            self._performing = False

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        number, now = attempt.send.attempt, self._runtime.clock()
        self.feed(core.Failed(number, failure, now, self._is_resumable(attempt)))

    def ending(self, attempt: Attempt) -> None:
        number = attempt.send.attempt
        self._set_timer(number, ENDING, partial(self._look, number, ENDING, inf))

    # from the sink

    def pause(self) -> None:
        """Before the commit there is nothing to pause, and the first token must be read."""
        if not self._reply.paused:
            self._reply.paused = True
            self._set_timer("client", PATIENCE, self._takes_nothing)
        if self._answering is not None:
            self._answering.pause()

    def resume(self) -> None:
        self._reply.paused = False
        self._stop_timer("client")
        if self._answering is not None:
            self._answering.chunk_at = self._runtime.clock()  # the silence was the client's
            self._answering.resume()

    def gone(self) -> None:
        self.feed(core.ClientLeft(self._runtime.clock()))

    def _takes_nothing(self) -> None:
        """A client that has stopped reading counts as gone: it would keep its host's connection for ever."""
        self._reply.sink.abort()
        self.gone()

    # commands

    def _perform(self, commands: list[core.Command]) -> None:
        if self._core.phase != "over":
            for command in commands:
                _PERFORM[type(command)](self, command)
        elif commands:
            self._ending = commands[-1]
            for command in commands:
                _PERFORM[type(command)](self, command)
            self._close()

    def _send(self, command: core.Send) -> None:
        request, reshape = self._request, None
        if command.continues and self._continuation is not None and self._answering is not None:
            request, reshape = self._continuation.request(self._answering), self._continuation.shape
        attempt = self._attempts[command.attempt] = Attempt(self._runtime, self, command, request, reshape)
        self._reply.attempts = command.attempt
        self._fleet.sent(command.tried, attempt.sent_at)
        self._journal.sending(attempt)
        attempt.begin(request, self._plan.policy.timeouts.connect)

    def _enqueue(self, command: core.Enqueue) -> None:
        if not self._waits:
            self._waits = True
            self._journal.paused()
        line, now = command.line, self._runtime.clock()
        for loser in self._fleet.slots.push(self._request.tenant, Waiting(self, line.endpoints, now), line.most):
            loser.feed(core.Expired("queue", 0, now))

    def _shed(self, _: core.Shed) -> None:
        self._fleet.slots.shed += 1
        error = Overloaded(HOSTS_FULL)
        self._journal.unattempted("unrouted", 200 if self._reply.started else error.status)
        self._reply.fail(error)

    def _offer_place(self, endpoint: str) -> None:
        """An attempt has ended: the next request that waits for such a place may be sent."""
        waiter = self._fleet.slots.pop(endpoint)
        if waiter is not None:
            self._runtime.wheel.soon(lambda: waiter.feed(core.Expired("place", 0, self._runtime.clock())))

    def _start_timer(self, command: core.SetTimer) -> None:
        name, number, seconds = command.timer, command.attempt, command.seconds
        if name == "gap":
            ends = self._runtime.clock() + command.total
            first = min(seconds, command.total, self._request.patience)
            self._set_timer(number, first, partial(self._look, number, seconds, ends))
            return
        if name == "retry":
            self._journal.paused()
        self._set_timer(number or name, seconds, partial(self._expired, name, number))

    def _expired(self, name: core.TimerName, number: int) -> None:
        self.feed(core.Expired(name, number, self._runtime.clock()))

    def _look(self, number: int, seconds: float, ends: float) -> None:
        """Whether the host has been silent too long, or the answer has come for too long; if not, looks again when
        either could be so. A client with a short read timeout gets comments meanwhile."""
        attempt, now = self._attempts[number], self._runtime.clock()
        silent = 0.0 if self._reply.paused else now - attempt.chunk_at
        if attempt.ending_at is not None:  # only usage and [DONE] are missing
            silent = now - attempt.ending_at
        if silent < seconds and now < ends:
            patience = self._patience(attempt, silent)
            again = min(seconds - silent, ends - now, patience)
            self._set_timer(number, again, partial(self._look, number, seconds, ends))
            return
        attempt.received_at = now  # all this time the host was waited for
        if attempt.ending_at is not None:
            self.feed(core.Finished(number, now))
        else:
            name: core.TimerName = "gap" if silent >= seconds else "total"
            self.feed(core.Expired(name, number, now, self._is_resumable(attempt)))

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
        self._stop_timer(command.attempt)
        self._attempts[command.attempt].cancel()

    def _begin(self, command: core.Begin) -> None:
        attempt = self._attempts[command.attempt]
        if attempt.send.tried.streams and not attempt.begun:
            self._began(attempt)
        if self._request.stream:
            attempt.hold()

    def _began(self, attempt: Attempt) -> None:
        """Its first token has come. A host that does not stream is booked at once, which says the same and more."""
        attempt.begun = True
        self._fleet.began(attempt.send.tried, self._runtime.clock())

    def _commit(self, command: core.Commit) -> None:
        attempt = self._answering = self._attempts[command.attempt]
        if attempt.send.tried.streams and not attempt.begun:
            self._began(attempt)
        relay = self._reply.commit(attempt.send.choice.endpoint)
        if not self._request.stream:
            return  # it is sent at its end, which is now
        self._stop_timer("keepalive")
        if self._journal.first_at is None:
            self._journal.first_at = self._runtime.clock()
        attempt.relay = relay if self._continuation is None else self._continuation.tee(relay)
        if attempt.held_back:
            attempt.relay(b"".join(attempt.held_back))
            attempt.held_back.clear()
        if self._reply.paused:
            attempt.pause()

    def _keep_alive(self, _: core.KeepAlive) -> None:
        self._reply.keep_alive()

    def _probe(self, command: core.Probe) -> None:
        AccountProbe(self._runtime, self._fleet, command.choice.endpoint).begin()

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
            attempt.let_go()
        else:
            whole = attempt.shape.completion(reader.completion, usage)
            self._reply.whole(whole, attempt.shape.hidden)

    def _break(self, command: core.Break) -> None:
        self._reply.fail(failed.broke(self._reply.endpoint_id, command.failure), self._head())

    def _give_up(self, command: core.GiveUp) -> None:
        error = failed.gave_up(self._request, self._plan, command.failures)
        if not self._journal.closed:
            ended: OutcomeName = command.failures[-1][1].fault if command.failures else "unrouted"
            self._journal.unattempted(ended, 200 if self._reply.started else error.status)
        self._reply.fail(error)

    def _abandon(self, _: core.Abandon) -> None:
        self._reply.abandon()
        if not self._journal.closed:
            self._journal.unattempted("cancelled", CLIENT_LEFT)

    def _break_off(self, outcome: OutcomeName, error: ClientError) -> None:
        """Ends the exchange from outside the core: by a fault of ours, or because the gateway stops."""
        if self not in self._runtime.under_way:
            return
        self._core.stop()
        self._events.clear()
        for attempt in self._attempts.values():
            attempt.cancel()
        try:
            self._book_break(outcome, 200 if self._reply.started else error.status)
        except Exception:  # the client gets its error all the same
            _log.exception("exchange %s is not booked", self._request.id)
        if self._runtime.under_way.closed and self._reply.paused:
            self._reply.sink.abort()  # the client reads nothing, and the worker does not wait for it
        else:
            self._reply.fail(error, self._head())
        self._close()

    def _head(self) -> Mapping[str, Any]:
        """What the chunks that the client has got have in common."""
        reader = self._answering.reader if self._answering is not None else None
        return reader.head() if isinstance(reader, StreamReader) else NOTHING

    def _close(self) -> None:
        if self._journal.reservation is not None:
            self._journal.reservation.settle()
        self._attempts, self._answering = {}, None  # they refer back
        if self._waits:
            self._fleet.slots.remove(self)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._runtime.under_way.discard(self)

    # timers

    def _set_timer(self, name: int | str, seconds: float, call: Callable[[], None]) -> None:
        """Replaces the timer of that name, if one runs."""
        if (timer := self._timers.get(name)) is not None:
            timer.cancel()
        self._timers[name] = self._runtime.wheel.after(seconds, call)

    def _stop_timer(self, name: int | str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    # bookkeeping

    def _book(self, book: core.Book) -> None:
        """The attempt is over, as the core says. The last one closes an exchange that ends."""
        ended: OutcomeName = "cancelled" if book.cancelled else "ok" if book.failure is None else book.failure.fault
        status = None
        if self._ending is not None and len(self._attempts) == 1:
            status = self._client_status(self._ending)
        self._settle(self._attempts[book.attempt], book, ended, status)

    def _book_break(self, ended: OutcomeName, status: int) -> None:
        """Writes what is still to be written of an exchange that was broken off."""
        attempts = list(self._attempts.values())
        for attempt in attempts:
            if attempt.ended_at is None:
                race: HedgeResult = "won" if attempt is self._answering else "cancelled"
                book = core.Book(attempt.send.attempt, cancelled=True, hedge=race if attempt.send.hedge else "")
                self._settle(attempt, book, ended, status if attempt is attempts[-1] else None)
        if not self._journal.closed:
            self._journal.unattempted(ended, status)

    def _settle(self, attempt: Attempt, book: core.Book, ended: OutcomeName, status: int | None) -> None:
        """`status` is what the client gets where the end of the attempt ends the exchange."""
        self._journal.attempted(attempt, book, ended, status, len(self._attempts) == 1)
        self._core.paid(book, attempt.cost / PICO)
        del self._attempts[book.attempt]
        if self._fleet.slots.size:
            self._offer_place(attempt.send.choice.endpoint.id)

    def _client_status(self, ending: core.Command) -> int:
        """What the client gets when the exchange ends in this way."""
        if type(ending) is core.Complete:
            return 200
        if isinstance(ending, core.Abandon):
            return CLIENT_LEFT
        if isinstance(ending, core.GiveUp) and not self._reply.started:
            return failed.gave_up(self._request, self._plan, ending.failures).status
        return 200


_PERFORM: dict[type[core.Command], Callable[[LiveExchange, Any], None]] = {
    core.Send: LiveExchange._send,
    core.SetTimer: LiveExchange._start_timer,
    core.Enqueue: LiveExchange._enqueue,
    core.Shed: LiveExchange._shed,
    core.Cancel: LiveExchange._cancel,
    core.Begin: LiveExchange._begin,
    core.Commit: LiveExchange._commit,
    core.KeepAlive: LiveExchange._keep_alive,
    core.Probe: LiveExchange._probe,
    core.Book: LiveExchange._book,
    core.Complete: LiveExchange._complete,
    core.Break: LiveExchange._break,
    core.GiveUp: LiveExchange._give_up,
    core.Abandon: LiveExchange._abandon,
}
