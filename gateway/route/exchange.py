"""One exchange as a state machine: events come in, commands go out.

    Started ─> Send ─> FirstToken ─> Commit ......... Finished ─> Complete          the answer is this endpoint's
                 │ │        │  ╲                └ Failed ─> Send (continues) or Break
                 │ │        └──╳─> Begin ...... Finished ─> Commit, Complete        held until it is whole
                 │ └ Failed ───╳─> Send (next endpoint, or this one again) or GiveUp
                 └ late ──> Send (hedge) ─> FirstToken of either                    the other is cancelled

Two commits: the *answer commit* is the first token, until then anything may be tried again; the *wire commit* comes
with it, or earlier by `KeepAlive` when the client has waited long. An answer that is not streamed to the client, or
that the policy wants whole, is held: its commit comes with its end, so whatever breaks before is tried again. The core
sees first token, end, failure, timers and the client's disconnect; the bytes in between never pass through here.

`attempts.within` bounds the time that the client waits for answers to begin: the clock is paused
while a held answer arrives.

Every attempt ends in exactly one `Book`, and every exchange in exactly one of Complete, Break, GiveUp, Abandon. An
attempt that does not finish is cancelled, because its host may go on sending, and billing.
"""

from collections.abc import Callable
from math import inf
from typing import Literal

from gateway.route import timeouts
from gateway.route.filters import Tier
from gateway.route.hedge import Budget, at_stake, rival
from gateway.route.plan import Choice, Plan
from gateway.route.retry import FIRST_PAUSE, LONGEST_PAUSE, Retries
from gateway.route.retry_budget import RetryBudget
from gateway.route.signals import (
    Abandon,
    Begin,
    Book,
    Break,
    Cancel,
    ClientLeft,
    Command,
    Commit,
    Complete,
    Enqueue,
    Event,
    Expired,
    Failed,
    Finished,
    FirstToken,
    GiveUp,
    KeepAlive,
    Probe,
    Send,
    SetTimer,
    Shed,
    Started,
)
from gateway.route.slot_queue import Places, line_for
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.types import Failure, Fault, HedgeResult, Request

CONTENT_FILTER = "content_filter"  # `param` of a failure where the host refuses the content
CONTINUES = "prefix"  # the capability of an endpoint that can continue a given text


