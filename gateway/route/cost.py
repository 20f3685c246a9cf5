"""What one request is expected to cost at one endpoint, in dollars and in seconds.

    usd     = input x [(1-h) p_in + h p_cached] + E[output] x p_out
    seconds = TTFT + output x seconds per token                                 both means, at the load of this moment
    base    = usd + value_of_time x seconds
    reread  = re-reads x input x [(1-c) p_in + c p_cached]
    miss    = miss_cost x seconds over preferred limits on latency
    plain   = base + quality + reread + toll + miss                             if all goes well
    score   = plain + q (failure_cost + next best's base - value_of_time x [seconds - TTFT])

`h` is the share of the prompt that the endpoint probably holds in its cache: what it was sent before, times its hit
rate `c` (`prompt_cache.py`). `q` is the probability that the attempt fails; the next best is the other endpoint with
the lowest `plain`. Prices are USD per 1M tokens.

`reread` is what the next turns will probably pay to read this prompt where it is placed: so a prompt that is new to all
goes where it will be cheap to return to, and one that has a home leaves it only for more than the way back costs.
`miss` is the price of a missed preference, judged at what this prompt is expected to meet there (`latency.py`).
`toll` is the extra price of an endpoint that is above its share of a policy's cap (`toll.py`).

    EndpointState, Policy ──terms──> Terms                whenever a figure changes
    Terms of all, Demand  ──Costs──> plain, scores        in every decision: a few numbers for each endpoint
    Costs ──parts──> Parts                                of the chosen endpoint, and of others when they are needed
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from math import inf
from typing import NamedTuple

import msgspec

from gateway.route.endpoint_state import UNLOADED, EndpointState, Load
from gateway.route.filters import Reason, Tier
from gateway.route.latency import Preference, preferences, seconds_over
from gateway.route.toll import Toll
from gateway.route.waits import BASE, PREFILL, SIZES
from gateway.types import Endpoint, Policy, Price

MILLION = 1e6
HOUR = 3600.0
_SURELY = 1 - 1e-9  # a figure under this share of a limit keeps to it, however it is rounded
_CLASSES = range(len(SIZES) + 1)
_NO_TOLLS: Mapping[str, float] = {}
# What an endpoint costs at one size class and load, in dollars: fixed; for each token of the prompt if no cache has any
# of it, for each token that is read again, for each of the output. A plain tuple, because every decision unpacks it.
Line = tuple[float, float, float, float]
Risk = tuple[float, float]  # probability of a failure; that times the dollars of time for each token of output


class Demand(NamedTuple):
    """What a request needs of any endpoint: tokens in, usual and longest tokens out, the hour (UTC), tools or not.

    `known` is how much of the prompt some endpoint has in its cache, None where nobody looked; `rereads` how often the
    prompt will probably be read again, 0 where that does not matter; `toll` is where its policy books its shares.
    """

    prompt_tokens: int
    output_tokens: float
    longest_output: float
    hour: int
    tools: bool
    known: int | None = None
    rereads: float = 0.0
    toll: Toll | None = None

    @property
    def tokens(self) -> float:
        """In and out."""
        return self.prompt_tokens + self.output_tokens


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


class Candidate(NamedTuple):
    """One endpoint that may serve the request, its place, and what keeps it behind the others, if anything."""

    state: EndpointState
    endpoint: Endpoint
    terms: Terms
    rank: float  # the lower, the sooner, whatever the score; equal where the policy leaves it to the score
    tier: Tier
    why: Reason | None


class Parts(msgspec.Struct, frozen=True, gc=False):
    """One endpoint's expectation, before looking at the others. Dollars, seconds, shares."""

    plain: float
    fails: float  # q
    seconds: float  # to the last token, if it goes well
    ttft: float
    input_usd: float
    output_usd: float
    matched_tokens: int  # tokens that the endpoint was sent before, within its cache's TTL
    hit: float  # h: expected cached share of the prompt
    uncached: float  # tokens that it has to read afresh
    size: int  # their size class
    pace: float  # seconds to the first token that a ratio of 1 stands for, at the load of this moment
    quality_usd: float
    reread_usd: float
    miss_usd: float
    toll_usd: float

    @property
    def usd(self) -> float:
        return self.input_usd + self.output_usd

    @property
    def time_usd(self) -> float:
        """What its time costs, missed preferences included."""
        return self.plain - self.usd - self.quality_usd - self.reread_usd - self.toll_usd


