"""Replays exchanges in virtual time: the core that serves live traffic, with a heap of events instead of sockets.

    trace ──arrivals──> heap ──events──> route.exchange ──commands──> Behaviour, Router, Tally
                         ^────── first token, end, failure, timers ──────┘

Nothing waits: time jumps from one event to the next. The course of an attempt is determined when it is sent, and its
events are on the heap; those of a cancelled attempt are ignored.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import Any

from gateway.route import signals
from gateway.route.exchange import Exchange
from gateway.route.tracked_attempt import MEASURES_SPEED, Observation, TrackedAttempt
from gateway.sim.behaviour import Behaviour, Course
from gateway.sim.blocks import BLOCK
from gateway.sim.changes import reconfigured
from gateway.sim.replay_log import Log
from gateway.sim.router import Router
from gateway.sim.sim_host import SimHost
from gateway.sim.tally import Tally
from gateway.sim.workload import TraceRow
from gateway.types import PICO, Endpoint, Request

PROGRESS_EVERY = 500  # requests
OPENING = 2 * BLOCK  # tokens: two blocks of a trace identify a conversation
_Call = Callable[..., None]


def requests(rows: Sequence[TraceRow], model: str) -> list[Request]:
    """The rows as the core's requests, with lengths and prefixes. They serve any number of replays."""
    return [
        Request(
            id=str(number),
            body={},
            model=model,
            policy="",
            stream=True,
            prompt_tokens=row.input_tokens,
            prefix=tuple(
                (name, min(BLOCK * place, row.input_tokens)) for place, name in enumerate(row.prefix_hashes, start=1)
            ),
            opening=min(OPENING, row.input_tokens),
        )
        for number, row in enumerate(rows)
    ]


class Engine:
    """One replay of a trace by one router. `requests` are those of the rows, in order; `log` is filled during the
    replay."""

    def __init__(
        self,
        rows: Sequence[TraceRow],
        requests: Sequence[Request],
        router: Router,
        behaviour: Behaviour,
        log: Log | None = None,
    ) -> None:
        self.rows = rows
        self.requests = requests
        self.router = router
        self.behaviour = behaviour
        self.log = log
        self.tally = Tally(list(behaviour.hosts.values()))
        self._heap: list[tuple[float, int, _Call, tuple[Any, ...]]] = []
        self._order = count()  # of events at the same time
        self._progress: Callable[[float], None] = lambda _: None

    def run(self, progress: Callable[[float], None] = lambda _: None) -> Tally:
        """Replays everything and returns the counts. `progress` is called with the share of requests that have
        started."""
        self._progress = progress
        endpoints = [state.endpoint for state in self.router.fleet.states.values()]
        for when in reconfigured(self.behaviour.changes):
            self.at(when, self._configure, endpoints)
        if self.rows:
            self.at(self.rows[0].t, self._arrive, 0)
        heap = self._heap
        while heap:
            now, _, call, arguments = heappop(heap)
            call(now, *arguments)
        progress(1.0)
        return self.tally

    def at(self, when: float, call: _Call, *arguments: Any) -> None:
        """Schedules `call(now, *arguments)`."""
        heappush(self._heap, (when, next(self._order), call, arguments))

    def _configure(self, now: float, endpoints: Sequence[Endpoint]) -> None:
        """Reloads the gateway's configuration: the present endpoints, at their current prices."""
        present = [(one, self.behaviour.phase(one.id, now)) for one in endpoints]
        self.router.fleet.configure(replace(one, price=host.price) for one, (host, _, absent) in present if not absent)

    def _arrive(self, now: float, number: int) -> None:
        if number + 1 < len(self.rows):
            self.at(self.rows[number + 1].t, self._arrive, number + 1)
        if number % PROGRESS_EVERY == 0:
            self._progress(number / len(self.rows))
        Replayed(self, number, now).begin(now)

    def __repr__(self) -> str:
        return f"<Engine {self.router.name} over {len(self.rows)} requests>"


class SimAttempt:
    """One attempt at one host, with its predetermined course."""

    __slots__ = ("course", "host", "over", "sent_at", "tried")

    def __init__(self, tried: TrackedAttempt, host: SimHost, course: Course, sent_at: float) -> None:
        self.tried = tried
        self.host = host  # as it was when the attempt was sent
        self.course = course
        self.sent_at = sent_at
        self.over = False

    def __repr__(self) -> str:
        return f"<Attempt at {self.host.id}>"


