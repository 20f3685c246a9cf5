"""The router of a replay: the gateway's own core under a policy, or a baseline in its place.

Engine ──plan, sent, ended──> Router ──> route.decide, route.fleet
                                └── Baseline (baselines.py): the same core's health, another order
"""

from collections.abc import Callable
from random import Random

from gateway.route.decide import make_plan
from gateway.route.fleet import Fleet
from gateway.route.hedge import Budgets
from gateway.route.plan import Plan
from gateway.route.signals import Book
from gateway.route.tracked_attempt import Observation, TrackedAttempt
from gateway.sim.workload import TraceRow
from gateway.types import Endpoint, Policy, Request


class Router:
    """The gateway's decision for one policy, with a fleet that starts from published figures only."""

    def __init__(self, name: str, policy: Policy, endpoints: list[Endpoint], seed: int) -> None:
        self.name = name
        self.policy = policy
        self.fleet = Fleet(endpoints)
        self.budget = Budgets().of(policy, "")  # for hedges
        self.chance: Callable[[], float] = Random(seed).random

    def plan(self, request: Request, row: TraceRow, now: float, hour: int) -> Plan:
        """The plan for one request. `row` is the request's actual course, which a policy never uses."""
        return make_plan(request, self.policy, self.fleet, now, hour, self.chance)

    def sent(self, tried: TrackedAttempt, row: TraceRow, now: float) -> None:
        """An attempt was sent."""
        self.fleet.sent(tried, now)

    def began(self, tried: TrackedAttempt, now: float) -> None:
        """An attempt's first token arrived."""
        self.fleet.began(tried, now)

    def ended(self, tried: TrackedAttempt, book: Book, observation: Observation, now: float) -> None:
        """An attempt ended."""
        self.fleet.learn(tried, book, observation, now, self.chance)

    def __repr__(self) -> str:
        return f"<Router {self.name}>"