def terms(state: EndpointState, policy: Policy, tools: bool) -> Terms:
    """What the endpoint offers to requests under this policy, with or without tools."""
    hit_rate = state.hit_rate if state.ttl else 0.0
    p_in, p_saved, p_out = _rates(state.price, policy, hit_rate, 0, 0)
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


def _rates(price: Price, policy: Policy, hit_rate: float, prompt_tokens: int, hour: int) -> tuple[float, float, float]:
    p_in, p_cached, p_out = price.rates(prompt_tokens, hour)
    return p_in, 0.0 if policy.score.price == "list" else hit_rate * (p_in - p_cached), p_out


class Field:
    """The candidates of many requests under one policy, in the order of their ids, and what `Costs` needs of them all.

    `reach` is, for each size class, the largest quotient of a time to first token and its preferred limit, for each
    second of pace; `slowness` that of a preferred speed and the endpoint's own. Where both stay under 1, also with the
    load of the moment, no preferred limit is missed. `best` and `worst` are the tiers that occur.
    """

    __slots__ = (
        "_lines",
        "_priced",
        "_thresholds",
        "best",
        "candidates",
        "places",
        "policy",
        "reach",
        "slowness",
        "states",
        "worst",
    )

    def __init__(self, candidates: Sequence[Candidate], policy: Policy) -> None:
        every = [one.terms for one in candidates]
        self.policy = policy
        self._put(candidates)
        self._lines: dict[int, tuple[list[Load], list[Line], list[Risk]]] = {}
        self._thresholds = sorted({tier.over_prompt_tokens for one in every for tier in one.price.tiers})
        varies = any(one.price.tiers or one.price.hours for one in every)
        self._priced: dict[tuple[int, int], Field] | None = {} if varies else None
        self.states = [one.state for one in candidates]
        self.places = {one.endpoint.id: place for place, one in enumerate(candidates)}
        limits = [limit for one in every for limit in one.preferences]
        self.reach = tuple([max([one.reach(size) for one in limits], default=0.0) for size in _CLASSES])
        self.slowness = max([one.slowness for one in limits], default=0.0)

    def _put(self, candidates: Sequence[Candidate]) -> None:
        tiers = [one.tier for one in candidates]
        self.candidates = candidates
        self.best, self.worst = min(tiers, default=Tier.GOOD), max(tiers, default=Tier.GOOD)

    def in_tiers(self, candidates: Sequence[Candidate]) -> "Field":
        """The same candidates, some of them in other tiers."""
        made = copy(self)
        made._put(candidates)
        if made._priced:
            made._priced = {}
        return made

    def priced(self, prompt_tokens: int, hour: int) -> "Field":
        """With the prices for this prompt at this hour."""
        if self._priced is None:
            return self
        key = hour, bisect_left(self._thresholds, prompt_tokens)
        found = self._priced.get(key)
        if found is None:
            every = [
                one._replace(terms=_priced(one.terms, self.policy, prompt_tokens, hour)) for one in self.candidates
            ]
            found = self._priced[key] = Field(every, self.policy)
        return found

    def lines(self, size: int, loads: list[Load]) -> tuple[list[Line], list[Risk]]:
        """Each one's line at this size class and load, and its risk. They are computed when a load has changed."""
        known = self._lines.get(size)
        if known is None or known[0] != loads:
            per_second = self.policy.score.value_of_time / HOUR
            every = list(zip([one.terms for one in self.candidates], loads, strict=True))
            lines = [_line(one, load, size, per_second) for one, load in every]
            risks = [(one.fails, one.fails * per_second * one.token_s * load.slowed) for one, load in every]
            known = self._lines[size] = loads, lines, risks
        return known[1], known[2]

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __len__(self) -> int:
        return len(self.candidates)

    def __repr__(self) -> str:
        return f"<Field {list(self.places)}>"


