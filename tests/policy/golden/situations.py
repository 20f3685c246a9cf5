"""The ten situations that every policy decides in.

Trouble always meets the endpoint that the policy usually takes (`usual`: first for a new short prompt when all is
well). Conversations began at the one that it ranks next (`home`), so that staying there is a decision.
"""

from collections.abc import Callable
from typing import NamedTuple

from gateway.route.decide import make_plan
from gateway.route.plan import Plan
from gateway.types import Failure, Fault, Policy, Request
from tests.policy.golden.history import MORE, NOW, Answer, History
from tests.route.world import HOUR

SHORT, LONG, LEFT = 1_000, 40_000, 500  # tokens; `LEFT` of a long prompt are new
AGO = 60.0  # seconds since the turn before
AT_ONCE = 24  # requests in flight of a busy endpoint
WAVES = (30.0, 80.0, 130.0, 180.0)  # seconds ago
CARRIED, PER = 4, 8  # in flight without slower answers; so many more for each usual time on top
TOOLS = frozenset({"tools"})


class Places(NamedTuple):
    """Where the policy usually sends a short prompt, and which endpoint it ranks next."""

    usual: str
    home: str


class Situation(NamedTuple):
    """`about` names it, with the places filled in; `tell` adds what happened and returns what is asked now."""

    about: str
    tell: Callable[[History, Places], Request]


def decided(policy: Policy, situation: Situation, places: Places) -> Plan:
    """The policy's plan. No chance: where one is drawn, it is the first of those in the draw."""
    history = History(policy)
    asked = situation.tell(history, places)
    return make_plan(asked, policy, history.play(), NOW, HOUR, lambda: 0.0)


def places(policy: Policy) -> Places:
    """What the policy does when all is well."""
    ranked = [choice.endpoint.id for choice in decided(policy, SITUATIONS[0], Places("", "")).ranked]
    return Places(ranked[0], ranked[min(1, len(ranked) - 1)])


def _new_short(history: History, _: Places) -> Request:
    return history.prompt(SHORT)


def _new_long(history: History, _: Places) -> Request:
    return history.prompt(LONG)


def _known_long(history: History, places: Places) -> Request:
    return _next_turn(history, places, LONG - LEFT, LONG)


def _known_short(history: History, places: Places) -> Request:
    return _next_turn(history, places, SHORT, SHORT + MORE)


def _next_turn(history: History, places: Places, before: int, tokens: int) -> Request:
    first = history.prompt(before)
    history.answered(places.home, first, NOW - AGO)
    return history.prompt(tokens, first)


def _tools(history: History, _: Places) -> Request:
    return history.prompt(SHORT, needs=TOOLS)


def _thinking(history: History, _: Places) -> Request:
    return history.prompt(SHORT, thinking=True)


def _busy(history: History, places: Places) -> Request:
    answer = Answer(100, lambda in_flight: 1 + max(0, in_flight - CARRIED) / PER)
    for ago in (*WAVES, 1.0):
        for number in range(AT_ONCE):
            history.answered(places.usual, history.prompt(SHORT), NOW - ago + number / 100, answer)
    return history.prompt(SHORT)


def _silent(history: History, places: Places) -> Request:
    for ago in range(20, 8, -2):
        history.silent(places.usual, history.prompt(SHORT), NOW - ago)
    return history.prompt(SHORT)


def _slow(history: History, places: Places) -> Request:
    history.slow[places.usual] = NOW - 60, 3.0
    for ago in range(58, 0, -4):
        history.answered(places.usual, history.prompt(SHORT), NOW - ago, Answer(50))
    return history.prompt(SHORT)


def _failing(history: History, places: Places) -> Request:
    for number in range(5):
        failure = Failure(Fault.SERVER, "overloaded", 503)
        history.failed(places.usual, history.prompt(SHORT), NOW - 3 + number / 10, failure)
    if places.home != places.usual:
        failure = Failure(Fault.RATE_LIMITED, "too many requests", 429, retry_after=30.0)
        history.failed(places.home, history.prompt(SHORT), NOW - 5, failure)
    return history.prompt(SHORT)


SITUATIONS = (
    Situation("A new short prompt, 1,000 tokens", _new_short),
    Situation("A new long prompt, 40,000 tokens", _new_long),
    Situation("A long prompt, 40,000 tokens, all but 500 of them sent to {home} a minute ago", _known_long),
    Situation("A short prompt, 1,200 tokens, all but 200 of them sent to {home} a minute ago", _known_short),
    Situation("With tools, new, 1,000 tokens", _tools),
    Situation("Thinking, new, 1,000 tokens", _thinking),
    Situation("A busy fleet: 24 in flight at {usual}, whose answers have shown that it slows down", _busy),
    Situation("A silent host: six requests have waited for 10 to 20 s at {usual}", _silent),
    Situation("A slow host: {usual} has taken three times as long for a minute", _slow),
    Situation("Failing hosts: five errors in a row at {usual}, and a 429 at {home} where that is another", _failing),
)
