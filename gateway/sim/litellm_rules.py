"""LiteLLM's routing strategies as of 1.110, with their defaults. They learn only from complete answers.

simple-shuffle          any deployment, where neither weights nor limits are configured: the default
least-busy              the fewest requests in flight, the first configured among equals
cost-based-routing      the lowest sum of input and output list price
latency-based-routing   the lowest mean of the last ten times to first token; new ones first, in random order
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from gateway.route.plan import Choice, Plan
from gateway.route.signals import Book
from gateway.route.tracked_attempt import Observation, TrackedAttempt
from gateway.sim.router_rules import RouterRule, Scene
from gateway.sim.workload import TraceRow

KEPT = 10  # samples of a deployment
TTL = 3_600.0  # seconds after its first sample until all measurements are dropped at once
TIMED_OUT = 1_000.0  # seconds recorded for a timeout


class Shuffle(RouterRule):
    """LiteLLM's `simple-shuffle`."""

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        return self.drawn([1.0] * len(choices))


class LeastBusy(RouterRule):
    """LiteLLM's `least-busy`."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._places = {endpoint.id: place for place, endpoint in enumerate(scene.endpoints)}

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        return [(choice.state.in_flight, self._places[choice.endpoint.id]) for choice in choices]


class LowestCost(RouterRule):
    """LiteLLM's `cost-based-routing`."""

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        return [choice.state.price.input + choice.state.price.output for choice in choices]


class LowestLatency(RouterRule):
    """LiteLLM's `latency-based-routing` of streamed requests, with its buffer of 0.

    Timeouts are recorded among the times of whole answers, which count only without a time to first token.
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._since = 0.0
        self._ttfts: dict[str, deque[float]] = {}
        self._timed_out: set[str] = set()

    def keys(self, plan: Plan, row: TraceRow, choices: Sequence[Choice], now: float) -> Sequence[Any]:
        self._forget(now)
        return [(self._latency(choice.endpoint.id), self.scene.random.random()) for choice in choices]

    def ended(self, tried: TrackedAttempt, book: Book, observation: Observation, now: float) -> None:
        self._forget(now)
        endpoint = tried.state.endpoint.id
        if book.failure is not None:
            if book.failure.fault.missed_deadline:
                self._timed_out.add(endpoint)
        elif observation.ttft is not None and not book.cancelled:
            self._ttfts.setdefault(endpoint, deque(maxlen=KEPT)).append(observation.ttft)

    def _latency(self, endpoint: str) -> float:
        ttfts = self._ttfts.get(endpoint)
        if ttfts:
            return sum(ttfts) / len(ttfts)
        return TIMED_OUT if endpoint in self._timed_out else 0.0

    def _forget(self, now: float) -> None:
        if not self._ttfts and not self._timed_out:
            self._since = now
        elif now - self._since >= TTL:
            self._since, self._ttfts, self._timed_out = now, {}, set()
