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
goes where it will be cheap to return to, and a cached prompt moves only if that saves more than reading it again costs.
`miss` is the price of a missed preference, judged at what this prompt is expected to meet there (`latency.py`).
`toll` is the extra price of an endpoint that is above its share of a policy's cap (`toll.py`).

    Offers, Demand ──Costs──> scores          in every decision: a few numbers for each endpoint
    Costs ──parts──> Parts                    of the chosen endpoint, and of others when they are read
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from gateway.route.endpoint_state import Load
from gateway.route.latency import seconds_over
from gateway.route.offers import HOUR, MILLION, Field, Risk, Terms, line, rates_of
from gateway.route.toll import Toll
from gateway.route.waits import BASE, PREFILL, SIZES
from gateway.types import Policy

_SURELY = 1 - 1e-9  # a figure under this share of a limit keeps to it, however it is rounded
Reading = tuple[int, float]  # of what a cache leaves to read: its size class, and the seconds of a ratio of 1
_NO_TOLLS: Mapping[str, float] = {}
_NO_READINGS: Mapping[int, Reading] = {}


class Demand(msgspec.Struct, frozen=True, gc=False):
    """What a request needs of any endpoint: tokens in, usual and longest tokens out, the hour (UTC), tools or not.

    `known` is how much of the prompt some endpoint has in its cache, None where caches do not matter; `rereads` how
    often the prompt will probably be read again, 0 where that does not matter; `toll` is where its policy books its
    shares.
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


class Costs:
    """What one request is expected to cost at each of these candidates: `scores` in dollars, in their order.

    `matches` has the tokens of the prompt that an endpoint was sent before, by id, of those where that is any.
    """

    __slots__ = ("_lines", "_matches", "_misses", "_offers", "_tolls", "demand", "field", "scores")

    def __init__(self, field: Field, demand: Demand, matches: Mapping[str, int]) -> None:
        prompt = demand.prompt_tokens
        self.demand = demand
        self.field = field
        self._offers = offers = field.offers.priced(prompt, demand.hour)
        size = bisect_left(SIZES, prompt)
        self._lines = offers.lines(size, demand.output_tokens)
        self._matches = matches
        self._tolls = _NO_TOLLS if demand.toll is None else demand.toll.rates
        self._misses = False  # whether any of them may miss a preferred limit on latency
        self.scores = self._scores(prompt, size) if field.candidates else []

    def parts(self, place: int) -> Parts:
        """All that is expected of the candidate at this place."""
        offers, name = self._offers, self.field.candidates[place].endpoint.id
        matched, toll = self._matches.get(name, 0), self._tolls.get(name, 0.0)
        load = self._lines.loads[place]
        return parts(offers.terms[place], load, self.demand, offers.policy, matched, toll, self._misses)

    def _scores(self, prompt: int, size: int) -> list[float]:
        """For a prompt of so many tokens, and of that size class where no cache has any of it."""
        again = self.demand.rereads * prompt
        usual = [
            fixed + prompt * per_prompt + again * per_reread for fixed, per_prompt, per_reread in self._lines.lines
        ]
        readings = self._use_caches(usual, again) if self._matches and prompt else _NO_READINGS
        plain = self._with_tolls(usual) if self._tolls else usual
        pace = BASE + prompt / PREFILL
        self._misses = self._may_miss(size, pace) or (bool(readings) and self._may_miss_any(readings))
        if self._misses:
            plain = self._with_misses(plain, readings, (size, pace))
        base = partial(self._base, usual, again)
        return scores(plain, self._lines.risks, base, self._offers.policy.score.failure_cost)

    def _base(self, usual: list[float], again: float, place: int) -> float:
        """The dollars and seconds of what is usual at the candidate at this place."""
        return usual[place] - self._offers.terms[place].quality_usd - again * self._lines.lines[place][2]

    def _use_caches(self, usual: list[float], again: float) -> dict[int, Reading]:
        """Corrects what is usual where a cache has some of the prompt. Returns the readings there, by place."""
        offers, prompt, output = self._offers, self.demand.prompt_tokens, self.demand.output_tokens
        per_second, readings = offers.policy.score.value_of_time / HOUR, {}
        for name, matched in self._matches.items():
            place = offers.places.get(name)
            if place is None:
                continue
            one, load = offers.terms[place], self._lines.loads[place]
            share = min(1.0, matched / prompt)
            fresh = prompt * (1 - share * one.hit_rate)
            size, pace = bisect_left(SIZES, fresh), BASE + fresh / PREFILL
            fixed, per_prompt, per_reread = line(one, load, size, output, per_second)
            slope = per_second * one.ttft[size] * load.crowded / PREFILL  # what is saved of it is not waited for
            paid = fixed + prompt * per_prompt + again * per_reread
            usual[place] = paid - slope * (prompt - fresh) - prompt * share * one.p_saved / MILLION
            readings[place] = size, pace
        return readings

    def _with_tolls(self, usual: list[float]) -> list[float]:
        plain, tokens = usual.copy(), self.demand.tokens
        for name, rate in self._tolls.items():
            place = self._offers.places.get(name)
            if place is not None:
                plain[place] += rate * tokens
        return plain

    def _may_miss(self, size: int, pace: float) -> bool:
        """Whether any endpoint may miss a preferred limit on latency for a prompt of this size."""
        offers, lines = self._offers, self._lines
        return offers.reach[size] * pace * lines.crowded >= _SURELY or offers.slowness * lines.slowed >= _SURELY

    def _may_miss_any(self, readings: Mapping[int, Reading]) -> bool:
        return any(self._may_miss(size, pace) for size, pace in readings.values())

    def _with_misses(self, plain: list[float], readings: Mapping[int, Reading], usual: Reading) -> list[float]:
        per_second, output = self._offers.policy.score.usd_per_second_missed, self.demand.output_tokens
        found = []
        for place, (one, (crowded, slowed)) in enumerate(zip(self._offers.terms, self._lines.loads, strict=True)):
            size, pace = readings.get(place, usual)
            over = seconds_over(one.preferences, size, pace * crowded, slowed, output)
            found.append(plain[place] + per_second * over)
        return found

    def __eq__(self, other: object) -> bool:
        """Plans are values, so what is in them is, too."""
        return isinstance(other, Costs) and self._values() == other._values()

    def _values(self) -> tuple[object, ...]:
        """Of any type: where mypyc knows that two are structs, it takes only the same one for equal."""
        return self.field.candidates, self.demand, self.scores

    def __repr__(self) -> str:
        return f"<Costs {self.scores}>"


def parts(
    offered: Terms,
    load: Load,
    demand: Demand,
    policy: Policy,
    matched: int = 0,
    toll: float = 0.0,
    may_miss: bool = True,
) -> Parts:
    """What is expected of one endpoint: at this load, with the first `matched` tokens of the prompt sent to it before,
    and a toll in USD per token. `may_miss`: False where it keeps to every preferred limit on latency."""
    prompt, output, weights, (crowded, slowed) = demand.prompt_tokens, demand.output_tokens, policy.score, load
    price, p_in, p_saved, p_out, hit_rate, ratios, token_s, fails, quality, preferred = offered
    if price.tiers or price.hours:
        p_in, p_saved, p_out = rates_of(price, policy, hit_rate, prompt, demand.hour)
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
    missed = seconds_over(preferred, size, pace, slowed, output) if may_miss and preferred else 0.0
    if missed:
        missed *= weights.usd_per_second_missed
    tolled = toll * (prompt + output)
    plain = usd_in + usd_out + weights.value_of_time / HOUR * seconds + quality + later + tolled + missed
    return Parts(  # in its order: names would cost as much as all of the above
        plain, fails, seconds, ttft, usd_in, usd_out, matched, hit, fresh, size, pace, quality, later, missed, tolled
    )


def scores(plain: list[float], risks: list[Risk], base: Callable[[int], float], failure_usd: float) -> list[float]:
    """Dollars that each is expected to cost in all, with the best of the others to turn to when it fails.

    `base` gives the dollars and seconds of an endpoint that is turned to.
    """
    order = sorted(range(len(plain)), key=plain.__getitem__)
    best = order[0]
    usually = failure_usd + base(best)
    found = [one + q * usually - saved for one, (q, saved) in zip(plain, risks, strict=True)]
    if len(order) > 1:
        q, saved = risks[best]
        found[best] = plain[best] + q * (failure_usd + base(order[1])) - saved
    return found
