"""One exchange as a state machine: events come in, commands go out.

    Started ─> Send ─> FirstToken ─> Commit ......... Finished ─> Complete          the answer is this endpoint's
                 │          ╲                └ Failed ─> Break                      after the commit: a loud end
                 └ Failed ───╳─> Send (next endpoint) or GiveUp                      before it: nobody notices

Two commits: the *answer commit* is the first token, until then anything may be tried again; the *wire commit* comes
with it, or earlier by `KeepAlive` when a streamed client has waited long. The core sees first token, end, failure,
timers and the client leaving; bytes between them never pass through here.

Every attempt ends in exactly one `Book`, and every exchange in exactly one of Complete, Break, GiveUp, Abandon. An
attempt that does not finish is cancelled, because its host may go on sending, and billing.
"""

from typing import Literal

import msgspec

from gateway.route.fleet import Try
from gateway.route.plan import Choice, Plan
from gateway.types import Failure, Request

WHOLE_BASE = 30.0  # seconds that a whole answer may take before its length counts

Clock = Literal["first_token", "gap", "keepalive"]


# --- events -----------------------------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True, gc=False):
    now: float


class FirstToken(msgspec.Struct, frozen=True, gc=False):
    """Non-empty content, reasoning, refusal or tool call arrived from attempt `attempt`."""

    attempt: int
    now: float


class Finished(msgspec.Struct, frozen=True, gc=False):
    """The attempt's answer ended with a finish reason."""

    attempt: int
    now: float


class Failed(msgspec.Struct, frozen=True, gc=False):
    attempt: int
    failure: Failure
    now: float


class Expired(msgspec.Struct, frozen=True, gc=False):
    """A clock that was set ran out."""

    clock: Clock
    attempt: int
    now: float


class ClientLeft(msgspec.Struct, frozen=True, gc=False):
    now: float


Event = Started | FirstToken | Finished | Failed | Expired | ClientLeft


# --- commands ---------------------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, gc=False):
    """Ask this endpoint; it has `tried.deadline` seconds to its first token (or whole answer, not streamed)."""

    attempt: int
    choice: Choice
    tried: Try


class SetClock(msgspec.Struct, frozen=True, gc=False):
    clock: Clock
    attempt: int
    seconds: float


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Close the attempt's connection; nothing more may come from it."""

    attempt: int


class Commit(msgspec.Struct, frozen=True, gc=False):
    """The answer is this attempt's: status and headers leave if they have not, and its bytes flow."""

    attempt: int


class KeepAlive(msgspec.Struct, frozen=True, gc=False):
    """The client has waited long: status and headers leave, and a comment."""


class Probe(msgspec.Struct, frozen=True, gc=False):
    """What looks like the account's fault is confirmed by one minimal request, apart from this exchange."""

    choice: Choice
    failure: Failure


class Book(msgspec.Struct, frozen=True, gc=False):
    """The attempt is over: write it down and learn from it. `failure` None and `cancelled` False is success."""

    attempt: int
    failure: Failure | None = None
    cancelled: bool = False


class Complete(msgspec.Struct, frozen=True, gc=False):
    """The client has everything."""

    attempt: int


class Break(msgspec.Struct, frozen=True, gc=False):
    """The answer ended badly after its commit: a machine-readable error event, never a clean end."""

    attempt: int
    failure: Failure


class GiveUp(msgspec.Struct, frozen=True, gc=False):
    """No endpoint answered: every failure in order, (endpoint id, failure)."""

    failures: tuple[tuple[str, Failure], ...]


class Abandon(msgspec.Struct, frozen=True, gc=False):
    """The client is gone."""


Command = Send | SetClock | Cancel | Commit | KeepAlive | Probe | Book | Complete | Break | GiveUp | Abandon


# --- the machine ------------------------------------------------------------------------------------------------


