"""An exchange under any events at all: whatever comes, what it commands makes sense and ends once."""

from dataclasses import dataclass, field
from typing import get_args

from hypothesis import strategies as st

from gateway.route import signals as core
from gateway.route.exchange import Exchange
from gateway.types import Failure, Fault

moments = st.floats(0.0, 30.0)
_numbers = st.integers(0, 6)
_faults = st.sampled_from(sorted(Fault))
happenings = st.one_of(
    st.builds(core.FirstToken, _numbers, moments),
    st.builds(core.Finished, _numbers, moments),
    st.builds(
        lambda attempt, fault, now, resumable: core.Failed(attempt, Failure(fault, "no"), now, resumable),
        _numbers,
        _faults,
        moments,
        st.booleans(),
    ),
    st.builds(core.Expired, st.sampled_from(get_args(core.TimerName)), _numbers, moments, st.booleans()),
    st.builds(core.ClientLeft, moments),
)


@dataclass
class Watched:
    """One exchange, its commands checked as they come. `at_once`: how many of its attempts may run."""

    exchange: Exchange
    at_once: int
    running: dict[int, core.Send] = field(default_factory=dict, init=False)
    timers: dict[int, core.TimerName] = field(default_factory=dict, init=False)
    sent: int = field(default=0, init=False)
    pauses: bool = field(default=False, init=False)  # before an endpoint is asked again
    committed: bool = field(default=False, init=False)  # whether an attempt that runs has its answer with the client
    commits: int = field(default=0, init=False)
    ends: int = field(default=0, init=False)

    def feed(self, event: core.Event) -> None:
        for command in self.exchange.on(event):
            assert not self.ends, f"{command} after the end"
            self.take(command)
        assert self.running.keys() == self.timers.keys(), "each that runs has one timer"
        assert not self.ends or not self.running, "every Send has its Book"
        assert self.ends or self.exchange.phase == "new" or self.running or self.pauses, (
            "nothing runs, and nothing ended"
        )

    def take(self, command: core.Command) -> None:
        match command:
            case core.Send():
                self.send(command)
            case core.SetTimer(name, attempt, seconds):
                assert seconds > 0
                self.pauses = self.pauses or name == "retry"
                if attempt:
                    self.timers[attempt] = name
            case core.Cancel(attempt):
                del self.timers[attempt]
            case core.Book():
                self.book(command)
            case core.Commit(attempt):
                self.commits += 1
                assert not self.committed, "one answer at a time"
                assert self.commits == 1 or self.running[attempt].continues
                assert attempt in self.running
                self.committed = True
            case core.Begin(attempt):
                assert attempt in self.running
                assert not self.commits
            case core.Complete() | core.Break() | core.GiveUp() | core.Abandon():
                self.ends += 1
                assert not isinstance(command, core.Complete | core.Break) or self.commits
                assert not isinstance(command, core.GiveUp) or not self.commits

    def send(self, send: core.Send) -> None:
        plan = self.exchange.plan
        self.sent += 1
        assert send.attempt == self.sent <= plan.policy.attempts.max
        assert send.hedge == send.tried.hedge == bool(self.running)
        assert send.tried.timeout > 0
        assert send.continues == bool(self.commits), "after a commit the text is continued, or nothing"
        self.pauses = False
        self.running[send.attempt] = send
        assert len(self.running) <= self.at_once

    def book(self, book: core.Book) -> None:
        del self.running[book.attempt]
        self.timers.pop(book.attempt, None)
        self.committed = False
        assert book.failure is None or not book.cancelled
        assert book.hedge != "beaten" or (book.cancelled and not book.failure)
