"""How many tokens a request will take: bytes per token of prompts, and lengths of answers. Learned from usage.

    size of a prompt ──count──> estimated tokens        before a host has counted: context limits, tiers, clocks, costs
    usage.prompt_tokens ──learn──> bytes per token      after one has, and how far off the estimate usually was

Tools are JSON, which has fewer bytes a token than prose. Scripts matter less: a Chinese character is three bytes of
UTF-8 and more than half a token. The same for every endpoint, because the tokenizer is the model's, and for every
worker: each publishes its own samples (`own`) and counts those of the others with them (`merge`). So are the lengths
of answers, which are learned apart for each kind of request: thinking or not, with tools or not.
"""

from collections.abc import Mapping, Sequence
from math import ceil

from gateway.route.posted import Posted
from gateway.route.sketch import Rate, Sketch

USUAL = 4.0  # bytes a token
FEWEST, MOST = 1.0, 16.0  # a count outside of these is discarded
SMALLEST = 400  # bytes: in a shorter prompt the template's own tokens outweigh the text
HALF_LIFE = 3_600.0  # seconds
PRIOR_SAMPLES = 10.0  # prompts that the usual figure counts for
LEARNED_WITHIN = 1.0  # seconds until bytes per token show what was learned
USUALLY_OFF = 0.08  # of an estimate, until errors have been seen
DOUBTED = 2.5  # times the usual error, that an estimate may be off
SURE, UNSURE = 0.05, 0.3  # bounds of that

DEFAULT_MEAN = 350.0  # tokens of an answer
DEFAULT_LONGEST = 5_600.0
MEAN_SAMPLES = 4.0  # answers that the default mean counts for
ENOUGH_LENGTHS = 20.0  # answers from which on the longest may be shorter than the default
LENGTH_HALF_LIFE = 600.0  # seconds: what clients request changes with the hour
LENGTH_LEARNED_WITHIN = 0.1  # seconds until lengths show a new answer
LENGTH_FADED_WITHIN = 10.0  # seconds until they show that old answers have faded


class Tokens:
    """Bytes per token of one model's prompts."""

    __slots__ = ("_due", "_errors", "_new", "_per_byte", "bytes_per_token", "doubt")

    def __init__(self) -> None:
        self._per_byte = Rate(HALF_LIFE), Rate(HALF_LIFE)  # tokens, without tools and with
        self._errors = Rate(HALF_LIFE), Rate(HALF_LIFE)  # of estimates, as shares of what was counted
        self._new = [0.0] * 3, [0.0] * 3  # since the last refresh, of each kind: prompts, and the sums of both figures
        self._due = 0.0
        self.doubt = [DOUBTED * USUALLY_OFF] * 2  # how much less a host may count, as a share; one for each kind
        self.bytes_per_token = [USUAL, USUAL]  # without tools and with

    def count(self, size: int, tools: bool) -> int:
        """Tokens in a prompt of `size` bytes, rounded up."""
        return ceil(size / self.bytes_per_token[tools])

    def learn(self, size: int, counted: int, tools: bool, now: float) -> None:
        """A host `counted` the tokens of a prompt of `size` bytes."""
        if size < SMALLEST or not FEWEST <= size / (counted or 1) <= MOST:
            return
        per_byte, error = counted / size, min(1.0, abs(size / self.bytes_per_token[tools] / counted - 1))
        if now < self._due:
            new = self._new[tools]
            new[0] += 1
            new[1] += per_byte
            new[2] += error
            return
        self._count_new(now)
        self._per_byte[tools].add(per_byte, now)
        self._errors[tools].add(error, now)
        self._refresh(now)

    def own(self, now: float) -> tuple[tuple[int, int], tuple[int, int]]:
        """This worker's samples, for others: what `Rate.own` is, without tools and with."""
        self._count_new(now)
        without, with_tools = self._per_byte
        return without.own(now), with_tools.own(now)

    def merge(self, others: Sequence[Posted[Sequence[tuple[int, int]]]], now: float) -> None:
        """Takes each other worker's samples, in place of what was known of them."""
        self._count_new(now)
        for place, rate in enumerate(self._per_byte):
            rate.merge([(one.value[place], one.age) for one in others], now)
        self._refresh(now)

    def _count_new(self, now: float) -> None:
        """Counts what came since the last refresh: together, because nothing reads it before."""
        at = min(now, self._due)
        for per_byte, errors, new in zip(self._per_byte, self._errors, self._new, strict=True):
            if new[0]:
                per_byte.add_all(new[1], new[0], at)
                errors.add_all(new[2], new[0], at)
                new[:] = [0.0] * 3

    def _refresh(self, now: float) -> None:
        self._due = now + LEARNED_WITHIN
        figures = [1 / rate.share(now, 1 / USUAL, PRIOR_SAMPLES) for rate in self._per_byte]
        self.bytes_per_token = [min(MOST, max(FEWEST, figure)) for figure in figures]
        errors = [rate.share(now, USUALLY_OFF, PRIOR_SAMPLES) for rate in self._errors]
        self.doubt = [min(UNSURE, max(SURE, DOUBTED * error)) for error in errors]

    def __repr__(self) -> str:
        return "<Tokens {:.2f} bytes each, {:.2f} with tools>".format(*self.bytes_per_token)


class Lengths:
    """Tokens of the answers to one kind of request: their mean, and their p99."""

    __slots__ = ("_due", "_longest", "_mean", "_sketch")

    def __init__(self) -> None:
        self._sketch = Sketch(LENGTH_HALF_LIFE)
        self._due = 0.0
        self._mean = DEFAULT_MEAN
        self._longest = DEFAULT_LONGEST

    def add(self, tokens: int, now: float) -> None:
        """Learns from one answer."""
        self._sketch.add(tokens, now)
        if now + LENGTH_LEARNED_WITHIN < self._due:
            self._due = now + LENGTH_LEARNED_WITHIN

    def expected(self, max_tokens: int | None, now: float) -> tuple[float, float]:
        """(mean, longest) length of such answers, at most what the client allows."""
        if now >= self._due:
            self._refresh(now)
        if max_tokens is None:
            return self._mean, self._longest
        return min(self._mean, max_tokens), min(self._longest, max_tokens)

    def own(self, now: float) -> dict[int, int]:
        """This worker's samples, for others: what `Sketch.own` is."""
        return self._sketch.own(now)

    def merge(self, others: Sequence[Posted[Mapping[int, int]]], now: float) -> None:
        """Takes each other worker's samples, in place of what was known of them."""
        self._sketch.merge([(one.value, one.age) for one in others], now)
        self._due = min(self._due, now + LENGTH_LEARNED_WITHIN)

    def _refresh(self, now: float) -> None:
        self._due = now + LENGTH_FADED_WITHIN
        count = self._sketch.count(now)
        self._mean = (self._sketch.mean() * count + DEFAULT_MEAN * MEAN_SAMPLES) / (count + MEAN_SAMPLES)
        (longest,) = self._sketch.quantiles((0.99,))
        self._longest = longest if count >= ENOUGH_LENGTHS else max(longest, DEFAULT_LONGEST)

    def __repr__(self) -> str:
        return f"<Lengths mean={self._mean:.0f} longest={self._longest:.0f}>"
