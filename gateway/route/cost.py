"""What one request is expected to cost at one endpoint, in dollars and in seconds.

    usd     = input x [(1-h) p_in + h p_cached] + E[output] x p_out
    seconds = (1-q) (TTFT + output / speed) + q (time lost + the next best's seconds)
    score   = usd + value_of_time x seconds + q (failure_cost + the next best's usd) + quality

`h` is the share of the prompt that the endpoint probably holds in its cache, `q` the probability that the attempt
fails. Prices are USD per 1M tokens.
"""

from dataclasses import dataclass

from gateway.route.fleet import EndpointState, size_class
from gateway.types import Policy

MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of any endpoint: tokens in, usual and longest tokens out, the hour (UTC), tools or not."""

    prompt_tokens: int
    output_tokens: float
    longest_output: float
    hour: int
    tools: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """One endpoint's expectation, before looking at the others. Dollars, seconds, shares."""

    input_usd: float
    output_usd: float
    hit: float  # h: expected cached share of the prompt
    matched_tokens: int  # tokens that the endpoint was sent before, within its cache's TTL
    ttft: float
    seconds: float  # to the last token, if it goes well
    fails: float  # q
    quality_usd: float

    @property
    def usd(self) -> float:
        return self.input_usd + self.output_usd


def expect(state: EndpointState, demand: Demand, matched: int, policy: Policy, now: float) -> Parts:
    """The parts of the score that depend on this endpoint alone."""
    hit = min(1.0, matched / demand.prompt_tokens) * state.confirm if demand.prompt_tokens else 0.0
    price = state.endpoint.price
    p_in, p_cached, p_out = price.rates(demand.prompt_tokens, demand.hour) if price else (0.0, 0.0, 0.0)
    if policy.score.price == "list":
        p_cached = p_in
    ttft = state.ttft_p50[size_class(demand.prompt_tokens * (1 - hit))]
    bad_tools = 1 - state.tools_ok(now) if demand.tools and policy.score.quality_cost else 0.0
    return Parts(
        input_usd=demand.prompt_tokens * ((1 - hit) * p_in + hit * p_cached) / MILLION,
        output_usd=demand.output_tokens * p_out / MILLION,
        hit=hit,
        matched_tokens=matched,
        ttft=ttft,
        seconds=ttft + demand.output_tokens / state.speed_p50,
        fails=1 - state.uptime(now),
        quality_usd=bad_tools * policy.score.quality_cost,
    )


def score(parts: Parts, next_usd: float, next_seconds: float, policy: Policy) -> float:
    """Dollars that this choice is expected to cost in all; `next_*` is the best of the others."""
    time_usd = policy.score.value_of_time / 3600
    seconds = (1 - parts.fails) * parts.seconds + parts.fails * (parts.ttft + next_seconds)
    return parts.usd + time_usd * seconds + parts.fails * (policy.score.failure_cost + next_usd) + parts.quality_usd
