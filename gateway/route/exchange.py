"""One exchange as a state machine: events come in, commands go out.

    Started ─> Send ─> FirstToken ─> Commit ......... Finished ─> Complete          the answer is this endpoint's
                 │          ╲                └ Failed ─> Break                      after the commit: a loud end
                 └ Failed ───╳─> Send (next endpoint) or GiveUp                      before it: nobody notices

Two commits: the *answer commit* is the first token, until then anything may be tried again; the *wire commit* comes
with it, or earlier by `KeepAlive` when a streamed client has waited long. The core sees first token, end, failure,
timers and the client leaving; bytes between them never pass through here.

Every attempt ends in exactly one `Book`, and every exchange in exactly one of Complete, Break, GiveUp, Abandon.
"""

from dataclasses import dataclass, field
from typing import Literal

from gateway.route.fleet import Try, size_class
from gateway.route.plan import Choice, Plan
from gateway.types import Failure, Request

NON_STREAMED_BASE = 30.0  # seconds that a whole answer may take before its length counts

Clock = Literal["first_token", "gap", "keepalive"]


# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    now: float


@dataclass(frozen=True, slots=True)
class FirstToken:
    """Non-empty content, reasoning, refusal or tool call arrived from attempt `attempt`."""

    attempt: int
    now: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The attempt's answer ended with a finish reason."""

    attempt: int
    now: float


@dataclass(frozen=True, slots=True)
class Failed:
    attempt: int
    failure: Failure
    now: float


@dataclass(frozen=True, slots=True)
class Expired:
    """A clock that was set ran out."""

    clock: Clock
    attempt: int
    now: float


@dataclass(frozen=True, slots=True)
class ClientLeft:
    now: float


Event = Started | FirstToken | Finished | Failed | Expired | ClientLeft


# --- commands ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Ask this endpoint; it has `tried.deadline` seconds to its first token (or whole answer, not streamed)."""

    attempt: int
    choice: Choice
    tried: Try


@dataclass(frozen=True, slots=True)
class SetClock:
    clock: Clock
    attempt: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Close the attempt's connection; nothing more may come from it."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The answer is this attempt's: status and headers leave if they have not, and its bytes flow."""

    attempt: int


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The client has waited long: status and headers leave, and a comment."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What looks like the account's fault is confirmed by one minimal request, apart from this exchange."""

    choice: Choice
    failure: Failure


@dataclass(frozen=True, slots=True)
class Book:
    """The attempt is over: write it down and learn from it. `failure` None and `cancelled` False is success."""

    attempt: int
    failure: Failure | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Complete:
    """The client has everything."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Break:
    """The answer ended badly after its commit: a machine-readable error event, never a clean end."""

    attempt: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No endpoint answered: every failure in order, (endpoint id, failure)."""

    failures: tuple[tuple[str, Failure], ...]


@dataclass(frozen=True, slots=True)
class Abandon:
    """The client is gone."""


Command = Send | SetClock | Cancel | Commit | KeepAlive | Probe | Book | Complete | Break | GiveUp | Abandon


