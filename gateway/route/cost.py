"""What one request is expected to cost at one endpoint, in dollars and in seconds.

    usd     = input x [(1-h) p_in + h p_cached] + E[output] x p_out
    seconds = TTFT + output x seconds per token                                 both means, at the load of this moment
    reread  = re-reads x input x [(1-c) p_in + c p_cached]
    miss    = miss_cost x seconds over preferred limits on latency
    plain   = usd + value_of_time x seconds + quality + reread + miss + toll    if all goes well
    score   = plain + q (failure_cost + next best's usd + value_of_time x [TTFT + next best's seconds - seconds])

`h` is the share of the prompt that the endpoint probably holds in its cache: what it was sent before, times `c`, how
much of that its usage confirms. `q` is the probability that the attempt fails; the next best is the other endpoint with
the lowest `plain`. Prices are USD per 1M tokens.

`reread` is what the next turns will probably pay to read this prompt where it is placed: so a prompt that is new to all
goes where it will be cheap to return to, and one that has a home leaves it only for more than the way back costs.
`miss` is the price of a missed preference, judged at what this prompt is expected to meet there (`latency.py`).
`toll` is what a policy's cap asks of an endpoint that is above its share (`toll.py`).

    EndpointState, Policy --terms--> Terms          whenever a figure changes
    Terms, Demand, matched --expect--> Figures      for every endpoint, in every decision
    all Figures --scores--> dollars                 once in every decision
    Figures --> Parts                               of the endpoint that is asked, and for those who list all

What is made in every decision is a msgspec.Struct, because a dataclass takes four times as long to make; or a tuple,
where all of it is read at once.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple

import msgspec

from gateway.route.endpoint_state import EndpointState
from gateway.route.filters import Reason, Tier
from gateway.route.latency import Preference, preferences, seconds_over
from gateway.route.toll import Toll
from gateway.route.waits import BASE, PREFILL, SIZES
from gateway.types import Endpoint, Policy, Price

MILLION = 1e6
HOUR = 3600.0
MATCHED = 6  # place of `matched_tokens` in `Figures`
_Rates = tuple[float, float, float]  # input, what is saved on input that was sent before, output
# what `Parts` gives names to: in every decision it is made for every endpoint, and read of few
Figures = tuple[float, float, float, float, float, float, int, float, float, int, float, float, float, float, float]


class Demand(NamedTuple):
    """What is asked of any endpoint: tokens in, usual and longest tokens out, the hour (UTC), tools or not.

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
    """What one endpoint offers under one policy, as last figured out. Dollars, seconds, shares."""

    rates: _Rates | None  # None where they depend on the hour or on the prompt's size
    price: Price
    list_price: bool  # whether the policy ignores what caching saves
    hit_rate: float  # 0 where there is no cache
    ttft: tuple[float, ...]  # mean ratios by size class
    token_s: float  # seconds per output token
    fails: float
    bad_tools_usd: float  # what its bad tool calls cost where tools are asked for
    usd_per_second: float
    preferences: tuple[Preference, ...]  # limits on latency under `prefer` and `slo`
    miss_usd_per_second: float


class Candidate(NamedTuple):
    """One endpoint that may serve the request, its place, and what keeps it behind the others, if anything."""

    state: EndpointState
    endpoint: Endpoint
    terms: Terms
    rank: float  # the lower, the sooner, whatever the score; equal where the policy leaves it to the score
    tier: Tier
    why: Reason | None


class Parts(msgspec.Struct, frozen=True, gc=False):
    """One endpoint's expectation, before looking at the others: names for `Figures`. Dollars, seconds, shares."""

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


def terms(state: EndpointState, policy: Policy) -> Terms:
    """Everything about a cost that does not depend on the request."""
    weights, price = policy.score, state.price
    list_price = weights.price == "list"
    hit_rate = state.hit_rate if state.ttl else 0.0
    return Terms(
        rates=None if price.tiers or price.hours else _rates(price, list_price, hit_rate, 0, 0),
        price=price,
        list_price=list_price,
        hit_rate=hit_rate,
        ttft=state.waits.mean,
        token_s=state.speeds.token_s,
        fails=state.fails,
        bad_tools_usd=(1 - state.tools_ok) * weights.quality_cost,
        usd_per_second=weights.value_of_time / HOUR,
        preferences=preferences(state, policy.prefer + policy.slo),
        miss_usd_per_second=weights.usd_per_second_missed,
    )


