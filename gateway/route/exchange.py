"""One exchange as a state machine: events come in, commands go out.

    Started ─> Send ─> FirstToken ─> Commit ......... Finished ─> Complete          the answer is this endpoint's
                 │ │        ╲                └ Failed ─> Break                      after the commit: a loud end
                 │ └ Failed ─╳─> Send (next endpoint) or GiveUp                     before it: nobody notices
                 └ late ──> Send (hedge) ─> FirstToken of either ─> Commit          the other is cancelled

Two commits: the *answer commit* is the first token, until then anything may be tried again; the *wire commit* comes
with it, or earlier by `KeepAlive` when a streamed client has waited long. The core sees first token, end, failure,
timers and the client leaving; bytes between them never pass through here.

Every attempt ends in exactly one `Book`, and every exchange in exactly one of Complete, Break, GiveUp, Abandon. An
attempt that does not finish is cancelled, because its host may go on sending, and billing.
"""

from math import inf
from typing import Literal

from gateway.route.fleet import Try
from gateway.route.hedge import Budget, at_stake, rival
from gateway.route.plan import Choice, Plan
from gateway.route.signals import (
    Abandon,
    Book,
    Break,
    Cancel,
    ClientLeft,
    Clock,
    Command,
    Commit,
    Complete,
    Event,
    Expired,
    Failed,
    Finished,
    FirstToken,
    GiveUp,
    KeepAlive,
    Probe,
    Send,
    SetClock,
    Started,
)
from gateway.types import Failure, HedgeResult, Request

PROBE = 3.0  # times the usual p95, that a probe waits for its first token
WHOLE_BASE = 30.0  # seconds that a whole answer may take before its length counts