class Costs:
    """What one request is expected to cost at each of these candidates: `scores` in dollars, in their order.

    `matches` has the tokens of the prompt that an endpoint was sent before, by id, of those where that is any.
    """

    __slots__ = ("_loads", "_matches", "_tolls", "demand", "field", "scores")

    def __init__(self, field: Field, demand: Demand, matches: Mapping[str, int]) -> None:
        self.demand = demand
        self.field = field.priced(demand.prompt_tokens, demand.hour)
        self._matches = matches
        self._tolls = _NO_TOLLS if demand.toll is None else demand.toll.rates
        self._loads = [state.load for state in field.states]
        self.scores = self._scores() if field.candidates else []

    def parts(self, place: int) -> Parts:
        """All that is expected of the candidate at this place."""
        one = self.field.candidates[place]
        matched, toll = self._matches.get(one.endpoint.id, 0), self._tolls.get(one.endpoint.id, 0.0)
        return parts(one.terms, self._loads[place], self.demand, self.field.policy, matched, toll)

    def _scores(self) -> list[float]:
        demand, field = self.demand, self.field
        prompt, output = demand.prompt_tokens, demand.output_tokens
        size, pace, again = bisect_left(SIZES, prompt), BASE + prompt / PREFILL, demand.rereads * prompt
        lines, risks = field.lines(size, self._loads)
        usual = [
            fixed + prompt * per_prompt + again * per_reread + output * per_output
            for fixed, per_prompt, per_reread, per_output in lines
        ]
        readings = self._use_caches(usual, lines, again) if self._matches and prompt else {}
        plain = usual
        for name, rate in self._tolls.items():
            place = field.places.get(name)
            if place is not None:
                plain = plain.copy() if plain is usual else plain
                plain[place] += rate * demand.tokens
        if self._may_miss(size, pace) or any(self._may_miss(*one) for one in readings.values()):
            plain = self._with_misses(plain, readings, (size, pace))

        def base(place: int) -> float:
            return usual[place] - field.candidates[place].terms.quality_usd - again * lines[place][2]

        return scores(plain, risks, output, base, field.policy.score.failure_cost)

    def _use_caches(self, usual: list[float], lines: list[Line], again: float) -> dict[int, tuple[int, float]]:
        """Corrects what is usual where a cache has some of the prompt. Returns the (size class, pace without load) of
        what is left to read, by place."""
        field, prompt, output = self.field, self.demand.prompt_tokens, self.demand.output_tokens
        per_second, readings = field.policy.score.value_of_time / HOUR, {}
        for name, matched in self._matches.items():
            place = field.places.get(name)
            if place is None:
                continue
            one, crowded = field.candidates[place].terms, self._loads[place].crowded
            share = min(1.0, matched / prompt)
            fresh = prompt * (1 - share * one.hit_rate)
            size = bisect_left(SIZES, fresh)
            slope = per_second * one.ttft[size] * crowded
            fixed = one.quality_usd + slope * BASE
            _, _, per_reread, per_output = lines[place]
            paid = fixed + prompt * (one.p_in / MILLION) + again * per_reread + output * per_output
            usual[place] = paid + (slope * fresh / PREFILL - prompt * share * one.p_saved / MILLION)
            readings[place] = size, BASE + fresh / PREFILL
        return readings

    def _may_miss(self, size: int, pace: float) -> bool:
        """Whether any misses a preferred limit on latency, perhaps, with so much to read."""
        field, loads = self.field, self._loads
        reach, slowness = field.reach[size] * pace, field.slowness
        if (reach or slowness) and loads.count(UNLOADED) != len(loads):
            reach *= max([one.crowded for one in loads])
            slowness *= max([one.slowed for one in loads])
        return reach >= _SURELY or slowness >= _SURELY

    def _with_misses(
        self, plain: list[float], readings: dict[int, tuple[int, float]], usual: tuple[int, float]
    ) -> list[float]:
        per_second, output = self.field.policy.score.usd_per_second_missed, self.demand.output_tokens
        found = []
        for place, (one, (crowded, slowed)) in enumerate(zip(self.field.candidates, self._loads, strict=True)):
            size, pace = readings.get(place, usual)
            over = seconds_over(one.terms.preferences, size, pace * crowded, slowed, output)
            found.append(plain[place] + per_second * over)
        return found

    def __eq__(self, other: object) -> bool:
        """Plans are values, so what is in them is, too."""
        mine = self.field.candidates, self.demand, self.scores
        return isinstance(other, Costs) and mine == (other.field.candidates, other.demand, other.scores)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Costs {self.scores}>"


