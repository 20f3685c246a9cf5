"""What other routers do, replayed beside the policies.

A baseline has the gateway's filters, breakers and failover, so that what differs is the choice alone. Where a cap is
given, an endpoint that took more than its share of all tokens so far is tried last.

    random            any endpoint
    1/price^2         drawn by the square of the list price: OpenRouter's default
    cheapest          the lowest list price of this request
    openrouter        as 1/price^2; once a cache hit was seen, the conversation stays for 10 idle minutes
    sticky            where most of the prompt is cached, as if every host told; else as 1/price^2
    sticky-cost       as `sticky`, by what the request costs there, and its usual re-reads
    least-in-flight   the fewest requests in flight
    litellm-latency   the lowest mean TTFT of the last ten; newcomers first
    litellm-cost      the lowest sum of input and output price
"""

from collections import deque
from collections.abc import Callable
from random import Random

import msgspec

from gateway.route.fleet import TIMEOUTS, Try
from gateway.route.learn import Heard
from gateway.route.plan import Choice, Plan
from gateway.route.signals import Book
from gateway.route.toll import SLACK_TOKENS
from gateway.sim.behaviour import Behaviour
from gateway.sim.blocks import BLOCK
from gateway.sim.router import Router
from gateway.sim.workload import TraceRow
from gateway.types import Endpoint, Pick, Policy, Request, Score

RESERVE = 0.9  # part of the cap that is open to new prefixes in `sticky-cost`, so that returning ones keep their host
STICK = 2 * BLOCK  # tokens; a shorter match is a shared system prompt, not a conversation
IDLE = 600.0  # seconds until OpenRouter forgets where a conversation was
SAMPLES = 10  # latencies that LiteLLM keeps of an endpoint
TIMED_OUT = 1000.0  # seconds that LiteLLM notes for a timeout
MILLION = 1e6

LIST_PRICE = Policy(
    name="baseline",
    score=Score(price="list", value_of_time=0.0, failure_cost=0.0),
    pick=Pick(how="best", explore=0.0),
    affinity="none",
)
_Rule = Callable[["Baseline", TraceRow, list[Choice], float], Choice]


class Baseline(Router):
    """A rule in place of the gateway's ranking. `cap` is the largest share of all tokens for one endpoint."""

    def __init__(self, name: str, endpoints: list[Endpoint], seed: int, behaviour: Behaviour, cap: float) -> None:
        super().__init__(name, LIST_PRICE, endpoints, seed)
        self.random = Random(seed)
        self.behaviour = behaviour
        self.load = {one.id: 0 for one in endpoints}  # tokens
        self.asked = self.hit = 0.0  # input tokens, and those of them that were cached
        self.conversations: dict[tuple[int, ...], tuple[str, float]] = {}  # as many as the trace has
        self.waits: dict[str, deque[float]] = {one.id: deque(maxlen=SAMPLES) for one in endpoints}
        self._rule = RULES[name]
        self._cap = cap

    def plan(self, request: Request, row: TraceRow, now: float, hour: int) -> Plan:
        plan = super().plan(request, row, now, hour)
        top = [choice for choice in plan.ranked if choice.tier is plan.ranked[0].tier]
        free = self.under_cap(top) or top
        if not free:
            return plan
        first = self._rule(self, row, free, now)
        others = [choice for choice in free if choice is not first]
        behind = [choice for choice in plan.ranked if choice not in free]
        return msgspec.structs.replace(plan, ranked=(first, *others, *behind), picked=self.name)

    def under_cap(self, choices: list[Choice], part: float = 1.0) -> list[Choice]:
        """Those that took no more than this part of the cap."""
        if self._cap >= 1:
            return choices
        limit = sum(self.load.values()) * part * self._cap + SLACK_TOKENS
        return [choice for choice in choices if self.load[choice.endpoint.id] <= limit]

    def sent(self, tried: Try, row: TraceRow, now: float) -> None:
        super().sent(tried, row, now)
        name = tried.state.endpoint.id
        self.load[name] += row.input_tokens + row.output_tokens
        self.asked += row.input_tokens
        self.hit += self.behaviour.cached(name, row, now)

    def ended(self, tried: Try, book: Book, heard: Heard, now: float) -> None:
        super().ended(tried, book, heard, now)
        endpoint = tried.state.endpoint.id
        if book.failure is not None:
            if book.failure.fault in TIMEOUTS:
                self.waits[endpoint].append(TIMED_OUT)
        elif heard.ttft is not None and not book.cancelled:
            self.waits[endpoint].append(heard.ttft)
            self._stay(tried, heard.usage.cached > 0, now)

    def _stay(self, tried: Try, hit: bool, now: float) -> None:
        """Notes where a conversation was answered, once it had a cache hit there that is worth something."""
        endpoint, price, conversation = tried.state.endpoint.id, tried.state.price, _conversation(tried.request)
        known, _ = self.conversations.get(conversation, ("", 0.0))
        cheaper = price.cached_input is not None and price.cached_input < price.input
        if known == endpoint or (hit and cheaper):
            self.conversations[conversation] = endpoint, now


