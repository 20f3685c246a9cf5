"""The prices and figures of endpoints under one policy, recomputed whenever a figure changes.

    EndpointState, Policy ──terms──> Terms of one endpoint
    Terms of several ──Offers──> Lines over the tokens of a prompt, until a load changes
    Offers, tiers ──> Field: the candidates of many requests

Most requests are far below every preferred limit on latency. `Offers.reach` and `slowness` say so for all at once.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from gateway.route.endpoint_state import Changes, EndpointState, Load
from gateway.route.filters import Reason, Tier
from gateway.route.latency import Preference, preferences
from gateway.route.waits import BASE, PREFILL, SIZES
from gateway.types import Endpoint, Policy, Price

MILLION = 1e6
HOUR = 3600.0
_CLASSES = range(len(SIZES) + 1)
MOST_LINES = 32  # size classes and outputs that lines are kept for; clients that limit answers differ in that
# What an endpoint costs in dollars: fixed; for each token of the prompt if no cache has any of it; for each token that
# is read again. A plain tuple, because every decision unpacks it.
Line = tuple[float, float, float]
Risk = tuple[float, float]  # probability of a failure; that times the dollars of the time to write the answer
Prices = tuple[float, float, float]  # of 1M tokens: input, what is saved on input that was sent before, output


class Terms(NamedTuple):
    """What one endpoint offers under one policy, as last computed. Dollars, seconds, shares."""

    price: Price
    p_in: float  # of 1M tokens, like the next two; where the price has tiers or hours, at no request's
    p_saved: float  # what is saved on input that was sent before
    p_out: float
    hit_rate: float  # 0 where there is no cache
    ttft: tuple[float, ...]  # mean ratios by size class
    token_s: float  # seconds per output token
    fails: float
    quality_usd: float  # what its bad tool calls cost; 0 for requests without tools
    preferences: tuple[Preference, ...]  # limits on latency under `prefer` and `slo`


class Lines(msgspec.Struct, frozen=True, gc=False):
    """What several endpoints cost at one size class, expected output and load: all but the prompt.

    `revision` is that of the loads, see `Changes`. `crowded` and `slowed` are the highest of them.
    """

    revision: int
    loads: list[Load]
    lines: list[Line]
    risks: list[Risk]
    crowded: float
    slowed: float


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One endpoint that may serve the request, its place, and what keeps it behind the others, if anything."""

    state: EndpointState
    endpoint: Endpoint
    terms: Terms
    rank: float  # the lower, the sooner, whatever the score; equal where the policy leaves it to the score
    tier: Tier
    why: Reason | None


class Offers:
    """What these endpoints offer, in their order.

    `reach` is, for each size class, the largest quotient of a time to first token and its preferred limit, for each
    second of pace; `slowness` that of a preferred speed and the endpoint's own. Where both stay under 1, also with the
    load of the moment, no preferred limit is missed.
    """

    __slots__ = (
        "_lines",
        "_priced",
        "_thresholds",
        "changes",
        "places",
        "policy",
        "reach",
        "slowness",
        "states",
        "terms",
    )

    def __init__(self, states: list[EndpointState], offered: list[Terms], policy: Policy, changes: Changes) -> None:
        """`changes` are those of the endpoints' fleet."""
        self.changes = changes
        self.policy = policy
        self.states = states
        self.terms = offered
        self.places = {one.endpoint.id: place for place, one in enumerate(states)}
        self._lines: dict[tuple[int, float], Lines] = {}  # by size class and tokens of output
        self._thresholds = sorted({tier.over_prompt_tokens for one in offered for tier in one.price.tiers})
        varies = any(one.price.tiers or one.price.hours for one in offered)
        self._priced: dict[tuple[int, int], Offers] | None = {} if varies else None  # by hour and price tier
        limits = [limit for one in offered for limit in one.preferences]
        self.reach = tuple([max([one.reach(size) for one in limits], default=0.0) for size in _CLASSES])
        self.slowness = max([one.slowness for one in limits], default=0.0)

    def priced(self, prompt_tokens: int, hour: int) -> "Offers":
        """With the prices for this prompt at this hour."""
        if self._priced is None:
            return self
        key = hour, bisect_left(self._thresholds, prompt_tokens)
        found = self._priced.get(key)
        if found is None:
            found = self._priced[key] = self._with_prices(prompt_tokens, hour)
        return found

    def _with_prices(self, prompt_tokens: int, hour: int) -> "Offers":
        every = [_priced(one, self.policy, prompt_tokens, hour) for one in self.terms]
        return Offers(self.states, every, self.policy, self.changes)

    def lines(self, size: int, output: float) -> Lines:
        """The lines for prompts of this size class and `output` expected tokens, at the load of this moment."""
        key = size, output
        known = self._lines.get(key)
        if known is None or known.revision != self.changes.loads:
            if known is None and len(self._lines) >= MOST_LINES:
                del self._lines[next(iter(self._lines))]  # the oldest
            known = self._lines[key] = self._lines_of(size, output)
        return known

    def _lines_of(self, size: int, output: float) -> Lines:
        per_second, loads = self.policy.score.value_of_time / HOUR, [state.load for state in self.states]
        every = list(zip(self.terms, loads, strict=True))
        return Lines(
            self.changes.loads,
            loads,
            [line(one, load, size, output, per_second) for one, load in every],
            [(one.fails, one.fails * per_second * one.token_s * load.slowed * output) for one, load in every],
            max([load.crowded for load in loads], default=1.0),
            max([load.slowed for load in loads], default=1.0),
        )

    def __repr__(self) -> str:
        return f"<Offers of {list(self.places)}>"


