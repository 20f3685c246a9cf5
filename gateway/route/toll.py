"""Keeps every endpoint to its share of a policy's tokens: by a toll, and where that is too slow, by a limit.

    sent ─┬─> tokens above its share ──────> rates     USD per token: up while above, down while below, never under 0
          └─> tokens in the window ────────> full      more than its share of them and the slack besides

The toll is added to what a request costs at the endpoint. It settles where the endpoint gets as much as it may take, so
that the requests which lose least move elsewhere, and the limit, which turns away any request at the wrong moment,
is hardly ever reached. When it is, the last of the slack is for prompts that the endpoint has in its cache.

A token's weight decays exponentially with the time constant `window`. A window that is much longer than
the run counts everything so far.

A cap holds over all workers that share a store: each publishes what it sent itself (`own`) and adds what the others
sent (`merge`). Limits count the sum. Tolls follow it, too: they change with each of the worker's own requests, and at a
merge with what the others sent since the last one. A newcomer begins with the tolls of the worker that sent most.
"""

from collections.abc import Mapping, Sequence
from math import exp

import msgspec

from gateway.route.posted import Posted
from gateway.types import Cap, Policy

SLACK_TOKENS = 500_000.0  # tokens above its share that an endpoint may have,
SLACK_REQUESTS = 20.0  # or requests of the usual size, whichever is more
FOR_NEW = 0.8  # part of the slack that new prompts may fill
TOLL_REQUESTS = 50.0  # requests above its share, of the usual size, for which the toll is what a token usually costs
MOST = 4.0  # times what a token usually costs, that a toll may be
USUAL_OVER = 500.0  # requests that count for what is usual
MOST_POLICIES = 256
_LARGEST = 40.0  # windows, until weights are scaled down


class TokenCounts(msgspec.Struct, frozen=True):
    """What one worker sent to each endpoint under one policy: tokens in the window, and what it takes for the toll.

    `above` are tokens above the share, of all workers; `size` (tokens) and `usd` are those of a usual request.
    """

    rule: Cap
    tokens: Mapping[str, float]
    above: Mapping[str, float]
    size: float
    usd: float


