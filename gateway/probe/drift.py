"""A sequential test: whether an endpoint fails more often than is acceptable. A CUSUM of Bernoulli samples.

    sum  ── failed: + ln(bad / good) ── passed: - ln((1 - good) / (1 - bad)) ──>  within 0 .. LIMIT
    drift begins when the sum reaches LIMIT, and ends when it is back at 0

Error rates, from the Markov chain of the sum (`tests/probe/test_drift.py` computes them again): an endpoint that fails
2 % of the time is reported once in 230,000 samples, one that fails 5 % once in 4,600; one that fails 30 % is found
after 18 samples on average, one that always fails after 4. Greedy answers differ between honest hosts, too: a host that
differs 10 % of the time is reported once in 5,200 samples, one that differs 60 % is found after 9.
"""

from math import log
from typing import NamedTuple


class DriftTest(NamedTuple):
    """`good`: the failure share that is acceptable, `bad`: the one to be found, `limit` of the sum."""

    good: float = 0.05
    bad: float = 0.30
    limit: float = 6.0

    def after(self, total: float, drifting: bool, passed: bool) -> tuple[float, bool]:
        """The sum and the verdict with one more sample."""
        step = -log((1 - self.good) / (1 - self.bad)) if passed else log(self.bad / self.good)
        total = min(self.limit, max(0.0, total + step))
        return total, total >= self.limit or (drifting and total > 0.0)


USUAL = DriftTest()
GREEDY = DriftTest(good=0.15, bad=0.60, limit=5.0)
