"""OpenRouter's measurements of an endpoint: sums over its recent traffic, and means with its peers' as the prior."""

from gateway.route.sketch import Rate
from gateway.sim.router_rules import MILLION
from gateway.types import Failure, Fault, Price, Usage

PRICE_HALF_LIFE = 600.0  # seconds: "the last half hour", with the most weight on the last minutes
RECENT_HALF_LIFE = 300.0
PEER = 2.0  # weight of the prior, in requests
PROMPT, ANSWER = 4_000.0, 200.0  # tokens; prior of the peers, as the next line
TTFT, TOKEN_S = 1.5, 1 / 30  # seconds


class Observed:
    """Recent traffic of one endpoint, or of all as the typical peer."""

    def __init__(self) -> None:
        self._prompt, self._cached, self._usd = (Rate(PRICE_HALF_LIFE) for _ in range(3))
        self._ttft, self._writing, self._tokens, self._errors, self._limited = (
            Rate(RECENT_HALF_LIFE) for _ in range(5)
        )

    def billed(self, usage: Usage, price: Price, now: float) -> None:
        """An attempt was billed, with any outcome."""
        p_in, p_cached, _ = price.rates(usage.prompt, int(now // 3600) % 24)
        self._prompt.add(usage.prompt, now)
        self._cached.add(usage.cached, now)
        self._usd.add(((usage.prompt - usage.cached) * p_in + usage.cached * p_cached) / MILLION, now)

    def timed(self, ttft: float, speed: float, tokens: int, now: float) -> None:
        """A successful answer was measured."""
        self._ttft.add(ttft, now)
        self._writing.add(tokens / speed, now)
        self._tokens.add(tokens, now)

    def ended(self, failure: Failure | None, now: float) -> None:
        """An attempt ended."""
        self._errors.add(failure is not None and failure.fault.blamed, now)
        self._limited.add(failure is not None and failure.fault is Fault.RATE_LIMITED, now)

    def input_usd(self, price: Price, peer: "Observed", now: float) -> float:
        """Dollars per input token: as charged, with the list price and the peers' cache hits as the prior."""
        cached = price.input if price.cached_input is None else price.cached_input
        usual = (price.input - (price.input - cached) * peer.hits(now)) / MILLION
        return _over(self._usd, self._prompt, usual, peer._prompt.share(now, PROMPT, PEER), now)

    def hits(self, now: float) -> float:
        """Cached share of input tokens."""
        return self._cached.sum(now) / max(1.0, self._prompt.sum(now))

    def ttft(self, peer: "Observed", now: float) -> float:
        """Mean seconds to the first token."""
        return self._ttft.share(now, peer._ttft.share(now, TTFT, PEER), PEER)

    def token_s(self, peer: "Observed", now: float) -> float:
        """Mean seconds per output token after the first."""
        tokens = peer._tokens.share(now, ANSWER, PEER)
        usual = _over(peer._writing, peer._tokens, TOKEN_S, ANSWER, now)
        return _over(self._writing, self._tokens, usual, tokens, now)

    def errors(self, peer: "Observed", now: float) -> float:
        """Share of failed attempts."""
        return self._errors.share(now, peer._errors.share(now, 0.0, PEER), PEER)

    def limited(self, peer: "Observed", now: float) -> float:
        """Share of attempts answered with 429."""
        return self._limited.share(now, peer._limited.share(now, 0.0, PEER), PEER)

    def __repr__(self) -> str:
        return f"<Observed prompt={self._prompt!r}>"


def _over(part: Rate, whole: Rate, usual: float, each: float, now: float) -> float:
    """The ratio of two sums, with PEER requests of size `each` at the ratio `usual` added as a prior."""
    return (part.sum(now) + PEER * each * usual) / (whole.sum(now) + PEER * each)