class Replayed:
    """One exchange: feeds events to the core, performs its commands."""

    __slots__ = ("_arrived", "_attempts", "_core", "_engine", "_hour", "_number", "_row")

    def __init__(self, engine: Engine, number: int, now: float) -> None:
        self._engine = engine
        self._number = number
        self._row = row = engine.rows[number]
        self._arrived = now
        self._hour = int(now // 3600) % 24
        request = engine.requests[number]
        if engine.log is not None:
            engine.log.arrived.append(now)
        self._core = Exchange(request, engine.router.plan(request, row, now, self._hour), engine.router.budget)
        self._attempts: dict[int, SimAttempt] = {}

    def begin(self, now: float) -> None:
        self._feed(now, signals.Started(now))

    def _feed(self, now: float, event: signals.Event) -> None:
        for command in self._core.on(event):
            perform = _PERFORM.get(type(command))
            if perform is not None:
                perform(self, command, now)

    # events from the heap

    def _due(self, now: float, attempt: int, make: Callable[[int, float], signals.Event]) -> None:
        if not self._attempts[attempt].over:
            self._feed(now, make(attempt, now))

    def _fails(self, now: float, attempt: int) -> None:
        one = self._attempts[attempt]
        if not one.over and one.course.failure is not None:
            self._feed(now, signals.Failed(attempt, one.course.failure, now))

    def _expires(self, now: float, timer: signals.TimerName, attempt: int) -> None:
        self._feed(now, signals.Expired(timer, attempt, now))

    # commands

    def _send(self, command: signals.Send, now: float) -> None:
        engine, number = self._engine, command.attempt
        tried = command.tried
        engine.router.sent(tried, self._row, now)
        name = tried.state.endpoint.id
        host = engine.behaviour.phase(name, now).host
        course = engine.behaviour.send(name, self._number, self._row, now)
        engine.tally.hedges += command.hedge
        self._attempts[number] = SimAttempt(tried, host, course, now)
        if engine.log is not None and number == 1:
            engine.log.sent(self._number, name, tried.parts.usd, tried.parts.seconds)
        if course.first < inf:
            engine.at(now + course.first, self._due, number, signals.FirstToken)
        if course.failure is not None:
            engine.at(now + course.last, self._fails, number)
        elif course.last < inf:
            engine.at(now + course.last, self._due, number, signals.Finished)

    def _set_timer(self, command: signals.SetTimer, now: float) -> None:
        if command.timer != "gap":  # hosts of a replay stop answering before their first token or not at all
            self._engine.at(now + command.seconds, self._expires, command.timer, command.attempt)

    def _cancel(self, command: signals.Cancel, now: float) -> None:
        self._attempts[command.attempt].over = True

    def _commit(self, command: signals.Commit, now: float) -> None:
        engine, one, ttft = self._engine, self._attempts[command.attempt], now - self._arrived
        engine.router.began(one.tried, now)
        engine.tally.answered(ttft)
        if engine.log is not None:
            engine.log.answered(self._number, one.host.id, ttft)

    def _book(self, command: signals.Book, now: float) -> None:
        """Bills the attempt and lets the router learn from it, as the live shell does."""
        one, router = self._attempts[command.attempt], self._engine.router
        one.over = True
        course, elapsed = one.course, now - one.sent_at
        ended = not command.cancelled and (command.failure is None or command.failure is course.failure)
        usage = course.usage if ended else course.billed(elapsed)
        begun = elapsed >= course.first
        speed = course.speed if begun and usage.completion >= MEASURES_SPEED else None
        router.ended(one.tried, command, Observation(usage, course.first if begun else None, speed), now)
        self._engine.behaviour.over(one.host.id)
        good = ended and command.failure is None
        lost = bool(command.hedge) and command.hedge != "won"
        usd = self._engine.tally.attempted(one.host, usage, self._hour, good, lost) / PICO
        if good:
            parts = one.tried.parts
            self._engine.tally.compared((parts.usd, parts.seconds), (usd, elapsed))
        if self._engine.log is not None:
            self._engine.log.booked(self._number, usd, elapsed, usage, good)
        self._core.paid(command, usd)

    def _complete(self, _: signals.Complete, now: float) -> None:
        self._engine.tally.completed += 1

    def _break(self, _: signals.Break, now: float) -> None:
        self._engine.tally.broken += 1

    def _give_up(self, _: signals.GiveUp, now: float) -> None:
        self._engine.tally.given_up += 1

    def __repr__(self) -> str:
        return f"<Replayed {self._number} {self._core!r}>"


_PERFORM: dict[type[signals.Command], Callable[[Replayed, Any, float], None]] = {
    signals.Send: Replayed._send,
    signals.SetTimer: Replayed._set_timer,
    signals.Cancel: Replayed._cancel,
    signals.Commit: Replayed._commit,
    signals.Book: Replayed._book,
    signals.Complete: Replayed._complete,
    signals.Break: Replayed._break,
    signals.GiveUp: Replayed._give_up,
}
