"""OpenRouter's default routing, as its documents describe it: today's, and the rule before September 2026.

    tokens of the request x effective price ──┐
    mean TTFT, errors, 429s ──────────────────┼─> adjusted price ──┐
    mean time of the whole answer ────────────┴─> speed ───────────┴─> total ──distance from the best──> share ──> draw

Documented: the effective price is what an endpoint charged in the last half hour, cache hits included. All else is
measured on its own recent traffic too, with the most weight on the last minutes; an endpoint with little traffic is
treated as a typical peer. Endpoints close to the best share the traffic, the share drops quickly beyond an edge, and
every endpoint keeps a small share for exploration. Each request is drawn by share, and a retry from the remaining ones.
A conversation is pinned for ten idle minutes to the endpoint of a cache hit that saves money.

The weights are not published; those below are our choice (docs/routing.md says how). A replay has no tool calls, so
their quality does not count, and its hosts send 429s at random, so no traffic cap is learned.
"""

from collections.abc import Sequence
from math import exp
from typing import Any

from gateway.route.plan import Choice, Plan
from gateway.route.signals import Book
from gateway.route.tracked_attempt import Observation, TrackedAttempt
from gateway.sim.conversations import Conversations
from gateway.sim.observed import Observed
from gateway.sim.router_rules import RESERVE, InverseSquare, RouterRule, Scene
from gateway.sim.workload import TraceRow

HOUR = 3_600.0
TIME_USD = 0.1  # of an hour until the end of the answer
TTFT_USD = 0.1  # in addition, of an hour until the first token
ERROR = 8.0  # cost of an error, in multiples of the request's price
LIMITED = 3.0  # and of a 429
EDGE = 0.05  # relative distance from the best total
EXPLORE = 0.003  # share of every endpoint, at any distance


class OpenRouter2025(InverseSquare):
    """Weighted by the inverse square of the list price; conversations are pinned."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._conversations = Conversations(scene.rows)

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        pinned = self._conversations.pinned(row, now)
        drawn = super().keys(plan, row, choices, now)
        return [(choice.endpoint.id != pinned, key) for choice, key in zip(choices, drawn, strict=True)]

    def ended(self, tried: TrackedAttempt, book: Book, observation: Observation, now: float) -> None:
        if book.failure is None and not book.cancelled:
            self._conversations.answered(tried, observation.usage, now)


class OpenRouterRule(RouterRule):
    """By the measured adjusted price and speed; conversations are pinned."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._conversations = Conversations(scene.rows)
        self._peer = Observed()
        self._observed = {endpoint.id: Observed() for endpoint in scene.endpoints}

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        pinned = self._conversations.pinned(row, now)
        totals = [self._total(plan, choice, now) for choice in choices]
        open_to_new = self.scene.shares.under(choices, RESERVE)
        return [
            (choice.endpoint.id != pinned, choice not in open_to_new, position)
            for choice, position in zip(choices, self._weighted_order(totals), strict=True)
        ]

    def ended(self, tried: TrackedAttempt, book: Book, observation: Observation, now: float) -> None:
        usage, good = observation.usage, book.failure is None and not book.cancelled
        for observed in (self._observed[tried.state.endpoint.id], self._peer):
            if usage.prompt:
                observed.billed(usage, tried.state.price, now)
            if not book.cancelled:
                observed.ended(book.failure, now)
            if good and observation.ttft is not None and observation.speed:
                observed.timed(observation.ttft, observation.speed, usage.completion, now)
        if good:
            self._conversations.answered(tried, usage, now)

    def _total(self, plan: Plan, choice: Choice, now: float) -> float:
        """The total cost of a successful answer there, waiting included, in dollars."""
        own, peer, demand = self._observed[choice.endpoint.id], self._peer, plan.demand
        usd = demand.prompt_tokens * own.input_usd(choice.state.price, peer, now) + choice.parts.output_usd
        penalty = ERROR * own.errors(peer, now) + LIMITED * own.limited(peer, now)
        ttft = own.ttft(peer, now)
        whole = ttft + demand.output_tokens * own.token_s(peer, now)
        return usd * (1 + penalty) + (TTFT_USD * ttft + TIME_USD * whole) / HOUR

    def _weighted_order(self, totals: Sequence[float]) -> list[int]:
        """The position of each in a weighted order: each next one is drawn by share among the remaining ones."""
        left, positions = list(range(len(totals))), [0] * len(totals)
        for position in range(len(totals)):
            weights = shares([totals[place] for place in left])
            drawn = self.scene.random.choices(left, weights)[0]
            positions[drawn] = position
            left.remove(drawn)
        return positions


def shares(totals: Sequence[float]) -> list[float]:
    """The share of each: it falls slowly with the distance from the best up to the edge, and then quickly."""
    best = min(totals)
    preferred = [exp(-(((total / best - 1) / EDGE) ** 2)) for total in totals]
    everyone = EXPLORE * len(totals)
    return [(1 - everyone) * one / sum(preferred) + EXPLORE for one in preferred]
