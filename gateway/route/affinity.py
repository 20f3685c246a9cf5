"""Which endpoint was sent which prompt prefix, and when: the reason to come back to it.

A prompt is a list of (cumulative hash, tokens up to there), shortest first. An endpoint that was sent a prefix within
its cache's TTL probably still holds it. Bounded: the least recently used prefixes go first.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

Prefix = Sequence[tuple[int, int]]


class PrefixIndex:
    """Prefix hash -> endpoint -> time of the last send."""

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._seen: OrderedDict[int, dict[str, float]] = OrderedDict()

    def sent(self, prefix: Prefix, endpoint: str, now: float) -> None:
        """Remembers that `endpoint` was sent this prompt."""
        seen = self._seen
        for digest, _ in prefix:
            holders = seen.get(digest)
            if holders is None:
                seen[digest] = {endpoint: now}
            else:
                holders[endpoint] = now
                seen.move_to_end(digest)
        while len(seen) > self._limit:
            seen.popitem(last=False)

    def matches(self, prefix: Prefix, ttls: Mapping[str, float], now: float) -> dict[str, int]:
        """Tokens of this prompt that each endpoint was sent within its TTL; endpoints without a match are absent."""
        found: dict[str, int] = {}
        for digest, tokens in prefix:
            holders = self._seen.get(digest)
            if holders is None:
                break  # cumulative: a longer prefix cannot be known either
            for endpoint, at in holders.items():
                if now - at <= ttls.get(endpoint, 0.0):
                    found[endpoint] = tokens
        return found

    def __len__(self) -> int:
        return len(self._seen)

    def __repr__(self) -> str:
        return f"<PrefixIndex {len(self._seen)}/{self._limit}>"
