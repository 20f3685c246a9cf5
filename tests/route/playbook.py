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

from gateway.route import signals as core
from gateway.route.exchange import Exchange
from gateway.route.hedge import Budget
from gateway.types import Failure, Fault, Policy
from tests.route.world import CHEAPEST, plan, priced, request


class Playbook:
    """An exchange over these endpoints, tried in this order. `asked` changes what is usual about the request."""

    def __init__(self, *names: str, policy: Policy = CHEAPEST, budget: Budget | None = None, **asked: Any) -> None:
        fleet = priced(**{name: float(place) for place, name in enumerate(names, 1)})
        wanted = request(**({"prompt_tokens": 0} | asked))
        self.exchange = Exchange(wanted, plan(fleet, wanted, policy), budget)
        self._commands: list[str] = []

    def __rshift__(self, event: core.Event) -> "Playbook":
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


def failed(attempt: int, fault: Fault, now: float = 1.0) -> core.Failed:
    return core.Failed(attempt, Failure(fault, "no"), now)


def told(command: core.Command) -> str:
    match command:
        case core.Send(attempt, choice):
            return f"send {attempt} to {choice.endpoint.id}"
        case core.SetClock(clock, _, seconds):
            return f"clock {clock} {seconds:g}"
        case core.Cancel(attempt):
            return f"cancel {attempt}"
        case core.Commit(attempt):
            return f"commit {attempt}"
        case core.KeepAlive():
            return "keep alive"
        case core.Probe(choice):
            return f"probe {choice.endpoint.id}"
        case core.Book(attempt, failure, cancelled, hedge):
            ended = failure.fault if failure else "cancelled" if cancelled else "ok"
            return f"book {attempt} {ended}" + (f" ({hedge})" if hedge else "")
        case core.Complete(attempt):
            return f"complete {attempt}"
        case core.Break(attempt, failure):
            return f"break {attempt} {failure.fault}"
        case core.GiveUp(failures):
            return " ".join(["give up", *(f"{name}:{failure.fault}" for name, failure in failures)])
        case core.Abandon():
            return "abandon"
