"""The counts of one replay, and its figures.

`effective input price` is the cost of a million input tokens after prompt caching; `blended price` is the cost of a
million tokens, input and output together. Both divide all dollars, those of failed and lost attempts included, by the
tokens of whole answers.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from gateway.sim.sim_host import SimHost
from gateway.types import PICO, Usage
from gateway.upstream.usage import cost

PER = 1_000_000  # tokens per price


@dataclass(frozen=True, slots=True)
class Figures:
    """One replay. Prices in USD per 1M tokens, times in seconds, all else shares; None without data."""

    effective_input_price: float | None
    blended_price: float | None
    cache_hit: float | None  # of the input tokens of whole answers
    ttft_p50: float | None
    ttft_p95: float | None
    ttft_p99: float | None
    success: float | None  # of requests, up to the first token
    cut_later: float | None  # of answers that had begun
    hedges: float | None  # second attempts, of requests
    hedge_spend: float | None  # of all dollars, those of attempts that lost the race
    busiest: float | None  # share of all tokens of the busiest host
    predicted_usd_bias: float | None  # predicted dollars of the successful attempts, over their cost
    predicted_seconds_bias: float | None  # the same with their seconds to the last token


class Tally:
    """Counts of one replay. Money in 1e-12 USD."""

    def __init__(self, hosts: Sequence[SimHost]) -> None:
        self._waits = array("d")
        self.completed = 0
        self.broken = 0  # after their first token
        self.given_up = 0
        self.hedges = 0
        self._input_spent = self._spent = self._lost = 0
        self._prompt = self._cached = self._completion = 0  # tokens of whole answers
        self._tokens = {host.id: 0 for host in hosts}  # billed, by host
        self._expected_usd = self._usd = 0.0  # of successful attempts, as the next line
        self._expected_seconds = self._seconds = 0.0

    def answered(self, ttft: float) -> None:
        """A client got its first token."""
        self._waits.append(ttft)

    def attempted(self, host: SimHost, usage: Usage, hour: int, good: bool, lost: bool) -> int:
        """An attempt ended. `host`: as it was when sent; `lost`: another attempt was faster. Returns its cost."""
        if not usage.prompt:
            return 0
        price = host.price
        spent = cost(usage, price, hour)
        self._spent += spent
        self._input_spent += cost(Usage(usage.prompt, usage.cached), price, hour)
        self._lost += spent * lost
        self._tokens[host.id] += usage.prompt + usage.completion
        if good:
            self._prompt += usage.prompt
            self._cached += usage.cached
            self._completion += usage.completion
        return spent

    def compared(self, expected: tuple[float, float], actual: tuple[float, float]) -> None:
        """Predicted and actual dollars and seconds of a successful attempt."""
        self._expected_usd += expected[0]
        self._usd += actual[0]
        self._expected_seconds += expected[1]
        self._seconds += actual[1]

    def figures(self) -> Figures:
        begun = len(self._waits)
        total = begun + self.given_up
        waits = sorted(self._waits)
        all_tokens = sum(self._tokens.values())
        return Figures(
            effective_input_price=_share(self._input_spent * PER / PICO, self._prompt),
            blended_price=_share(self._spent * PER / PICO, self._prompt + self._completion),
            cache_hit=_share(self._cached, self._prompt),
            ttft_p50=_quantile(waits, 0.5),
            ttft_p95=_quantile(waits, 0.95),
            ttft_p99=_quantile(waits, 0.99),
            success=_share(begun, total),
            cut_later=_share(self.broken, begun),
            hedges=_share(self.hedges, total),
            hedge_spend=_share(self._lost, self._spent),
            busiest=_share(max(self._tokens.values(), default=0), all_tokens),
            predicted_usd_bias=_share(self._expected_usd, self._usd),
            predicted_seconds_bias=_share(self._expected_seconds, self._seconds),
        )

    def shares(self) -> dict[str, float]:
        """Each host's share of all tokens."""
        total = sum(self._tokens.values()) or 1
        return {host: tokens / total for host, tokens in self._tokens.items()}

    def __repr__(self) -> str:
        return f"<Tally completed={self.completed} broken={self.broken} given_up={self.given_up}>"


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share does not exceed."""
    return ordered[ceil(len(ordered) * share) - 1] if ordered else None
