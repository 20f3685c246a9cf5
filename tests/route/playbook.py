"""A script of one exchange: `>>` injects an event, `<<` expects the next commands, in words.

    assert (
        Playbook("a", "b")
        >> Started(0.0)
        << "send 1 to a, timer first_token 10, timer keepalive 10"
        >> FirstToken(1, 1.0)
        << "commit 1, timer gap 30"
    )

A command that was not expected fails the script, at the next event or at its end; so does a timer of an attempt that
the commands are not about, which the words do not show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.route import signals as core
from gateway.route.exchange import Exchange
from gateway.route.hedge import Budget
from gateway.types import FAULTS, Attempts, Failure, Policy
from gateway.types.endpoint import Capability
from tests.route.world import CHEAPEST, plan, priced, request

ONE_EACH = replace(CHEAPEST, attempts=Attempts(retries=0))  # no endpoint is asked twice
OF_THE_EXCHANGE = ("keepalive", "retry")  # timers that are no attempt's


class Playbook:
    """An exchange over these endpoints, tried in this order. `asked` changes what is usual about the request, and
    `supports` says what some of the endpoints can do."""

    def __init__(
        self,
        *names: str,
        policy: Policy = ONE_EACH,
        budget: Budget | None = None,
        supports: Mapping[str, frozenset[Capability]] | None = None,
        **asked: Any,
    ) -> None:
        fleet = priced(**{name: float(place) for place, name in enumerate(names, 1)})
        states = fleet.states.values()
        fleet.configure(
            [
                replace(one.endpoint, supports=(supports or {}).get(one.endpoint.id, one.endpoint.supports))
                for one in states
            ]
        )
        wanted = request(**({"prompt_tokens": 0} | asked))
        self.exchange = Exchange(wanted, plan(fleet, wanted, policy), budget)
        self._commands: list[str] = []

    def __rshift__(self, event: core.Event) -> "Playbook":
        assert not self._commands, f"before {event}, nobody expected: {self._commands}"
        commands = self.exchange.on(event)
        _check_timers(event, commands)
        self._commands = [told(command) for command in commands]
        return self

    def __lshift__(self, expected: str) -> "Playbook":
        count = expected.count(", ") + 1
        assert ", ".join(self._commands[:count]) == expected
        del self._commands[:count]
        return self

    def __bool__(self) -> bool:
        assert not self._commands, f"at the end, nobody expected: {self._commands}"
        return True


def _check_timers(event: core.Event, commands: Sequence[core.Command]) -> None:
    about = getattr(event, "attempt", 0)
    for command in commands:
        if isinstance(command, core.Send | core.Begin | core.Commit):
            about = command.attempt
        if isinstance(command, core.SetTimer):
            assert command.attempt == (0 if command.timer in OF_THE_EXCHANGE else about)


def failed(attempt: int, fault: str, now: float = 1.0) -> core.Failed:
    return core.Failed(attempt, Failure(FAULTS[fault], "no"), now)


def told(command: core.Command) -> str:
    match command:
        case core.Send(attempt, choice):
            how = " whole" if not command.tried.streams else " continuing" if command.continues else ""
            return f"send {attempt}{how} to {choice.endpoint.id}"
        case core.SetTimer(name, _, seconds):
            return f"timer {name} {seconds:g}"
        case core.Cancel(attempt):
            return f"cancel {attempt}"
        case core.Begin(attempt):
            return f"begin {attempt}"
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
