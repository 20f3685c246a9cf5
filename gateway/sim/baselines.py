"""Other routers' rules, replayed for comparison with the policies.

A baseline has the gateway's filters, breakers and failover, so that only the choice differs. With a cap, an endpoint
above its share of all tokens so far is tried last.
"""

from collections.abc import Sequence
from random import Random

import msgspec

from gateway.route.plan import Plan
from gateway.route.signals import Book
from gateway.route.tracked_attempt import Observation, TrackedAttempt
from gateway.sim.behaviour import Behaviour
from gateway.sim.litellm_rules import LeastBusy, LowestCost, LowestLatency, Shuffle
from gateway.sim.openrouter_rule import OpenRouter2025, OpenRouterRule
from gateway.sim.router import Router
from gateway.sim.router_rules import Cheapest, InverseSquare, LeastInFlight, RouterRule, Scene, Sticky, StickyCost
from gateway.sim.shares import Shares
from gateway.sim.workload import TraceRow
from gateway.types import Endpoint, Pick, Policy, Request, Score

LIST_PRICE = Policy(
    name="baseline",
    score=Score(price="list", value_of_time=0.0, failure_cost=0.0),
    pick=Pick(how="best", explore=0.0),
    affinity="none",
)
RULES: dict[str, type[RouterRule]] = {
    "openrouter": OpenRouterRule,
    "openrouter-2025": OpenRouter2025,
    "litellm-shuffle": Shuffle,
    "litellm-least-busy": LeastBusy,
    "litellm-cost": LowestCost,
    "litellm-latency": LowestLatency,
    "least-in-flight": LeastInFlight,
    "cheapest": Cheapest,
    "1/price^2": InverseSquare,
    "sticky": Sticky,
    "sticky-cost": StickyCost,
}


class Baseline(Router):
    """A rule instead of the gateway's ranking. `cap` is the largest share of all tokens for one endpoint."""

    def __init__(
        self,
        name: str,
        endpoints: list[Endpoint],
        seed: int,
        behaviour: Behaviour,
        cap: float,
        rows: Sequence[TraceRow],
    ) -> None:
        super().__init__(name, LIST_PRICE, endpoints, seed)
        self._shares = Shares([one.id for one in endpoints], cap)
        self.rule = RULES[name](Scene(endpoints, rows, behaviour, self._shares, Random(seed)))

    def plan(self, request: Request, row: TraceRow, now: float, hour: int) -> Plan:
        plan = super().plan(request, row, now, hour)
        top = [choice for choice in plan.ranked if choice.tier is plan.ranked[0].tier]
        open_choices = self._shares.under(top) or top
        if not open_choices:
            return plan
        keys = self.rule.keys(plan, row, open_choices, now)
        order = sorted(range(len(open_choices)), key=keys.__getitem__)
        others = [choice for choice in plan.ranked if choice not in open_choices]
        ranked = (*(open_choices[place] for place in order), *others)
        return msgspec.structs.replace(plan, first=ranked[0], choices=ranked, picked=self.name)

    def sent(self, tried: TrackedAttempt, row: TraceRow, now: float) -> None:
        super().sent(tried, row, now)
        self._shares.add(tried.state.endpoint.id, row.input_tokens + row.output_tokens)
        self.rule.sent(tried, row, now)

    def ended(self, tried: TrackedAttempt, book: Book, observation: Observation, now: float) -> None:
        super().ended(tried, book, observation, now)
        self.rule.ended(tried, book, observation, now)
