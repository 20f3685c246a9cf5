"""Keeps every endpoint to its share of a policy's tokens: by a toll, and where that is too slow, by a limit.

    sent ─┬─> tokens above its share ──────> rates     USD per token: up while above, down while below, never under 0
          └─> tokens in the window ────────> full      more than its share of them and the slack besides

The toll is added to what a request costs at the endpoint. It settles where as much is asked of the endpoint as it may
take, so that those leave it who lose least by leaving, and the limit, which turns away whoever comes at the wrong
moment, is hardly ever reached. When it is, the last of the slack is for prompts that the endpoint has in its cache.

The window fades: a token counts in full when it is sent, and by e^-1 a window later. A window that is much longer than
the run counts everything so far.
"""

from math import exp

from gateway.types import Cap, Policy

SLACK_TOKENS = 500_000.0  # an endpoint may be so many tokens above its share,
SLACK_REQUESTS = 20.0  # or so many requests of the usual size, whichever is more
FOR_NEW = 0.8  # part of the slack that new prompts may fill
TOLL_REQUESTS = 50.0  # requests above its share, of the usual size, for which the toll is what a token usually costs
MOST = 4.0  # times what a token usually costs, that a toll may be
USUAL_OVER = 500.0  # requests that count for what is usual
MOST_POLICIES = 256
_LARGEST = 40.0  # windows, until weights are scaled down


class Toll:
    """What was asked of each endpoint under one policy, and what more would cost there.

    `rates` has the toll in USD per token of the endpoints that have one.
    """

    __slots__ = ("_above", "_base", "_loads", "_seen", "_size", "_total", "_usd", "rates", "rule")

    def __init__(self, rule: Cap) -> None:
        self.rule = rule
        self.rates: dict[str, float] = {}
        self._above: dict[str, float] = {}  # tokens above the share, never under 0
        self._loads: dict[str, float] = {}  # tokens in the window, each weighing more than the one before
        self._total = 0.0
        self._base = 0.0  # when a token weighs 1
        self._seen = 0.0  # requests, at most as many as count
        self._size = 0.0  # tokens of the usual request
        self._usd = 0.0  # what it costs

    def sent(self, endpoint: str, tokens: float, usd: float, now: float) -> None:
        """A request with so many tokens, answer included, goes to this endpoint; it costs `usd` besides the toll."""
        weight = self._weight(now)
        self._loads[endpoint] = self._loads.get(endpoint, 0.0) + tokens * weight
        self._total += tokens * weight
        self._seen = min(self._seen + 1, USUAL_OVER)
        self._size += (tokens - self._size) / self._seen
        self._usd += (usd - self._usd) / self._seen
        self._raise(endpoint, tokens)

    def corrected(self, endpoint: str, tokens: float, sent_at: float) -> None:
        """A request of that time turned out to have so many tokens more."""
        weighted = tokens * exp((sent_at - self._base) / self.rule.window)
        load = self._loads.get(endpoint, 0.0)
        weighted = max(weighted, -load)
        self._loads[endpoint] = load + weighted
        self._total += weighted

    def full(self, tokens: float, now: float, part: float = 1.0) -> list[str]:
        """Endpoints that would be above their share, and this part of the slack, with so many tokens more."""
        weight = self._weight(now)
        slack = part * max(SLACK_TOKENS, SLACK_REQUESTS * self._size)
        limit = self.rule.share * (self._total + tokens * weight) + (slack - tokens) * weight
        return [name for name, load in self._loads.items() if load > limit]

    def share(self, endpoint: str) -> float:
        """Its share of all tokens in the window."""
        return self._loads.get(endpoint, 0.0) / self._total if self._total else 0.0

    def _raise(self, endpoint: str, tokens: float) -> None:
        """Raises the toll of this endpoint and lowers that of all others, by how much is asked of it."""
        scale = max(1.0, TOLL_REQUESTS * self._size)  # tokens
        due = self.rule.share * tokens
        above = {name: more - due for name, more in self._above.items() if more > due or name == endpoint}
        above[endpoint] = min(above.get(endpoint, -due) + tokens, MOST * scale)
        usual = self._usd / max(1.0, self._size)  # USD per token
        self._above = above
        self.rates = {name: usual * more / scale for name, more in above.items()}

    def _weight(self, now: float) -> float:
        """What a token of this moment weighs."""
        windows = (now - self._base) / self.rule.window
        if windows < _LARGEST:
            return exp(windows)
        keep = exp(-windows)  # 0 after a very long silence
        self._loads = {name: load * keep for name, load in self._loads.items()}
        self._total = sum(self._loads.values())
        self._base = now
        return 1.0

    def __repr__(self) -> str:
        shares = " ".join(f"{name}={self.share(name):.0%}" for name in sorted(self._loads))
        return f"<Toll {shares or 'nothing sent'}>"


class Tolls:
    """The toll of every policy with a cap, by the policy's name: it outlives a reload of the file."""

    __slots__ = ("_tolls",)

    def __init__(self) -> None:
        self._tolls: dict[str, Toll] = {}

    def of(self, policy: Policy) -> Toll | None:
        """The policy's toll; None where it has no cap."""
        rule = policy.cap
        if rule.share >= 1:
            return None
        toll = self._tolls.get(policy.name)
        if toll is None or toll.rule != rule:
            if len(self._tolls) >= MOST_POLICIES:
                self._tolls.clear()
            toll = self._tolls[policy.name] = Toll(rule)
        return toll

    def __repr__(self) -> str:
        return f"<Tolls {self._tolls}>"