def _priced(one: Terms, policy: Policy, prompt_tokens: int, hour: int) -> Terms:
    """With the prices for this prompt at this hour."""
    if not one.price.tiers and not one.price.hours:
        return one
    p_in, p_saved, p_out = _rates(one.price, policy, one.hit_rate, prompt_tokens, hour)
    return one._replace(p_in=p_in, p_saved=p_saved, p_out=p_out)


def _line(one: Terms, load: Load, size: int, per_second: float) -> Line:
    slope = per_second * one.ttft[size] * load.crowded
    return (
        one.quality_usd + slope * BASE,
        one.p_in / MILLION + slope / PREFILL,
        (one.p_in - one.p_saved) / MILLION,
        one.p_out / MILLION + per_second * one.token_s * load.slowed,
    )


def parts(offered: Terms, load: Load, demand: Demand, policy: Policy, matched: int = 0, toll: float = 0.0) -> Parts:
    """What is expected of one endpoint: at this load, with so many tokens of the prompt sent to it before, and a toll
    of so many USD per token."""
    prompt, output, weights, (crowded, slowed) = demand.prompt_tokens, demand.output_tokens, policy.score, load
    price, p_in, p_saved, p_out, hit_rate, ratios, token_s, fails, quality, preferred = offered
    if price.tiers or price.hours:
        p_in, p_saved, p_out = _rates(price, policy, hit_rate, prompt, demand.hour)
    share = min(1.0, matched / prompt) if matched and prompt else 0.0
    hit = share * hit_rate
    fresh = prompt * (1 - hit)
    size = bisect_left(SIZES, fresh)
    pace = (BASE + fresh / PREFILL) * crowded
    usd_in = prompt * (p_in - share * p_saved) / MILLION
    usd_out = output * p_out / MILLION
    ttft = ratios[size] * pace
    seconds = ttft + output * token_s * slowed
    later = demand.rereads * prompt * (p_in - p_saved) / MILLION
    missed = seconds_over(preferred, size, pace, slowed, output) if preferred else 0.0
    missed *= weights.usd_per_second_missed
    tolled = toll * (prompt + output)
    plain = usd_in + usd_out + weights.value_of_time / HOUR * seconds + quality + later + tolled + missed
    return Parts(  # in its order: names would cost as much as all of the above
        plain, fails, seconds, ttft, usd_in, usd_out, matched, hit, fresh, size, pace, quality, later, missed, tolled
    )


def scores(
    plain: list[float],
    risks: list[Risk],
    output: float,
    base: Callable[[int], float],
    failure_usd: float,
) -> list[float]:
    """Dollars that each is expected to cost in all, with the best of the others to turn to when it fails.

    `risks` as `Field.lines` has them; `base` gives the dollars and seconds of an endpoint that is turned to.
    """
    best, second = _two_best(plain)
    usually = failure_usd + base(best)
    found = [one + q * usually - output * saved for one, (q, saved) in zip(plain, risks, strict=True)]
    q, saved = risks[best]
    found[best] = plain[best] + q * (failure_usd + base(second)) - output * saved
    return found


def _two_best(plain: list[float]) -> tuple[int, int]:
    """Places of the lowest two, the first ones among equals; twice the same when there is one only."""
    first = plain.index(min(plain))
    if len(plain) == 1:
        return first, first
    others = plain.copy()
    others[first] = inf
    return first, others.index(min(others))
