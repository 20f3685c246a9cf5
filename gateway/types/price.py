"""The list price of an endpoint, with its tiers by prompt length and its windows by hour of the day."""

from dataclasses import dataclass
from typing import Literal

# `prices/price_check.py` has the rules
PriceFlag = Literal["zero", "missing", "jump", "new", "tiers", "unlisted", "deprecated"]

_MOST_VERSIONS = 1024
_VERSIONS: dict[int, "tuple[Price, str]"] = {}  # by identity: each row needs one, and making it takes microseconds


@dataclass(frozen=True, slots=True)
class PriceTier:
    """Prices (USD per 1M tokens) for prompts longer than `over_prompt_tokens`."""

    over_prompt_tokens: int
    input: float
    output: float
    cached_input: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Prices between two hours of the day in UTC (`from_hour` <= hour < `to_hour`, may wrap midnight)."""

    from_hour: int
    to_hour: int
    input: float
    output: float
    cached_input: float | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """List prices, USD per 1M tokens, as published on `as_of`. Without `cached_input` there is no discount."""

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    tiers: tuple[PriceTier, ...] = ()
    hours: tuple[Window, ...] = ()
    as_of: str = "unknown"

    @property
    def version(self) -> str:
        """Names this price in the ledger: the date, and USD per 1M tokens of input, cached input and output."""
        known = _VERSIONS.get(id(self))
        if known is None or known[0] is not self:
            cached = self.input if self.cached_input is None else self.cached_input
            more = "+" if self.tiers or self.hours else ""
            text = f"{self.as_of} {self.input:g}/{cached:g}/{self.output:g}{more}"
            if len(_VERSIONS) >= _MOST_VERSIONS:
                _VERSIONS.clear()
            known = _VERSIONS[id(self)] = self, text
        return known[1]

    def rates(self, prompt_tokens: int, hour: int) -> tuple[float, float, float]:
        """(input, cached input, output) in USD per 1M tokens for one request; tiers take precedence over hours."""
        best: Price | PriceTier | Window = self
        for window in self.hours:
            if _within(hour, window.from_hour, window.to_hour):
                best = window
        for tier in self.tiers:
            if prompt_tokens > tier.over_prompt_tokens:
                best = tier
        cached = best.cached_input
        return best.input, best.input if cached is None else cached, best.output


def _within(hour: int, start: int, end: int) -> bool:
    return start <= hour < end if start <= end else hour >= start or hour < end