def expect(
    candidates: Iterable[Candidate], demand: Demand, matches: Mapping[str, int], tolls: Mapping[str, float]
) -> list[Figures]:
    """The parts of each one's score that depend on it alone.

    `matches` says how many tokens of the prompt an endpoint was sent before, `tolls` what it costs to be above a share,
    in USD per token; both by id, of those where it is more than nothing.
    """
    prompt, output, _, hour, tools, _, rereads, _ = demand
    size_of_all, scale_of_all = bisect_left(SIZES, prompt), BASE + prompt / PREFILL
    found = []
    for state, endpoint, offered, _, _, _ in candidates:
        rates, price, listed, hit_rate, ratios, token_s, fails, bad_tools, per_second, preferred, per_missed = offered
        p_in, p_saved, p_out = rates or _rates(price, listed, hit_rate, prompt, hour)
        known = matches.get(endpoint.id, 0) if matches else 0
        if known and prompt:
            share = known / prompt if known < prompt else 1.0
            hit = share * hit_rate
            fresh = prompt * (1 - hit)
            usd_in = prompt * (p_in - share * p_saved) / MILLION
            size = bisect_left(SIZES, fresh)
            pace = (BASE + fresh / PREFILL) * state.crowded
        else:
            hit, fresh, size = 0.0, float(prompt), size_of_all
            usd_in = prompt * p_in / MILLION
            pace = scale_of_all * state.crowded
        usd_out = output * p_out / MILLION
        ttft = ratios[size] * pace
        seconds = ttft + output * token_s * state.slowed
        plain = usd_in + usd_out + per_second * seconds
        quality = later = toll = miss = 0.0
        if tools:
            quality = bad_tools
            plain += quality
        if rereads:
            later = rereads * prompt * (p_in - p_saved) / MILLION
            plain += later
        if tolls:
            toll = tolls.get(endpoint.id, 0.0) * (prompt + output)
            plain += toll
        if preferred:
            miss = per_missed * seconds_over(preferred, size, pace, state.slowed, output)
            plain += miss
        one = plain, fails, seconds, ttft, usd_in, usd_out, known, hit, fresh, size, pace, quality, later, miss, toll
        found.append(one)
    return found


def scores(expected: list[Figures], policy: Policy) -> list[float]:
    """Dollars that each of these is expected to cost in all, with the best of the others to turn to when it fails.

    That is `plain` and, with probability `q`, what a failure adds, less the time that its output would have taken:

        score = plain + q [failure_cost + next best's usd + value_of_time x next best's seconds
                           - value_of_time x (seconds - TTFT)]
    """
    usd_per_second, failure_usd = policy.score.value_of_time / HOUR, policy.score.failure_cost
    best, second = _two_best([figures[0] for figures in expected])
    usually, after_best = (_then(expected[place], failure_usd, usd_per_second) for place in (best, second))
    return [
        plain + fails * ((after_best if place == best else usually) - usd_per_second * (seconds - ttft))
        for place, (plain, fails, seconds, ttft) in enumerate([figures[:4] for figures in expected])
    ]


def _then(next_best: Figures, failure_usd: float, usd_per_second: float) -> float:
    """Dollars of a failed attempt, and of the endpoint that is turned to."""
    _, _, seconds, _, usd_in, usd_out = next_best[:6]
    return failure_usd + (usd_in + usd_out) + usd_per_second * seconds


def _two_best(plain: list[float]) -> tuple[int, int]:
    """Places of the lowest two, the first ones among equals; twice the same when there is one only."""
    first = plain.index(min(plain))
    if len(plain) == 1:
        return first, first
    plain[first] = inf
    return first, plain.index(min(plain))


def _rates(price: Price, list_price: bool, hit_rate: float, prompt_tokens: int, hour: int) -> _Rates:
    p_in, p_cached, p_out = price.rates(prompt_tokens, hour)
    return p_in, 0.0 if list_price else hit_rate * (p_in - p_cached), p_out
