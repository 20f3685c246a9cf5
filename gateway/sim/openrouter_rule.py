"""OpenRouter's default routing, as its documents describe it: today's, and the rule that it left in September 2026.

    tokens of the request x effective price ──┐
    mean TTFT, errors, 429s ──────────────────┼─> adjusted price ──┐
    mean time of the whole answer ────────────┴─> speed ───────────┴─> total ──behind the best──> share ──> draw

Documented: the effective price is what an endpoint charged in the last half hour, cache hits included. All else is
measured on its own recent traffic, too, of which the last minutes weigh most; an endpoint with little traffic is taken
for a usual peer. Those close to the best share the traffic, the share drops fast beyond an edge, and every endpoint
keeps a small one, to be explored. Each request is drawn by share, and a retry from those that are left. A conversation
stays for ten idle minutes where it had a cache hit that saves money.

The weights are not published; those below are chosen (docs/routing.md says how). A replay has no tool calls, so their
quality counts for nothing, and its hosts answer 429 at random, so no traffic cap is learned.
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
TIME_USD = 0.1  # an hour until the end of the answer
TTFT_USD = 0.1  # an hour until the first token, on top of that
ERROR = 8.0  # times the request's price, that an error costs
LIMITED = 3.0  # and a 429
EDGE = 0.05  # of the best total: as far behind it is the edge
EXPLORE = 0.003  # share of every endpoint, however far behind


class OpenRouter2025(InverseSquare):
    """By the square of the list price; a conversation stays."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._conversations = Conversations(scene.rows)

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        home = self._conversations.home(row, now)
        drawn = super().keys(plan, row, choices, now)
        return [(choice.endpoint.id != home, key) for choice, key in zip(choices, drawn, strict=True)]

    def ended(self, tried: TrackedAttempt, book: Book, heard: Observation, now: float) -> None:
        if book.failure is None and not book.cancelled:
            self._conversations.answered(tried, heard.usage, now)


class OpenRouterRule(RouterRule):
    """By the adjusted price and the speed that were measured; a conversation stays."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._conversations = Conversations(scene.rows)
        self._peer = Observed()
        self._observed = {endpoint.id: Observed() for endpoint in scene.endpoints}

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        home = self._conversations.home(row, now)
        totals = [self._total(plan, choice, now) for choice in choices]
        open_to_new = self.scene.shares.under(choices, RESERVE)
        return [
            (choice.endpoint.id != home, choice not in open_to_new, turn)
            for choice, turn in zip(choices, self._drawn_in_turn(totals), strict=True)
        ]

    def ended(self, tried: TrackedAttempt, book: Book, heard: Observation, now: float) -> None:
        usage, good = heard.usage, book.failure is None and not book.cancelled
        for observed in (self._observed[tried.state.endpoint.id], self._peer):
            if usage.prompt:
                observed.billed(usage, tried.state.price, now)
            if not book.cancelled:
                observed.ended(book.failure, now)
            if good and heard.ttft is not None and heard.speed:
                observed.timed(heard.ttft, heard.speed, usage.completion, now)
        if good:
            self._conversations.answered(tried, usage, now)

    def _total(self, plan: Plan, choice: Choice, now: float) -> float:
        """What a good answer really costs there, waiting included, in dollars."""
        seen, peer, demand = self._observed[choice.endpoint.id], self._peer, plan.demand
        usd = demand.prompt_tokens * seen.input_usd(choice.state.price, peer, now) + choice.parts.output_usd
        penalty = ERROR * seen.errors(peer, now) + LIMITED * seen.limited(peer, now)
        ttft = seen.ttft(peer, now)
        whole = ttft + demand.output_tokens * seen.token_s(peer, now)
        return usd * (1 + penalty) + (TTFT_USD * ttft + TIME_USD * whole) / HOUR

    def _drawn_in_turn(self, totals: Sequence[float]) -> list[int]:
        """The turn of each: the first is drawn by share, and every further one by share among those left."""
        left, turns = list(range(len(totals))), [0] * len(totals)
        for turn in range(len(totals)):
            weights = shares([totals[place] for place in left])
            drawn = self.scene.random.choices(left, weights)[0]
            turns[drawn] = turn
            left.remove(drawn)
        return turns


def shares(totals: Sequence[float]) -> list[float]:
    """The share of each: it falls slowly with the distance from the best as far as the edge, and then fast."""
    best = min(totals)
    preferred = [exp(-(((total / best - 1) / EDGE) ** 2)) for total in totals]
    everyone = EXPLORE * len(totals)
    return [(1 - everyone) * one / sum(preferred) + EXPLORE for one in preferred]