def _conversation(request: Request) -> tuple[int, ...]:
    """What tells conversations apart: the system prompt and the first message."""
    return tuple(name for name, _ in request.prefix[:2])


def _any(router: Baseline, row: TraceRow, free: list[Choice], now: float) -> Choice:
    return router.random.choice(free)


def _inverse_square(router: Baseline, row: TraceRow, free: list[Choice], now: float) -> Choice:
    return router.random.choices(free, [choice.parts.usd**-2 for choice in free])[0]


def _cheapest(router: Baseline, row: TraceRow, free: list[Choice], now: float) -> Choice:
    return min(free, key=lambda choice: choice.parts.usd)


def _openrouter(router: Baseline, row: TraceRow, free: list[Choice], now: float) -> Choice:
    stays, since = router.conversations.get(row.prefix_hashes[:2], ("", 0.0))
    if now - since < IDLE:
        for choice in free:
            if choice.endpoint.id == stays:
                return choice
    return _inverse_square(router, row, free, now)


def _sticky(router: Baseline, row: TraceRow, free: list[Choice], now: float) -> Choice:
    cached = [router.behaviour.cached(choice.endpoint.id, row, now) for choice in free]
    return free[cached.index(max(cached))] if max(cached) >= STICK else _inverse_square(router, row, free, now)


def _sticky_cost(router: Baseline, row: TraceRow, free: list[Choice], now: float) -> Choice:
    rereads = router.hit / max(1.0, router.asked - router.hit) * row.input_tokens
    cached = {choice.endpoint.id: router.behaviour.cached(choice.endpoint.id, row, now) for choice in free}
    open_to_new = router.under_cap(free, RESERVE)
    fit = [choice for choice in free if cached[choice.endpoint.id] >= STICK or choice in open_to_new]

    def dollars(choice: Choice) -> float:
        price = choice.state.price
        saved = price.input if price.cached_input is None else price.cached_input
        hit = cached[choice.endpoint.id]
        now_and_later = (row.input_tokens - hit) * price.input + (hit + rereads) * saved
        return now_and_later / MILLION + choice.parts.output_usd

    return min(fit or free, key=dollars)


def _least_in_flight(router: Baseline, row: TraceRow, free: list[Choice], now: float) -> Choice:
    least = min(choice.state.in_flight for choice in free)
    return router.random.choice([choice for choice in free if choice.state.in_flight == least])


def _lowest_latency(router: Baseline, row: TraceRow, free: list[Choice], now: float) -> Choice:
    means = [_mean(router.waits[choice.endpoint.id]) for choice in free]
    least = min(means)
    return router.random.choice([choice for choice, mean in zip(free, means, strict=True) if mean == least])


def _lowest_cost(router: Baseline, row: TraceRow, free: list[Choice], now: float) -> Choice:
    return min(free, key=lambda choice: choice.state.price.input + choice.state.price.output)


def _mean(waits: deque[float]) -> float:
    return sum(waits) / len(waits) if waits else 0.0


RULES: dict[str, _Rule] = {
    "random": _any,
    "1/price^2": _inverse_square,
    "cheapest": _cheapest,
    "openrouter": _openrouter,
    "sticky": _sticky,
    "sticky-cost": _sticky_cost,
    "least-in-flight": _least_in_flight,
    "litellm-latency": _lowest_latency,
    "litellm-cost": _lowest_cost,
}