class Toll:
    """What was sent to each endpoint under one policy, and the price of sending more.

    `rates` has the toll in USD per token of the endpoints that have one.
    """

    __slots__ = ("_above", "_base", "_loads", "_others", "_own", "_seen", "_size", "_total", "_usd", "rates", "rule")

    def __init__(self, rule: Cap) -> None:
        self.rule = rule
        self.rates: dict[str, float] = {}
        self._above: dict[str, float] = {}  # tokens above the share, never under 0
        self._own: dict[str, float] = {}  # tokens that this worker sent, each weighing more than the one before
        self._loads: dict[str, float] = {}  # the same of all workers
        self._total = 0.0  # of them
        self._others: dict[bytes, tuple[float, Mapping[str, float]]] = {}  # when written, and tokens then
        self._base = 0.0  # when a token weighs 1
        self._seen = 0.0  # requests, at most as many as count
        self._size = 0.0  # tokens of the usual request
        self._usd = 0.0  # what it costs

    def sent(self, endpoint: str, tokens: float, usd: float, now: float) -> None:
        """Records a request to `endpoint`: its tokens, expected output included, and what it costs without the toll."""
        weighted = tokens * self._weight(now)
        self._own[endpoint] = self._own.get(endpoint, 0.0) + weighted
        self._loads[endpoint] = self._loads.get(endpoint, 0.0) + weighted
        self._total += weighted
        self._seen = min(self._seen + 1, USUAL_OVER)
        self._size += (tokens - self._size) / self._seen
        self._usd += (usd - self._usd) / self._seen
        self._raise({endpoint: tokens}, tokens)

    def corrected(self, endpoint: str, tokens: float, sent_at: float) -> None:
        """A request `sent_at` that time turned out to have `tokens` tokens more."""
        weighted = tokens * exp((sent_at - self._base) / self.rule.window)
        weighted = max(weighted, -self._own[endpoint])
        self._own[endpoint] += weighted
        self._loads[endpoint] += weighted
        self._total += weighted

    def full(self, tokens: float, now: float, part: float = 1.0) -> list[str]:
        """Endpoints that `tokens` more tokens would put above their share and `part` of the slack."""
        weight = self._weight(now)
        slack = part * max(SLACK_TOKENS, SLACK_REQUESTS * self._size)
        limit = self.rule.share * (self._total + tokens * weight) + (slack - tokens) * weight
        return [name for name, load in self._loads.items() if load > limit]

    def share(self, endpoint: str) -> float:
        """Its share of all tokens in the window."""
        return self._loads.get(endpoint, 0.0) / self._total if self._total else 0.0

    # what workers share

    def own(self, now: float) -> TokenCounts:
        """What this worker sent, for others."""
        weight = self._weight(now)
        tokens = {name: load / weight for name, load in self._own.items()}
        return TokenCounts(self.rule, tokens, self._above, self._size, self._usd)

    def merge(self, others: Sequence[Posted[TokenCounts]], now: float) -> None:
        """Takes what each other worker sent under this rule, in place of what was known of them."""
        weight, window = self._weight(now), self.rule.window
        others = [one for one in others if one.value.rule == self.rule]
        if others and not self._others:
            self._begin(max(others, key=_most_sent).value)
        added: dict[str, float] = {}
        loads = dict(self._own)
        for one in others:
            written, before = self._others.get(one.worker, (one.written, one.value.tokens))
            kept, weighs = exp(min(0.0, written - one.written) / window), weight * exp(-one.age / window)
            for name, tokens in one.value.tokens.items():
                added[name] = added.get(name, 0.0) + tokens - before.get(name, 0.0) * kept
                loads[name] = loads.get(name, 0.0) + tokens * weighs
        self._loads, self._total = loads, sum(loads.values())
        self._others = {one.worker: (one.written, one.value.tokens) for one in others}
        self._raise(added, sum(added.values()))

    def _begin(self, load: TokenCounts) -> None:
        """With the tolls of another worker, where they are higher."""
        self._above = self._above | {name: max(more, self._above.get(name, 0.0)) for name, more in load.above.items()}
        if not self._seen:
            self._seen, self._size, self._usd = 1.0, load.size, load.usd

    def _raise(self, added: Mapping[str, float], total: float) -> None:
        """Raises the toll of the endpoints to which these tokens went and lowers all others, in proportion."""
        size = max(1.0, self._size)
        scale = TOLL_REQUESTS * size  # tokens
        due = self.rule.share * total
        above = {name: more - due for name, more in self._above.items() if more > due or name in added}
        for name, tokens in added.items():
            more = above.get(name, -due) + tokens
            if more > 0:
                above[name] = min(more, MOST * scale)
            else:
                above.pop(name, None)
        usual = self._usd / size / scale  # USD per token
        self._above = above
        self.rates = {name: usual * more for name, more in above.items()}

    def _weight(self, now: float) -> float:
        """What a token of this moment weighs."""
        windows = (now - self._base) / self.rule.window
        if windows < _LARGEST:
            return exp(windows)
        keep = exp(-windows)  # 0 after a very long silence
        self._own = {name: load * keep for name, load in self._own.items()}
        self._loads = {name: load * keep for name, load in self._loads.items()}
        self._total = sum(self._loads.values())
        self._base = now
        return 1.0

    def __repr__(self) -> str:
        shares = " ".join(f"{name}={self.share(name):.0%}" for name in sorted(self._loads))
        return f"<Toll {shares or 'nothing sent'}>"


def _most_sent(one: Posted[TokenCounts]) -> tuple[float, bytes]:
    return sum(one.value.tokens.values()), one.worker


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
                del self._tolls[next(iter(self._tolls))]  # the oldest
            toll = self._tolls[policy.name] = Toll(rule)
        return toll

    @property
    def policies(self) -> list[str]:
        return list(self._tolls)

    def own(self, now: float) -> dict[str, TokenCounts]:
        """What this worker sent under each policy, for others."""
        loads = {name: toll.own(now) for name, toll in self._tolls.items()}
        return {name: load for name, load in loads.items() if load.tokens}

    def merge(self, policy: str, others: Sequence[Posted[TokenCounts]], now: float) -> None:
        """Takes what each other worker sent under this policy, in place of what was known of them.

        A policy that this worker has not served yet gets its toll, so that the first request knows of the others.
        """
        toll = self._tolls.get(policy)
        if toll is None and others and len(self._tolls) < MOST_POLICIES:
            toll = self._tolls[policy] = Toll(others[0].value.rule)
        if toll is not None:
            toll.merge(others, now)

    def __repr__(self) -> str:
        return f"<Tolls {self._tolls}>"