class Exchange:
    """Drives one request along its plan. Feed every event to `on`, perform what it returns, in order.

    Attempts count from 1; attempt n asks the n-th endpoint of the plan.
    """

    __slots__ = ("_attempt", "_budget_ends", "_deadline", "_failures", "_most", "phase", "plan", "request")

    def __init__(self, request: Request, plan: Plan) -> None:
        self.request = request
        self.plan = plan
        self.phase: Literal["new", "waiting", "answering", "over"] = "new"
        self._attempt = 0  # the one that is running
        self._most = min(plan.policy.attempts.max, len(plan.ranked))  # attempts
        self._budget_ends = 0.0
        self._deadline = 0.0  # seconds that the running attempt was given
        self._failures: list[tuple[str, Failure]] = []

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
        if event.attempt != self._attempt or self.phase == "new":
            return []
        if isinstance(event, FirstToken):
            return self._first_token()
        if isinstance(event, Finished):
            return self._finished()
        if isinstance(event, Failed):
            return self._failed(event.failure, event.now)
        return self._expired(event.clock, event.now)

    def _started(self, now: float) -> list[Command]:
        if self.phase != "new":
            return []
        self.phase = "waiting"
        self._budget_ends = now + self._budget()
        commands = self._try_next(now)
        if self.request.stream and self._attempt:
            commands.append(SetClock("keepalive", 0, self.plan.policy.keepalive))
        return commands

    def _left(self) -> list[Command]:
        running = self.phase != "new"
        self.phase = "over"
        if not running:
            return [Abandon()]
        return [Cancel(self._attempt), Book(self._attempt, cancelled=True), Abandon()]

    def _waited_long(self) -> list[Command]:
        if self.phase != "waiting" or not self.request.stream:
            return []
        return [KeepAlive(), SetClock("keepalive", 0, self.plan.policy.keepalive)]

    def _first_token(self) -> list[Command]:
        if self.phase != "waiting":
            return []
        self.phase = "answering"
        return [Commit(self._attempt), SetClock("gap", self._attempt, self.plan.policy.timeouts.gap)]

    def _finished(self) -> list[Command]:
        attempt, committed = self._attempt, self.phase == "answering"
        self.phase = "over"
        end: list[Command] = [Book(attempt), Complete(attempt)]
        return end if committed else [Commit(attempt), *end]

    def _expired(self, clock: Clock, now: float) -> list[Command]:
        if (clock == "gap") != (self.phase == "answering"):
            return []
        return self._failed(self._timeout(clock), now)

    def _failed(self, failure: Failure, now: float) -> list[Command]:
        choice = self.plan.ranked[self._attempt - 1]
        self._failures.append((choice.endpoint.id, failure))
        commands: list[Command] = [Cancel(self._attempt), Book(self._attempt, failure)]
        if self.phase == "answering":
            self.phase = "over"
            return [*commands, Break(self._attempt, failure)]
        if failure.fault == "account":
            commands.append(Probe(choice, failure))
        if failure.fault == "malformed" or self._rejections() == 2:
            return [*commands, self._give_up()]
        return commands + self._try_next(now)

    def _try_next(self, now: float) -> list[Command]:
        """Sends to the next endpoint of the plan, within the attempt and the time budget."""
        remaining = self._budget_ends - now
        if self._attempt >= self._most or remaining <= 0:
            return [self._give_up()]
        choice = self.plan.ranked[self._attempt]
        self._attempt += 1
        self._deadline = self._time_for(choice, remaining)
        tried = Try(choice.state, self.request, self.plan.demand, choice.parts, self._deadline)
        return [Send(self._attempt, choice, tried), SetClock("first_token", self._attempt, self._deadline)]

    def _rejections(self) -> int:
        return sum(failure.fault == "rejected" for _, failure in self._failures)

    def _give_up(self) -> GiveUp:
        self.phase = "over"
        return GiveUp(tuple(self._failures))

    # clocks

    def _budget(self) -> float:
        """Seconds that all attempts share, scaled like the clocks of the first."""
        if not self.plan.ranked:
            return 0.0
        first = self.plan.ranked[0]
        return self._scaled(self.plan.policy.attempts.within, first) + self._writing(first)

    def _time_for(self, choice: Choice, remaining: float) -> float:
        """Seconds that an attempt gets; the last one gets what remains. `total` binds whole answers only."""
        if not self.request.stream:
            remaining = min(remaining, self.plan.policy.timeouts.total)
        return remaining if self._attempt >= self._most else min(remaining, self._clock(choice))

    def _clock(self, choice: Choice) -> float:
        """Seconds until the first token, or until the whole answer when it is not streamed."""
        clock = self._scaled(self.plan.policy.timeouts.first_token, choice)
        if self.request.stream:
            return max(clock, choice.state.ttft_p99[choice.parts.size])
        return max(clock, WHOLE_BASE) + self._writing(choice)

    def _scaled(self, seconds: float, choice: Choice) -> float:
        return seconds + self.plan.policy.timeouts.first_token_per_10k * choice.parts.uncached / 10_000

    def _writing(self, choice: Choice) -> float:
        """Seconds in which the endpoint, at its slow speed, writes the longest likely answer; 0 when it is streamed."""
        return 0.0 if self.request.stream else self.plan.demand.longest_output / choice.state.speed_p10

    def _timeout(self, clock: Clock) -> Failure:
        if clock == "gap":
            return Failure("timeout_gap", f"no data for {self.plan.policy.timeouts.gap:g} s")
        if self.request.stream:
            return Failure("timeout_first_token", f"no first token in {self._deadline:.3g} s")
        return Failure("timeout_total", f"no answer in {self._deadline:.3g} s")

    def __repr__(self) -> str:
        return f"<Exchange {self.request.id} {self.phase} attempt={self._attempt}>"