# --- the machine ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Exchange:
    """Drives one request along its plan. Feed every event to `on`, perform what it returns, in order."""

    request: Request
    plan: Plan
    phase: Literal["waiting", "answering", "over"] = "waiting"
    _attempt: int = 0  # the one that is running; attempts count from 1
    _budget_ends: float = 0.0
    _next: int = 0  # index into plan.ranked
    _failures: list[tuple[str, Failure]] = field(default_factory=list)
    _rejections: int = 0

    def on(self, event: Event) -> list[Command]:
        """What to do about one event. Late events of attempts that are over are ignored."""
        if self.phase == "over":
            return []
        match event:
            case Started():
                return self._started(event.now)
            case ClientLeft():
                return self._left()
            case Expired(clock="keepalive"):
                return self._waited_long()
        if event.attempt != self._attempt:
            return []
        match event:
            case FirstToken():
                return self._first_token()
            case Finished():
                return self._finished()
            case Failed():
                return self._failed(event.failure, event.now)
            case Expired():
                return self._expired(event.clock, event.now)

    def _started(self, now: float) -> list[Command]:
        self._budget_ends = now + self._scaled(self.plan.policy.attempts.within, self._first_uncached())
        commands = self._try_next(now)
        if self.request.stream and self.phase == "waiting":
            commands.append(SetClock("keepalive", 0, self.plan.policy.keepalive))
        return commands

    def _left(self) -> list[Command]:
        self.phase = "over"
        return [Cancel(self._attempt), Book(self._attempt, cancelled=True), Abandon()]

    def _waited_long(self) -> list[Command]:
        if self.phase != "waiting":
            return []
        return [KeepAlive(), SetClock("keepalive", 0, self.plan.policy.keepalive)]

    def _first_token(self) -> list[Command]:
        if self.phase != "waiting":
            return []
        self.phase = "answering"
        return [Commit(self._attempt), SetClock("gap", self._attempt, self.plan.policy.timeouts.gap)]

    def _finished(self) -> list[Command]:
        commands: list[Command] = [] if self.phase == "answering" else [Commit(self._attempt)]
        self.phase = "over"
        return [*commands, Book(self._attempt), Complete(self._attempt)]

    def _expired(self, clock: Clock, now: float) -> list[Command]:
        if (clock == "gap") != (self.phase == "answering"):
            return []
        failure = self._timeout(clock)
        return [Cancel(self._attempt), *self._failed(failure, now)]

    def _failed(self, failure: Failure, now: float) -> list[Command]:
        book = Book(self._attempt, failure)
        self._failures.append((self.plan.ranked[self._next - 1].endpoint.id, failure))
        if self.phase == "answering":
            self.phase = "over"
            return [book, Break(self._attempt, failure)]
        if failure.fault == "malformed" or self._rejected_twice(failure):
            return [book, self._give_up()]
        commands: list[Command] = [book]
        if failure.fault == "account":
            commands.append(Probe(self.plan.ranked[self._next - 1], failure))
        return commands + self._try_next(now)

    def _try_next(self, now: float) -> list[Command]:
        """Sends to the next endpoint of the plan, within the attempt and the time budget."""
        remaining = self._budget_ends - now
        if self._next >= len(self.plan.ranked) or self._attempt >= self.plan.policy.attempts.max or remaining <= 0:
            return [self._give_up()]
        choice = self.plan.ranked[self._next]
        self._next += 1
        self._attempt += 1
        deadline = self._deadline(choice, remaining)
        tried = Try(choice.endpoint.id, self.request, deadline, choice.parts.matched_tokens)
        return [Send(self._attempt, choice, tried), SetClock("first_token", self._attempt, deadline)]

    def _deadline(self, choice: Choice, remaining: float) -> float:
        """Seconds until the first token must be there; the last attempt gets what remains."""
        uncached = self.plan.demand.prompt_tokens * (1 - choice.parts.hit)
        if not self.request.stream:
            return self._whole_deadline(choice)
        last = self._attempt >= self.plan.policy.attempts.max or self._next >= len(self.plan.ranked)
        if last:
            return remaining
        clock = self._scaled(self.plan.policy.timeouts.first_token, uncached)
        return min(remaining, max(clock, choice.state.ttft_p99[size_class(uncached)]))

    def _whole_deadline(self, choice: Choice) -> float:
        """Seconds for an answer that is not streamed: by its longest likely length at the endpoint's slow speed."""
        timeouts = self.plan.policy.timeouts
        seconds = NON_STREAMED_BASE + self.plan.demand.longest_output / choice.state.speed_p10
        return min(timeouts.total, seconds)

    def _scaled(self, seconds: float, uncached: float) -> float:
        return seconds + self.plan.policy.timeouts.first_token_per_10k * uncached / 10_000

    def _first_uncached(self) -> float:
        if not self.plan.ranked:
            return 0.0
        return self.plan.demand.prompt_tokens * (1 - self.plan.ranked[0].parts.hit)

    def _timeout(self, clock: Clock) -> Failure:
        if clock == "gap":
            return Failure("timeout_gap", f"no data for {self.plan.policy.timeouts.gap:g} s")
        if self.request.stream:
            return Failure("timeout_first_token", "no first token in time")
        return Failure("timeout_total", "no answer in time")

    def _rejected_twice(self, failure: Failure) -> bool:
        self._rejections += failure.fault == "rejected"
        return self._rejections >= 2

    def _give_up(self) -> GiveUp:
        self.phase = "over"
        return GiveUp(tuple(self._failures))