class Field:
    """The candidates of many requests, in the order of their ids; `best` and `worst` are the tiers that occur, and
    `any_busy` says whether the worst is `BUSY` or behind it."""

    __slots__ = ("any_busy", "best", "candidates", "offers", "worst")

    def __init__(self, candidates: Sequence[Candidate], offers: Offers) -> None:
        tiers = [one.tier for one in candidates]
        self.candidates = candidates
        self.offers = offers
        self.best, self.worst = min(tiers, default=Tier.GOOD), max(tiers, default=Tier.GOOD)
        self.any_busy = self.worst >= Tier.BUSY

    def in_tiers(self, candidates: Sequence[Candidate]) -> "Field":
        """The same candidates, some of them in other tiers."""
        return Field(candidates, self.offers)

    def only(self, candidates: Sequence[Candidate]) -> "Field":
        """Some of the candidates, without the others."""
        return field_of(candidates, self.offers.policy, self.offers.changes)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __len__(self) -> int:
        return len(self.candidates)

    def __repr__(self) -> str:
        return f"<Field {list(self.offers.places)}>"


def field_of(candidates: Sequence[Candidate], policy: Policy, changes: Changes) -> Field:
    """These candidates, with what they offer."""
    states, offered = [one.state for one in candidates], [one.terms for one in candidates]
    return Field(candidates, Offers(states, offered, policy, changes))


def terms(state: EndpointState, policy: Policy, tools: bool) -> Terms:
    """What the endpoint offers to requests under this policy, with or without tools."""
    hit_rate = state.hit_rate if state.ttl else 0.0
    p_in, p_saved, p_out = rates_of(state.price, policy, hit_rate, 0, 0)
    return Terms(
        price=state.price,
        p_in=p_in,
        p_saved=p_saved,
        p_out=p_out,
        hit_rate=hit_rate,
        ttft=state.waits.mean,
        token_s=state.speeds.token_s,
        fails=state.fails,
        quality_usd=(1 - state.tools_ok) * policy.score.quality_cost if tools else 0.0,
        preferences=preferences(state, policy.prefer + policy.slo),
    )


def rates_of(price: Price, policy: Policy, hit_rate: float, prompt_tokens: int, hour: int) -> Prices:
    """The prices that count under this policy, for so long a prompt at this hour."""
    p_in, p_cached, p_out = price.rates(prompt_tokens, hour)
    return p_in, 0.0 if policy.score.price == "list" else hit_rate * (p_in - p_cached), p_out


def _priced(one: Terms, policy: Policy, prompt_tokens: int, hour: int) -> Terms:
    """With the prices for this prompt at this hour."""
    if not one.price.tiers and not one.price.hours:
        return one
    p_in, p_saved, p_out = rates_of(one.price, policy, one.hit_rate, prompt_tokens, hour)
    return one._replace(p_in=p_in, p_saved=p_saved, p_out=p_out)


def line(one: Terms, load: Load, size: int, output: float, per_second: float) -> Line:
    """An endpoint's line at this load, where no cache has any of the prompt."""
    slope = per_second * one.ttft[size] * load.crowded
    written = output * (one.p_out / MILLION + per_second * one.token_s * load.slowed)
    return (
        one.quality_usd + slope * BASE + written,
        one.p_in / MILLION + slope / PREFILL,
        (one.p_in - one.p_saved) / MILLION,
    )