class Exchange:
    """Drives one request along its plan. Feed every event to `on`, perform what it returns, in order.

    Attempts count from 1, in the order in which they are sent; at most two run at once, and only until the first
    token. With a `budget`, one late attempt of a streamed request may get a second one beside it.
    """

    __slots__ = (
        "_at_stake",
        "_budget",
        "_delay",
        "_failures",
        "_hedged",
        "_most",
        "_read_twice",
        "_running",
        "_sent",
        "_time_ends",
        "_untried",
        "phase",
        "plan",
        "request",
    )

    def __init__(self, request: Request, plan: Plan, budget: Budget | None = None) -> None:
        self.request = request
        self.plan = plan
        self.phase: Literal["new", "waiting", "answering", "over"] = "new"
        self._running: tuple[Send, ...] = ()
        self._untried = plan.ranked
        self._sent = 0  # attempts
        self._most = min(plan.policy.attempts.max, len(plan.ranked))  # attempts
        self._time_ends = 0.0
        self._failures: list[tuple[str, Failure]] = []
        self._budget = budget if request.stream else None
        self._delay = inf  # seconds after which the attempt that was sent last is late; inf when it is of no interest
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
        if isinstance(event, Expired) and event.clock == "keepalive":
            return self._waited_long()
        for send in self._running:
            if send.attempt == event.attempt:
                return self._heard(send, event)
        return []

    def paid(self, book: Book, usd: float) -> None:
        """What a booked attempt has cost, in dollars. To be told after each Book, because hedging has a budget."""
        if self._budget is None:
            return
        self._budget.spent(usd)
        if book.hedge == "won":
            self._budget.released(self._at_stake)  # 0 unless the other attempt has failed
        elif book.hedge:
            self._budget.settled(self._at_stake, usd, self._read_twice)
        if book.hedge:
            self._at_stake = 0.0

    def _heard(self, send: Send, event: FirstToken | Finished | Failed | Expired) -> list[Command]:
        if isinstance(event, FirstToken):
            return self._first_token(send, event.now)
        if isinstance(event, Finished):
            return self._finished(send)
        if isinstance(event, Expired):
            return self._expired(send, event.clock, event.now)
        return self._failed(send, event.failure, event.now)

    def _started(self, now: float) -> list[Command]:
        if self.phase != "new":
            return []
        self.phase = "waiting"
        self._time_ends = now + self._time()
        if self._budget is not None:
            self._budget.asked()
        if self.plan.explorer is not None and self.plan.ranked:
            share, score = self.plan.policy.pick.explore, self.plan.ranked[0].score
            self.plan.explorer.decided(share, score, self.plan.picked == "explore")
        commands = self._try_next(now)
        if self.request.stream and self._running:
            commands.append(SetClock("keepalive", 0, self.plan.policy.keepalive))
        return commands

    def _left(self) -> list[Command]:
        commands = self._cancel(self._running)
        self.phase = "over"
        return [*commands, Abandon()]

    def _waited_long(self) -> list[Command]:
        if self.phase != "waiting" or not self.request.stream:
            return []
        return [KeepAlive(), SetClock("keepalive", 0, self.plan.policy.keepalive)]

    def _first_token(self, send: Send, now: float) -> list[Command]:
        if self.phase != "waiting":
            return []
        self._waited(now)
        self.phase = "answering"
        gap = SetClock("gap", send.attempt, self.plan.policy.timeouts.gap)
        if len(self._running) == 1:
            return [Commit(send.attempt), gap]
        return [Commit(send.attempt), *self._beat(send), gap]

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
        """The attempt that ran beside the winner is over."""
        (loser,) = (send for send in self._running if send is not winner)
        self._running = (winner,)
        return _cancelled(loser, "lost" if loser.hedge else "beaten")

    def _expired(self, send: Send, clock: Clock, now: float) -> list[Command]:
        if (clock == "gap") != (self.phase == "answering"):
            return []
        if clock == "hedge":
            return self._late(send, now)
        return self._failed(send, self._timeout(send, clock), now)

    def _failed(self, send: Send, failure: Failure, now: float) -> list[Command]:
        """Before the first token the next endpoint is asked, unless one runs already or the request is at fault."""
        self._running = tuple(other for other in self._running if other is not send)
        self._failures.append((send.choice.endpoint.id, failure))
        book = Book(send.attempt, failure, hedge=self._result(send, "failed"))
        commands: list[Command] = [Cancel(send.attempt), book]
        if self.phase == "answering":
            self.phase = "over"
            return [*commands, Break(send.attempt, failure)]
        if failure.fault == "account":
            commands.append(Probe(send.choice, failure))
        if failure.fault == "malformed" or self._rejections() == 2:
            return [*commands, *self._cancel(self._running), self._give_up()]
        return commands if self._running else commands + self._try_next(now)

    def _try_next(self, now: float) -> list[Command]:
        """Sends to the next endpoint of the plan, within the attempt and the time budget."""
        remaining = self._time_ends - now
        if self._sent >= self._most or remaining <= 0:
            return [self._give_up()]
        choice = self._next(now) if self._sent else self._untried[0]
        send = self._send(choice, remaining, False)
        if self._budget is not None and self._is_late_after(choice) < send.tried.deadline:
            return [send, SetClock("hedge", send.attempt, self._delay)]
        return [send, SetClock("first_token", send.attempt, send.tried.deadline)]

    def _next(self, now: float) -> Choice:
        """The best one left, without those whose breaker has opened since the plan was made, if any other is left."""
        return next((one for one in self._untried if one.state.breaker.allows(now)), self._untried[0])

    def _send(self, choice: Choice, remaining: float, hedge: bool) -> Send:
        self._sent += 1
        untried = self._untried
        self._untried = untried[1:] if choice is untried[0] else tuple([one for one in untried if one is not choice])
        deadline = self._time_for(choice, remaining)
        tried = Try(choice.state, self.request, self.plan.demand, choice.parts, deadline, hedge)
        send = Send(self._sent, choice, tried, hedge)
        self._running += (send,)
        return send

    def _cancel(self, sends: tuple[Send, ...]) -> list[Command]:
        """Ends attempts that have neither answered nor failed."""
        return [command for send in sends for command in _cancelled(send, self._result(send, "cancelled"))]

    def _result(self, send: Send, otherwise: HedgeResult) -> HedgeResult:
        """How the race went for a second attempt that ends."""
        if not send.hedge:
            return ""
        return "won" if self.phase == "answering" else otherwise

    def _rejections(self) -> int:
        return sum(failure.fault == "rejected" for _, failure in self._failures)

    def _give_up(self) -> GiveUp:
        self.phase = "over"
        return GiveUp(tuple(self._failures))

    # hedging

    def _is_late_after(self, choice: Choice) -> float:
        """Seconds until a second attempt may be sent beside the one to this endpoint; inf for never."""
        self._delay = inf
        if self._budget is not None and not self._hedged and self._sent < self._most:
            self._delay = self._budget.late_after(choice)
        return self._delay

    def _waited(self, now: float) -> None:
        """Those that run have waited so long for their first tokens."""
        if self._budget is not None:
            for send in self._running:
                if not send.hedge:
                    self._budget.waited(now - send.tried.sent_at, send.choice.parts.uncached)

    def _late(self, send: Send, now: float) -> list[Command]:
        """The first token is late: its last clock is set, and another endpoint asked if one may be."""
        if self._budget is None or self._delay == inf:
            return []
        self._budget.late()
        commands: list[Command] = [SetClock("first_token", send.attempt, send.tried.deadline - self._delay)]
        self._delay = inf
        remaining = self._time_ends - now
        choice = rival(self._untried, send.choice, self.plan.policy, self._budget, now) if remaining > 0 else None
        return commands if choice is None else commands + self._hedge(send.choice, choice, self._budget, remaining)

    def _hedge(self, late: Choice, choice: Choice, budget: Budget, remaining: float) -> list[Command]:
        self._hedged = True
        self._at_stake = max(at_stake(late), at_stake(choice))
        self._read_twice = late.parts.uncached
        budget.sent(self._at_stake, choice)
        send = self._send(choice, remaining, True)
        return [send, SetClock("first_token", send.attempt, send.tried.deadline)]

    # clocks

    def _time(self) -> float:
        """Seconds that all attempts share, scaled like the clocks of the first."""
        if not self.plan.ranked:
            return 0.0
        first = self.plan.ranked[0]
        return self._scaled(self.plan.policy.attempts.within, first) + self._writing(first)

    def _time_for(self, choice: Choice, remaining: float) -> float:
        """Seconds that an attempt gets; the last one gets what remains. `total` binds whole answers only."""
        if not self.request.stream:
            remaining = min(remaining, self.plan.policy.timeouts.total)
        return remaining if self._sent >= self._most else min(remaining, self._clock(choice))

    def _clock(self, choice: Choice) -> float:
        """Seconds until the first token, or until the whole answer when it is not streamed.

        Who probes an endpoint that was broken waits no longer than answers usually take there.
        """
        clock = self._scaled(self.plan.policy.timeouts.first_token, choice)
        if self.request.stream:
            if choice.state.breaker.until is not None:
                return min(clock, PROBE * _usual_p95(choice))
            return max(clock, _p99(choice))
        return max(clock, WHOLE_BASE) + self._writing(choice)

    def _scaled(self, seconds: float, choice: Choice) -> float:
        return seconds + self.plan.policy.timeouts.first_token_per_10k * choice.parts.uncached / 10_000

    def _writing(self, choice: Choice) -> float:
        """Seconds in which the endpoint, at its slow speed, writes the longest likely answer; 0 when it is streamed."""
        return 0.0 if self.request.stream else self.plan.demand.longest_output / choice.state.speeds.p10

    def _timeout(self, send: Send, clock: Clock) -> Failure:
        if clock == "gap":
            return Failure("timeout_gap", f"no data for {self.plan.policy.timeouts.gap:g} s")
        if self.request.stream:
            return Failure("timeout_first_token", f"no first token in {send.tried.deadline:.3g} s")
        return Failure("timeout_total", f"no answer in {send.tried.deadline:.3g} s")

    def __repr__(self) -> str:
        return f"<Exchange {self.request.id} {self.phase} running={[send.attempt for send in self._running]}>"


def _p99(choice: Choice) -> float:
    """Seconds that 99 of 100 such prompts stay under at this endpoint; 0 where too few samples say so."""
    waits, parts = choice.state.waits, choice.parts
    return waits.p99[parts.size] * parts.pace if waits.known[parts.size] else 0.0


def _usual_p95(choice: Choice) -> float:
    """Seconds that 95 of 100 such prompts usually stay under at this endpoint, whatever it does now."""
    waits, parts = choice.state.waits, choice.parts
    return waits.p95[parts.size] / waits.level * parts.pace


def _cancelled(send: Send, result: HedgeResult) -> list[Command]:
    return [Cancel(send.attempt), Book(send.attempt, cancelled=True, hedge=result)]
