"""A script of one exchange: `>>` injects an event, `<<` expects the next commands, in words.

    assert (
        Playbook("a", "b")
        >> Started(0.0)
        << "send 1 to a, clock first_token 10, clock keepalive 10"
        >> FirstToken(1, 1.0)
        << "commit 1, clock gap 30"
    )

A command that was not expected fails the script, at the next event or at its end.
"""

from typing import Any

from gateway.route.exchange import Exchange
from gateway.route.fleet import Fleet
from gateway.route.hedge import Budget
from gateway.route.signals import (
    Abandon,
    Book,
    Break,
    Cancel,
    Command,
    Commit,
    Complete,
    Event,
    GiveUp,
    KeepAlive,
    Probe,
    Send,
    SetClock,
)
from gateway.types import Pick, Policy, Price, Score
from tests.route.world import endpoint, plan, request

IN_ORDER = Policy("p", score=Score(value_of_time=0.0), pick=Pick("best", explore=0.0))


class Playbook:
    """An exchange over these endpoints, tried in this order. `asked` changes what is usual about the request."""

    def __init__(self, *names: str, policy: Policy = IN_ORDER, budget: Budget | None = None, **asked: Any) -> None:
        fleet = Fleet(endpoint(name, price=Price(place, place)) for place, name in enumerate(names, 1))
        wanted = request(**({"prompt_tokens": 0} | asked))
        self.exchange = Exchange(wanted, plan(fleet, wanted, policy), budget)
        self._commands: list[str] = []

    def __rshift__(self, event: Event) -> "Playbook":
        assert not self._commands, f"before {event}, nobody expected: {self._commands}"
        self._commands = [told(command) for command in self.exchange.on(event)]
        return self

    def __lshift__(self, expected: str) -> "Playbook":
        count = expected.count(", ") + 1
        assert ", ".join(self._commands[:count]) == expected
        del self._commands[:count]
        return self

    def __bool__(self) -> bool:
        assert not self._commands, f"at the end, nobody expected: {self._commands}"
        return True


def told(command: Command) -> str:
    match command:
        case Send(attempt, choice):
            return f"send {attempt} to {choice.endpoint.id}"
        case SetClock(clock, _, seconds):
            return f"clock {clock} {seconds:g}"
        case Cancel(attempt):
            return f"cancel {attempt}"
        case Commit(attempt):
            return f"commit {attempt}"
        case KeepAlive():
            return "keep alive"
        case Probe(choice):
            return f"probe {choice.endpoint.id}"
        case Book(attempt, failure, cancelled, hedge):
            ended = failure.fault if failure else "cancelled" if cancelled else "ok"
            return f"book {attempt} {ended}" + (f" ({hedge})" if hedge else "")
        case Complete(attempt):
            return f"complete {attempt}"
        case Break(attempt, failure):
            return f"break {attempt} {failure.fault}"
        case GiveUp(failures):
            return " ".join(["give up", *(f"{name}:{failure.fault}" for name, failure in failures)])
        case Abandon():
            return "abandon"
