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
    Terms, Demand, matched --expect--> Parts        for every endpoint, in every decision
    all Parts --scores--> dollars                   once in every decision

What is made in every decision is a msgspec.Struct, because a dataclass takes four times as long to make; or a tuple,
where all of it is read at once.
"""

from bisect import bisect_left
from math import inf
from typing import NamedTuple

import msgspec

from gateway.route.endpoint import EndpointState
from gateway.route.latency import Preference, preferences, seconds_over
from gateway.route.toll import Toll
from gateway.route.waits import BASE, PREFILL, SIZES
from gateway.types import Policy, Price

MILLION = 1e6
HOUR = 3600.0
_Rates = tuple[float, float, float]  # input, what is saved on input that was sent before, output


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
    confirm: float  # 0 where there is no cache
    ttft: tuple[float, ...]  # mean ratios by size class
    token_s: float  # seconds per output token
    fails: float
    bad_tools_usd: float  # what its bad tool calls cost where tools are asked for
    usd_per_second: float
    preferences: tuple[Preference, ...]  # limits on latency under `prefer` and `slo`
    miss_usd_per_second: float


class Parts(msgspec.Struct, frozen=True, gc=False):
    """One endpoint's expectation, before looking at the others. Dollars, seconds, shares."""

    input_usd: float
    output_usd: float
    hit: float  # h: expected cached share of the prompt
    matched_tokens: int  # tokens that the endpoint was sent before, within its cache's TTL
    uncached: float  # tokens that it has to read afresh
    size: int  # their size class
    pace: float  # seconds to the first token that a ratio of 1 stands for, at the load of this moment
    ttft: float
    seconds: float  # to the last token, if it goes well
    fails: float  # q
    quality_usd: float
    reread_usd: float
    miss_usd: float
    toll_usd: float
    plain: float

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
    confirm = state.confirm if state.ttl else 0.0
    return Terms(
        rates=None if price.tiers or price.hours else _rates(price, list_price, confirm, 0, 0),
        price=price,
        list_price=list_price,
        confirm=confirm,
        ttft=state.waits.mean,
        token_s=state.speeds.token_s,
        fails=state.fails,
        bad_tools_usd=(1 - state.tools_ok) * weights.quality_cost,
        usd_per_second=weights.value_of_time / HOUR,
        preferences=preferences(state, policy.prefer + policy.slo),
        miss_usd_per_second=weights.usd_per_second_missed,
    )


def expect(
    offered: Terms, demand: Demand, matched: int, crowded: float = 1.0, slowed: float = 1.0, toll: float = 0.0
) -> Parts:
    """The parts of the score that depend on this endpoint alone.

    `matched` tokens of the prompt were sent to it; the first token takes it `crowded` times as long as without load,
    and writing `slowed` times; its toll is in USD per token.
    """
    (
        rates,
        price,
        list_price,
        confirm,
        ratios,
        token_s,
        fails,
        bad_tools_usd,
        usd_per_second,
        preferred,
        miss_usd_per_second,
    ) = offered
    prompt, output, _, hour, tools, _, rereads, _ = demand
    p_in, p_saved, p_out = rates or _rates(price, list_price, confirm, prompt, hour)
    if matched and prompt:
        share = matched / prompt if matched < prompt else 1.0
        hit = share * confirm
        uncached = prompt * (1 - hit)
        input_usd = prompt * (p_in - share * p_saved) / MILLION
    else:
        hit, uncached, input_usd = 0.0, prompt, prompt * p_in / MILLION
    output_usd = output * p_out / MILLION
    size = bisect_left(SIZES, uncached)
    pace = (BASE + uncached / PREFILL) * crowded
    ttft = ratios[size] * pace
    seconds = ttft + output * token_s * slowed
    quality = bad_tools_usd if tools else 0.0
    reread = rereads * prompt * (p_in - p_saved) / MILLION
    tolled = toll * (prompt + output)
    plain = input_usd + output_usd + usd_per_second * seconds + quality + reread + tolled
    missed = 0.0
    if preferred:
        missed = miss_usd_per_second * seconds_over(preferred, size, pace, slowed, output)
        plain += missed
    return Parts(  # by place: by name it takes twice as long
        input_usd,
        output_usd,
        hit,
        matched,
        uncached,
        size,
        pace,
        ttft,
        seconds,
        fails,
        quality,
        reread,
        missed,
        tolled,
        plain,
    )


def scores(expected: list[Parts], policy: Policy) -> list[float]:
    """Dollars that each of these is expected to cost in all, with the best of the others to turn to when it fails.

    That is `plain` and, with probability `q`, what a failure adds, less the time that its output would have taken:

        score = plain + q [failure_cost + next best's usd + value_of_time x next best's seconds
                           - value_of_time x (seconds - TTFT)]
    """
    best, second = _two_best(expected)
    usd_per_second, failure_usd = policy.score.value_of_time / HOUR, policy.score.failure_cost
    usually = failure_usd + best.usd + usd_per_second * best.seconds
    after_best = failure_usd + second.usd + usd_per_second * second.seconds
    return [
        one.plain + one.fails * ((after_best if one is best else usually) - usd_per_second * (one.seconds - one.ttft))
        for one in expected
    ]


def _two_best(expected: list[Parts]) -> tuple[Parts, Parts]:
    """Those with the lowest `plain`, the first ones among equals; twice the same when there is one only."""
    plain = [parts.plain for parts in expected]
    first = plain.index(min(plain))
    if len(plain) == 1:
        return expected[0], expected[0]
    plain[first] = inf
    return expected[first], expected[plain.index(min(plain))]


def _rates(price: Price, list_price: bool, confirm: float, prompt_tokens: int, hour: int) -> _Rates:
    p_in, p_cached, p_out = price.rates(prompt_tokens, hour)
    return p_in, 0.0 if list_price else confirm * (p_in - p_cached), p_out
