"""When a request counts as late, and up to which size a second reading of its prompt pays.

    the policy's last waits (seconds, uncached tokens) ──plan──> delay, largest prompt

One absolute delay holds for all requests of a policy, whichever endpoint they went to: measured by an endpoint's own
answers, a slow one would never be late. What may be spent is given: a share of requests, and tokens a request that
second readings may bill. Large prompts use it up quickly, so for each size limit there is another delay that spends
all of it; the pair with the lowest p99 is taken, as far as the last waits tell.
"""

from collections.abc import Callable
from functools import partial
from math import erfc, inf, log, sqrt
from operator import itemgetter

SAMPLES = 4_096  # waits that are kept
ENOUGH = 128  # waits without which nothing is planned
EVERY = 128  # waits between two plans
TAIL = 0.01  # of requests: what is minimised is the wait that only these exceed
LOOKED_AT = 0.125  # of the waits, the longest: the others are never late
SIZES = (0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # size limits that are tried, as quantiles of prompts

_seconds, _tokens = itemgetter(0), itemgetter(1)


class Lateness:
    """The waits of one policy's requests.

    `delay` is in seconds, None while too little is known; `largest` in uncached tokens.
    """

    __slots__ = ("_waits", "_written", "delay", "largest")

    def __init__(self) -> None:
        self._waits: list[tuple[float, float]] = []
        self._written = 0
        self.delay: float | None = None
        self.largest = inf

    def waited(self, seconds: float, uncached: float) -> bool:
        """A first token came after so many seconds, or had not come by then. Whether it is time to plan anew."""
        if len(self._waits) < SAMPLES:
            self._waits.append((seconds, uncached))
        else:
            self._waits[self._written % SAMPLES] = seconds, uncached
        self._written += 1
        return self._written % EVERY == 0 and len(self._waits) >= ENOUGH

    def plan(self, share: float, tokens: float, rival: float, scatter: float) -> None:
        """Takes the best pair for at most this share of requests and so many tokens a request.

        A rival's first token usually comes after `rival` seconds; `scatter` is the standard deviation of its logarithm.
        """
        waits = self._waits
        sizes = sorted(map(_tokens, waits))
        late = sorted(waits, key=_seconds, reverse=True)[: max(2, int(LOOKED_AT * len(waits)))]
        exceeds = partial(_exceeds, rival=rival, scatter=scatter)
        plans = []
        for quantile in SIZES:
            largest = sizes[min(len(sizes) - 1, int(quantile * len(sizes)))]
            delay = _delay(late, largest, share * len(waits), tokens * len(waits))
            plans.append((_tail(late, largest, delay, exceeds, TAIL * len(waits)), -largest, delay))
        _, negative, self.delay = min(plans)
        self.largest = -negative

    def __repr__(self) -> str:
        return f"<Lateness {self.delay} s, up to {self.largest:g} tokens>"


def _delay(late: list[tuple[float, float]], largest: float, requests: float, tokens: float) -> float:
    """The shortest delay with which requests up to this size use no more than so many of them, and so many tokens."""
    for seconds, uncached in late:
        if uncached <= largest:
            requests -= 1
            tokens -= uncached
            if requests < 0 or tokens < 0:
                return seconds
    return late[-1][0]


def _tail(
    late: list[tuple[float, float]], largest: float, delay: float, exceeds: Callable[[float], float], beyond: float
) -> float:
    """The wait that so many of these are expected to exceed, if those up to this size are hedged after this delay."""
    hedged = single = 0
    for seconds, uncached in late:
        if hedged * exceeds(seconds - delay) + single >= beyond:
            return seconds
        if uncached <= largest:
            hedged += 1
        else:
            single += 1
    return late[-1][0]


def _exceeds(seconds: float, rival: float, scatter: float) -> float:
    """The probability that a rival's first token takes longer than this."""
    return 0.5 * erfc(log(seconds / rival) / scatter / sqrt(2)) if seconds > 0 else 1.0