class Exchange:
    """Drives one request along its plan. Feed every event to `on`, perform what it returns, in order.

    Attempts count from 1, in the order in which they are sent; at most two run at once, and only until the first
    token. With a `budget`, one late attempt of a streamed request may get a second one next to it. `rng` draws from
    [0, 1), for the pauses before retries. Every attempt beyond the first needs room in the `retry_budget`.
    `queues`: whether it may wait for an endpoint that is full.
    """

    __slots__ = (
        "_again",
        "_at_stake",
        "_begun_at",
        "_broken",
        "_budget",
        "_delay",
        "_empties",
        "_ends",
        "_failures",
        "_hedged",
        "_holds",
        "_keepalive",
        "_line",
        "_most",
        "_queues",
        "_read_twice",
        "_retries",
        "_retry_budget",
        "_rng",
        "_running",
        "_sent",
        "_time_ends",
        "_tried",
        "phase",
        "plan",
        "request",
    )

    def __init__(
        self,
        request: Request,
        plan: Plan,
        budget: Budget | None = None,
        rng: Callable[[], float] = lambda: 0.5,
        retry_budget: RetryBudget | None = None,
        queues: bool = False,
    ) -> None:
        policy = plan.policy
        self.request = request
        self.plan = plan
        self.phase: Literal["new", "waiting", "answering", "over"] = "new"
        self._running: tuple[Send, ...] = ()
        self._tried: set[str] = set()  # endpoints
        self._sent = 0  # attempts
        self._most = policy.attempts.max
        self._time_ends = 0.0  # when the client has waited long enough for an answer to begin
        self._ends = inf  # when an answer that is held must be whole
        self._holds = not request.stream or policy.answer == "whole"
        self._keepalive = min(policy.keepalive, request.patience) if request.stream else request.patience
        self._begun_at: float | None = None  # when the answer began that is coming now
        self._failures: list[tuple[str, Failure]] = []
        self._empties: tuple[TrackedAttempt, ...] = ()  # attempts that ended without content
        self._rng = rng
        self._retries: Retries | None = None  # since the first failure
        self._again: Choice | None = None  # the endpoint that is retried after a pause
        self._broken: Break | None = None  # how the streamed answer ends if it is not continued
        self._budget = budget if request.stream else None
        self._retry_budget = retry_budget
        self._queues = queues
        self._line: Places | None = None  # the places that it waits for
        self._delay = inf  # seconds after which the attempt that was sent last is late; inf where it cannot be hedged
        self._hedged = False  # whether a second attempt was sent
        self._at_stake = 0.0  # dollars, set aside for the loser's bill
        self._read_twice = 0.0  # tokens

    def on(self, event: Event) -> list[Command]:
        """What to do about one event. Late events of attempts that are over are ignored."""
        if self.phase == "over":
            return []
        if isinstance(event, Started):
            return self._started(event.now)
        if isinstance(event, ClientLeft):
            return self._left()
        if isinstance(event, Expired) and not event.attempt:
            return self._own_timer(event)
        for send in self._running:
            if send.attempt == event.attempt:
                return self._attempt_event(send, event)
        return []

    def stop(self) -> None:
        """Ends the exchange from outside: the gateway stops, or has failed. Every later event is ignored."""
        self.phase = "over"

    def paid(self, book: Book, usd: float) -> None:
        """What a booked attempt has cost, in dollars. Call it after each Book, because hedging has a budget."""
        if self._budget is None:
            return
        self._budget.spent(usd)
        if book.hedge == "won":
            self._budget.released(self._at_stake)  # 0 unless the other attempt has failed
        elif book.hedge:
            self._budget.settled(self._at_stake, usd, self._read_twice)
        if book.hedge:
            self._at_stake = 0.0

    def _attempt_event(self, send: Send, event: FirstToken | Finished | Failed | Expired) -> list[Command]:
        if isinstance(event, FirstToken):
            return self._first_token(send, event.now)
        if isinstance(event, Finished):
            return self._finished(send)
        if isinstance(event, Expired):
            return self._expired(send, event)
        return self._failed(send, event.failure, event.now, event.resumable)

    def _own_timer(self, event: Expired) -> list[Command]:
        if self.phase != "waiting":
            return []
        if event.timer == "keepalive" and self._keepalive < inf:
            return [KeepAlive(), SetTimer("keepalive", 0, self._keepalive)]
        if event.timer == "queue" and self._line is not None:
            self._line = None
            return self._go_elsewhere(event.now)
        if event.timer == "place" and self._line is not None:
            return self._take_place(self._line, event.now)
        if event.timer == "retry" and self._again is not None:
            choice, self._again = self._again, None
            remaining = self._remaining(event.now)
            return self._ask(choice, remaining) if remaining > 0 else [self._give_up()]  # timers may be late
        return []

    def _started(self, now: float) -> list[Command]:
        if self.phase != "new":
            return []
        self.phase = "waiting"
        plan = self.plan
        policy, first = plan.policy, plan.first
        if first is not None:
            self._time_ends = now + timeouts.for_prompt(policy.attempts.within, first, policy)
        if self._holds:
            self._ends = now + (policy.timeouts.stream if self.request.stream else policy.timeouts.total)
        if self._budget is not None:
            self._budget.begin()
        if self._retry_budget is not None:
            self._retry_budget.request(now)
        if plan.explorer is not None and first is not None:
            plan.explorer.decided(policy.pick.explore, first.score, plan.picked == "explore")
        commands = (self._wait(now) if plan.costs.field.any_busy else []) or self._try_first(now)
        if self._keepalive < inf and self.phase == "waiting":
            commands.append(SetTimer("keepalive", 0, self._keepalive))
        return commands

    def _left(self) -> list[Command]:
        commands = self._cancel(self._running)
        self.phase = "over"
        return [*commands, Abandon()]

    def _first_token(self, send: Send, now: float) -> list[Command]:
        if self._begun_at is not None:
            return []
        self._waited(now)
        self._begun_at = now
        if self._holds:
            begun: Command = Begin(send.attempt)
            total = self._ends - now
        else:
            self.phase = "answering"
            begun = Commit(send.attempt)
            total = self.plan.policy.timeouts.stream
        gap = SetTimer("gap", send.attempt, self.plan.policy.timeouts.gap, total)
        if len(self._running) == 1:
            return [begun, gap]
        return [begun, *self._beat(send), gap]

    def _finished(self, send: Send) -> list[Command]:
        committed = self.phase == "answering"
        self.phase = "over"
        end: list[Command] = [Book(send.attempt, None, False, "won" if send.hedge else ""), Complete(send.attempt)]
        if committed:
            return end
        if len(self._running) == 1:
            return [Commit(send.attempt), *end]
        return [Commit(send.attempt), *self._beat(send), *end]

    def _beat(self, winner: Send) -> list[Command]:
        """The attempt that ran next to the winner is over."""
        (loser,) = (send for send in self._running if send is not winner)
        self._running = (winner,)
        return _cancelled(loser, "lost" if loser.hedge else "beaten")

    def _expired(self, send: Send, event: Expired) -> list[Command]:
        if (event.timer in ("gap", "total")) != (self._begun_at is not None):
            return []
        if event.timer == "hedge":
            return self._late(send, event.now)
        return self._failed(
            send, timeouts.failure(event.timer, send.tried, self.plan.policy), event.now, event.resumable
        )

    def _failed(self, send: Send, failure: Failure, now: float, resumable: bool) -> list[Command]:
        """Before the commit another attempt is made, unless one runs already or the failure is the answer."""
        self._running = tuple(other for other in self._running if other is not send)
        self._failures.append((send.choice.endpoint.id, failure))
        if failure.fault is Fault.EMPTY:
            self._empties += (send.tried,)
        book = Book(send.attempt, failure, hedge=self._result(send, "failed"))
        commands: list[Command] = [Cancel(send.attempt), book]
        if self._begun_at is not None:
            self._time_ends += now - self._begun_at
            self._begun_at = None
        if self.phase == "answering":
            return commands + self._broke(Break(send.attempt, failure), resumable, now)
        if failure.fault is Fault.ACCOUNT:
            commands.append(Probe(send.choice, failure))
        if self._broken is not None:
            return commands + self._continue(self._broken, now)
        if self._is_final(failure):
            return [*commands, *self._cancel(self._running), self._give_up()]
        if self._retries is None and self.plan.policy.attempts.retries:
            self._retries = Retries(self.plan.policy, self._rng())
        if self._retries is not None:
            self._retries.failed(send.choice, failure, now - send.tried.sent_at, now)
        return commands if self._running else commands + self._try_next(now)

    def _is_final(self, failure: Failure) -> bool:
        """Whether the client gets this failure, without a try at another endpoint."""
        if failure.fault is not Fault.REJECTED:
            return failure.fault is Fault.MALFORMED
        if failure.param == CONTENT_FILTER and self.plan.policy.content_filter == "final":
            return True
        return sum(one.fault is Fault.REJECTED for _, one in self._failures) == 2

    def _try_first(self, now: float) -> list[Command]:
        first, remaining = self.plan.first, self._remaining(now)
        return [self._give_up()] if first is None or remaining <= 0 else self._ask(first, remaining)

    def _try_next(self, now: float) -> list[Command]:
        """Sends to the next endpoint of the plan, or once more to one that failed, within attempts and time."""
        remaining = self._remaining(now)
        if self._sent >= self._most or remaining <= 0:
            return [self._give_up()]
        choice = self._next(now)
        if self._retries is not None:
            alone = choice is None and not self.request.other_models
            again = self._retries.next(choice, alone, now)
            if again is not None and again.pause < remaining:
                if not self._may_send(again.choice, now):
                    return [self._give_up()]
                self._retries.sent(again.choice, alone)
                self._again = again.choice
                return [SetTimer("retry", 0, again.pause)]
        if choice is None or not self._may_send(choice, now):
            return [self._give_up()]
        return self._ask(choice, remaining)

    def _may_send(self, choice: Choice, now: float) -> bool:
        """Whether the retry budget has room for an attempt beyond the first."""
        return self._retry_budget is None or self._retry_budget.allows(choice.state.fails, now)

    def _wait(self, now: float) -> list[Command]:
        """Empty where an endpoint is tried at once."""
        return self._wait_for_all(now) or self._wait_for_place(now)

    def _wait_for_all(self, now: float) -> list[Command]:
        """Where a Retry-After holds at every endpoint: waits for the first of them, if that is soon; else gives up with
        429. Empty where an endpoint may be used."""
        first = self.plan.first
        if first is None or first.tier is not Tier.BUSY:  # usable endpoints come before busy ones
            return []
        soonest = min(self.plan.ranked, key=_ready_at)
        pause = _ready_at(soonest) - now
        if pause <= 0:
            return []
        pause += FIRST_PAUSE * self._rng()  # others wait for it, too
        if pause <= LONGEST_PAUSE and pause < self._remaining(now) and not self.request.other_models:
            self._again = soonest
            return [SetTimer("retry", 0, pause)]
        why = f"asked to wait for another {pause:.0f} s"
        self._failures.append((soonest.endpoint.id, Failure(Fault.RATE_LIMITED, why, 429, retry_after=pause)))
        return [self._give_up()]

    def _wait_for_place(self, now: float) -> list[Command]:
        """Waits where the endpoints that are worth it are full. Empty where the first one is tried at once."""
        self._line = line_for(self.plan) if self._queues else None
        if self._line is None:
            return []
        seconds = min(self.plan.policy.attempts.queue, self._remaining(now))
        return [SetTimer("queue", 0, seconds), Enqueue(self._line)]

    def _take_place(self, line: Places, now: float) -> list[Command]:
        free = [one for one in self.plan.ranked if one.endpoint.id in line.endpoints and not one.state.full]
        if not free:
            return [Enqueue(line)]  # another request was faster
        self._line = None
        return self._ask(free[0], self._remaining(now))

    def _go_elsewhere(self, now: float) -> list[Command]:
        """No place has become free in time."""
        free = [one for one in self.plan.ranked if not one.state.full and one.state.breaker.allows(now)]
        if free:
            return self._ask(free[0], self._remaining(now))
        self.phase = "over"
        return [Shed()]

    def _remaining(self, now: float) -> float:
        return min(self._time_ends, self._ends) - now

    def _ask(self, choice: Choice, remaining: float) -> list[Command]:
        send = self._send(choice, remaining)
        if self._budget is not None and self._is_late_after(choice) < send.tried.timeout:
            return [send, SetTimer("hedge", send.attempt, self._delay)]
        return [send, SetTimer("first_token", send.attempt, send.tried.timeout)]

    def _next(self, now: float) -> Choice | None:
        """The best one left, without those that are full, or whose breaker has opened since the plan was made, if any
        other is left."""
        untried = self._untried()
        usable = [one for one in untried if one.state.breaker.allows(now)]
        return next((one for one in usable if not one.state.full), None) or next(iter(usable or untried), None)

    def _is_any_untried(self) -> bool:
        return len(self._tried) < len(self.plan.places)

    def _untried(self) -> tuple[Choice, ...]:
        """Endpoints without an attempt yet, in the plan's order."""
        return tuple([one for one in self.plan.ranked if one.endpoint.id not in self._tried])

    def _send(self, choice: Choice, remaining: float, hedge: bool = False, continues: bool = False) -> Send:
        self._sent += 1
        self._tried.add(choice.endpoint.id)
        request, demand = self.request, self.plan.demand
        writing = demand.longest_output / choice.state.speeds.p10  # seconds
        streams = request.stream or writing > timeouts.LONG
        seconds = self._time_for(choice, streams, writing, remaining)
        tried = TrackedAttempt(choice.state, request, demand, choice.parts, seconds, hedge, streams, self._empties)
        send = Send(self._sent, choice, tried, hedge, continues)
        self._running += (send,)
        return send

    def _cancel(self, sends: tuple[Send, ...]) -> list[Command]:
        """Ends attempts that have neither answered nor failed."""
        return [command for send in sends for command in _cancelled(send, self._result(send, "cancelled"))]

    def _result(self, send: Send, otherwise: HedgeResult) -> HedgeResult:
        """The result of the hedge, for an attempt that ends."""
        if not send.hedge:
            return ""
        return "won" if self._begun_at is not None else otherwise

    def _give_up(self) -> GiveUp:
        self.phase = "over"
        return GiveUp(tuple(self._failures))

    # a streamed answer that broke

    def _broke(self, end: Break, resumable: bool, now: float) -> list[Command]:
        if resumable and self.plan.policy.resume == "continue":
            return self._continue(end, now)
        self.phase = "over"
        return [end]

    def _continue(self, end: Break, now: float) -> list[Command]:
        """Continues the text at the next endpoint that can; without one, the answer ends with this failure."""
        self._broken = end
        remaining = self._remaining(now)
        able = [one for one in self._untried() if CONTINUES in one.endpoint.supports and one.state.breaker.allows(now)]
        if not able or self._sent >= self._most or remaining <= 0 or not self._may_send(able[0], now):
            self.phase = "over"
            return [end]
        self.phase = "waiting"
        send = self._send(able[0], remaining, continues=True)
        commands: list[Command] = [send, SetTimer("first_token", send.attempt, send.tried.timeout)]
        return [*commands, SetTimer("keepalive", 0, self._keepalive)]

    # hedging

    def _is_late_after(self, choice: Choice) -> float:
        """Seconds until a second attempt may be sent next to the one to this endpoint; inf for never."""
        self._delay = inf
        if self._budget is not None and not self._hedged and self._sent < self._most and self._is_any_untried():
            self._delay = self._budget.late_after(choice)
        return self._delay

    def _waited(self, now: float) -> None:
        """Adds the waits of the running attempts for their first tokens."""
        if self._budget is not None:
            for send in self._running:
                if not send.hedge:
                    self._budget.add_wait(now - send.tried.sent_at, send.choice.parts.uncached)

    def _late(self, send: Send, now: float) -> list[Command]:
        """The first token is late: sets its last timer, and sends a hedge if one is allowed."""
        if self._budget is None or self._delay == inf:
            return []
        self._budget.late()
        commands: list[Command] = [SetTimer("first_token", send.attempt, send.tried.timeout - self._delay)]
        self._delay = inf
        remaining = self._remaining(now)
        choice = rival(self._untried(), send.choice, self.plan.policy, self._budget, now) if remaining > 0 else None
        if choice is None or not self._may_send(choice, now):
            return commands
        return commands + self._hedge(send.choice, choice, self._budget, remaining)

    def _hedge(self, late: Choice, choice: Choice, budget: Budget, remaining: float) -> list[Command]:
        self._hedged = True
        self._at_stake = max(at_stake(late), at_stake(choice))
        self._read_twice = late.parts.uncached
        budget.sent(self._at_stake, choice)
        send = self._send(choice, remaining, hedge=True)
        return [send, SetTimer("first_token", send.attempt, send.tried.timeout)]

    # timers

    def _time_for(self, choice: Choice, streams: bool, writing: float, remaining: float) -> float:
        """Seconds that an attempt gets. The last one gets what remains, unless another model may be tried."""
        if (self._sent >= self._most or not self._is_any_untried()) and not self.request.other_models:
            return remaining
        policy = self.plan.policy
        if streams:
            return min(remaining, timeouts.first_token_timeout(choice, policy))
        return min(remaining, timeouts.whole_answer_timeout(choice, policy, writing))

    def __repr__(self) -> str:
        return f"<Exchange {self.request.id} {self.phase} running={[send.attempt for send in self._running]}>"


def _ready_at(choice: Choice) -> float:
    """When the host's Retry-After ends. Rate limits may be guesses: they only rank an endpoint lower."""
    return choice.state.retry_at


def _cancelled(send: Send, result: HedgeResult) -> list[Command]:
    return [Cancel(send.attempt), Book(send.attempt, cancelled=True, hedge=result)]
