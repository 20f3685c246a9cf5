"""The rules of other routers, one class each. A rule gives every endpoint a key; the lowest is tried first.

    request, choices ──keys──> order of tries         a retry takes the next one, so random draws cover retries too
    sent, ended ─────────────> what the rule learns

For a weighted draw, the key is an exponential variate with the weight as its rate: in the order of these keys, each is
drawn by its weight among the remaining ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from gateway.route.plan import Choice, Plan
from gateway.route.signals import Book
from gateway.route.tracked_attempt import Observation, TrackedAttempt
from gateway.sim.behaviour import Behaviour
from gateway.sim.blocks import BLOCK
from gateway.sim.shares import Shares
from gateway.sim.workload import TraceRow
from gateway.types import Endpoint

MILLION = 1e6
RESERVE = 0.9  # part of the cap that is open to new prefixes in `sticky-cost`, so that returning ones keep their host
STICK = 2 * BLOCK  # tokens; a shorter match is a shared system prompt, not a conversation


@dataclass(frozen=True, slots=True)
class Scene:
    """The inputs of a rule. Only the sticky ones use `behaviour`: no host discloses the content of its cache."""

    endpoints: Sequence[Endpoint]
    rows: Sequence[TraceRow]
    behaviour: Behaviour
    shares: Shares
    random: Random


class RouterRule:
    """Another router's choice."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        """One key for each choice, in their order; the keys must be comparable."""
        raise NotImplementedError

    def sent(self, tried: TrackedAttempt, row: TraceRow, now: float) -> None:
        """An attempt was sent."""

    def ended(self, tried: TrackedAttempt, book: Book, observation: Observation, now: float) -> None:
        """An attempt ended."""

    def drawn(self, weights: Sequence[float]) -> list[float]:
        """Keys for a draw with these weights."""
        return [self.scene.random.expovariate(weight) for weight in weights]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class InverseSquare(RouterRule):
    """Weighted by the inverse square of the list price."""

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        cheapest = min(choice.parts.usd for choice in choices)
        return self.drawn([(cheapest / choice.parts.usd) ** 2 if choice.parts.usd else 1.0 for choice in choices])


class Cheapest(RouterRule):
    """The lowest list price of the request."""

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        return [choice.parts.usd for choice in choices]


class LeastInFlight(RouterRule):
    """The fewest requests in flight; the price breaks ties."""

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        return [(choice.state.in_flight, choice.parts.usd) for choice in choices]


class Sticky(InverseSquare):
    """The endpoint that caches most of the prompt, as if every host disclosed it; a new prompt is drawn."""

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        cached = [self.scene.behaviour.cached(choice.endpoint.id, row, now) for choice in choices]
        drawn = super().keys(plan, row, choices, now)
        if max(cached) < STICK:
            return drawn
        return [(-held, draw) for held, draw in zip(cached, drawn, strict=True)]


class StickyCost(RouterRule):
    """As `Sticky`, by the cost of the request there, including its expected re-reads."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._input = self._cached = 0.0  # input tokens, and the cached ones among them

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        rereads = self._cached / max(1.0, self._input - self._cached) * row.input_tokens
        open_to_new = self.scene.shares.under(choices, RESERVE)
        keys = []
        for choice in choices:
            hit = self.scene.behaviour.cached(choice.endpoint.id, row, now)
            price = choice.state.price
            saved = price.input if price.cached_input is None else price.cached_input
            now_and_later = (row.input_tokens - hit) * price.input + (hit + rereads) * saved
            fits = hit >= STICK or choice in open_to_new
            keys.append((not fits, now_and_later / MILLION + choice.parts.output_usd))
        return keys

    def sent(self, tried: TrackedAttempt, row: TraceRow, now: float) -> None:
        self._input += row.input_tokens
        self._cached += self.scene.behaviour.cached(tried.state.endpoint.id, row, now)
