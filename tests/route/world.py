"""Endpoints, requests and fleets for tests of the decision: small, with a usual value for everything."""

from collections.abc import Callable, Sequence
from typing import Any

from gateway.route.cost import Demand, Parts, parts
from gateway.route.decide import make_plan
from gateway.route.endpoint_state import EndpointState
from gateway.route.fleet import Fleet
from gateway.route.offers import terms
from gateway.route.plan import Plan
from gateway.route.tracked_attempt import TrackedAttempt
from gateway.route.waits import scale, size_class
from gateway.types import FAULTS, Endpoint, Failure, Pick, Policy, Price, Request, Score, Usage

NOW = 1_000.0
HOUR = 12
Chance = Callable[[], float]
BEST = Policy("best")  # what `attempt` is expected under
CHEAPEST = Policy("cheapest", score=Score(value_of_time=0.0), pick=Pick("best", explore=0.0))


def endpoint(name: str = "a/fp8", **changes: Any) -> Endpoint:
    usual: dict[str, Any] = {
        "provider": name.partition("/")[0],
        "base_url": "http://host.test/v1",
        "model": "m",
        "price": Price(input=0.25, output=0.5, cached_input=0.05),
        "quantization": "fp8",
        "supports": ("tools",),
    }
    return Endpoint(id=name, **(usual | changes))


def request(**changes: Any) -> Request:
    usual: dict[str, Any] = {
        "id": "gen-1",
        "body": {"messages": []},
        "model": "m",
        "policy": "test",
        "stream": True,
        "prompt_tokens": 1_000,
    }
    return Request(**(usual | changes))


def priced(**prices: float) -> Fleet:
    """Endpoints with these names, at these prices of a million tokens, input or output."""
    return Fleet(endpoint(name, price=Price(price, price)) for name, price in prices.items())


def plan(
    fleet: Fleet, asked: Request | None = None, policy: Policy = BEST, now: float = NOW, chance: Chance = lambda: 0.5
) -> Plan:
    return make_plan(asked or request(), policy, fleet, now, HOUR, chance)


def expected(state: EndpointState, policy: Policy, demand: Demand, matched: int = 0, toll: float = 0.0) -> Parts:
    """What is expected of this endpoint alone."""
    return parts(terms(state, policy, demand.tools), state.load, demand, policy, matched, toll)


def recent(state: EndpointState, now: float) -> float:
    """First tokens of the last minute, faded by their age."""
    return sum(trend.recent.count(now) for trend in state.waits.trends)


def try_of(made: Plan, asked: Request, name: str = "") -> TrackedAttempt:
    """What is sent to this endpoint of the plan, or to its first."""
    choice = next(one for one in made.ranked if name in ("", one.endpoint.id))
    return TrackedAttempt(choice.state, asked, made.demand, choice.parts, 10.0)


def attempt(
    fleet: Fleet,
    name: str,
    asked: Request | None = None,
    now: float = NOW,
    deadline: float = 10.0,
    matched: int = 0,
    policy: Policy = BEST,
) -> TrackedAttempt:
    """One attempt at this endpoint, sent: streamed by its host where its client streams."""
    asked = asked or request()
    state = fleet.states[name]
    if now >= state.due:
        state.refresh(now)
    demand = fleet.demand(asked, policy, 0, now, HOUR)
    parts = expected(state, policy, demand, matched)
    tried = TrackedAttempt(state, asked, demand, parts, deadline, streams=asked.stream)
    fleet.sent(tried, now)
    return tried


def succeed(
    fleet: Fleet, tried: TrackedAttempt, now: float, ttft: float | None = 1.0, usage: Usage | None = None
) -> None:
    counted = usage or Usage(tried.request.prompt_tokens, 0, 100, 0, "host")
    fleet.succeeded(tried, counted, ttft, 30.0, now)


def fail(fleet: Fleet, tried: TrackedAttempt, fault: str, now: float, **about: Any) -> None:
    fleet.failed(tried, Failure(FAULTS[fault], "no", **about), now, draw=0.0)


def teach(fleet: Fleet, name: str, ttfts: Sequence[float], now: float = NOW, **asked: Any) -> None:
    """Good answers of this endpoint, all at once."""
    for ttft in ttfts:
        succeed(fleet, attempt(fleet, name, request(**asked), now), now, ttft)


def answer(fleet: Fleet, tried: TrackedAttempt, ttft: float, speed: float | None = 30.0) -> None:
    """The whole course of a good answer: its first token after so many seconds, and its end."""
    first = tried.sent_at + ttft
    fleet.began(tried, first)
    fleet.succeeded(tried, Usage(tried.request.prompt_tokens, 0, 100, 0, "host"), ttft, speed, first + 3)


def seconds(ratios: Sequence[float], uncached: float = 1_000) -> float:
    """What ratios by size class (`Waits.p50` and others) say about a prompt with so many uncached tokens."""
    return ratios[size_class(uncached)] * scale(uncached)


def fresh(state: EndpointState, now: float) -> EndpointState:
    """The state with its figures as of this moment."""
    state.refresh(now)
    return state


def saved(fleet: Fleet, policy: Policy, usual: float = 1.0) -> Fleet:
    """The fleet, with enough saved under this policy for one exploration; a request usually scores `usual` dollars."""
    explorer = fleet.explorers.of(policy)
    assert explorer is not None
    explorer.saved, explorer.usual = 1.0, usual
    return fleet
