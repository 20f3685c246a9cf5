"""What one request is expected to cost at one endpoint, in dollars and in seconds.

    usd     = input x [(1-h) p_in + h p_cached] + E[output] x p_out
    seconds = TTFT + output / speed
    plain   = usd + value_of_time x seconds + quality               if all goes well
    score   = usd + value_of_time x [(1-q) seconds + q (TTFT + next best's seconds)]
                  + q (failure_cost + next best's usd) + quality

`h` is the share of the prompt that the endpoint probably holds in its cache, `q` the probability that the attempt
fails; the next best is the other endpoint with the lowest `plain`. Prices are USD per 1M tokens. The values are named
tuples because a decision makes one for every endpoint, and frozen dataclasses take three times as long to make.
"""

from typing import NamedTuple

from gateway.route.endpoint import EndpointState, size_class
from gateway.types import Policy

MILLION = 1e6
HOUR = 3600.0


class Demand(NamedTuple):
    """What is asked of any endpoint: tokens in, usual and longest tokens out, the hour (UTC), tools or not."""

    prompt_tokens: int
    output_tokens: float
    longest_output: float
    hour: int
    tools: bool


class Parts(NamedTuple):
    """One endpoint's expectation, before looking at the others. Dollars, seconds, shares."""

    input_usd: float
    output_usd: float
    hit: float  # h: expected cached share of the prompt
    matched_tokens: int  # tokens that the endpoint was sent before, within its cache's TTL
    uncached: float  # tokens that it has to read afresh
    size: int  # their size class
    ttft: float
    seconds: float  # to the last token, if it goes well
    fails: float  # q
    quality_usd: float
    plain: float

    @property
    def usd(self) -> float:
        return self.input_usd + self.output_usd


def expect(state: EndpointState, demand: Demand, matched: int, policy: Policy) -> Parts:
    """The parts of the score that depend on this endpoint alone."""
    prompt, output, weights = demand.prompt_tokens, demand.output_tokens, policy.score
    hit = min(1.0, matched / prompt) * state.confirm if matched and prompt else 0.0
    uncached = prompt * (1 - hit)
    p_in, p_cached, p_out = state.price.rates(prompt, demand.hour)
    if weights.price == "list":
        p_cached = p_in
    input_usd = (uncached * p_in + prompt * hit * p_cached) / MILLION
    output_usd = output * p_out / MILLION
    size = size_class(uncached)
    ttft = state.ttft_p50[size]
    seconds = ttft + output / state.speed_p50
    quality = (1 - state.tools_ok) * weights.quality_cost if demand.tools else 0.0
    plain = input_usd + output_usd + weights.value_of_time / HOUR * seconds + quality
    return Parts(input_usd, output_usd, hit, matched, uncached, size, ttft, seconds, state.fails, quality, plain)


def score(parts: Parts, next_best: Parts, policy: Policy) -> float:
    """Dollars that this choice is expected to cost in all, with `next_best` to turn to when it fails."""
    weights, q = policy.score, parts.fails
    seconds = (1 - q) * parts.seconds + q * (parts.ttft + next_best.seconds)
    failing = q * (weights.failure_cost + next_best.input_usd + next_best.output_usd)
    return parts.input_usd + parts.output_usd + weights.value_of_time / HOUR * seconds + failing + parts.quality_usd
