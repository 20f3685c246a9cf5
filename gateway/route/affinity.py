"""Which endpoint was sent which prompt prefix, and when: the reason to come back to it.

A prompt is a list of (cumulative hash, tokens up to there), shortest first. An endpoint that was sent a prefix within
its cache's TTL probably still holds it.

Bounded by two halves: when the young one is full it becomes the old one, and what was in the old one is forgotten.
What was sent lately is in the young half, so the least recently used goes first, and no entry needs a place in a list.
All hashes of one prompt share their holders, which keeps the index at about 100 bytes a hash.
"""

from collections.abc import Mapping, Sequence

Prefix = Sequence[tuple[int, int]]
_Holders = tuple[tuple[str, float], ...]  # (endpoint, time of the last send), the latest first


class PrefixIndex:
    """Prefix hash -> who was sent it. Holds at most `limit` hashes, and at least the last `limit / 2`."""

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, limit: int = 200_000) -> None:
        self._half = limit // 2
        self._young: dict[int, _Holders] = {}
        self._old: dict[int, _Holders] = {}

    def sent(self, prefix: Prefix, endpoint: str, now: float) -> None:
        """Remembers that `endpoint` was sent this prompt."""
        alone = ((endpoint, now),)
        for digest, _ in prefix:
            if len(self._young) >= self._half:
                self._old, self._young = self._young, {}
            holders = self._holders(digest)
            others = holders and tuple(one for one in holders if one[0] != endpoint)
            self._young[digest] = alone + others if others else alone

    def matches(self, prefix: Prefix, ttls: Mapping[str, float], now: float) -> dict[str, int]:
        """Tokens of this prompt that each endpoint was sent within its TTL; endpoints without a match are absent."""
        found: dict[str, int] = {}
        for digest, tokens in prefix:
            holders = self._holders(digest)
            if not holders:
                break  # cumulative: a longer prefix cannot be known either
            for endpoint, at in holders:
                if now - at < ttls.get(endpoint, 0.0):
                    found[endpoint] = tokens
        return found

    def _holders(self, digest: int) -> _Holders:
        return self._young.get(digest) or self._old.get(digest) or ()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)  # a hash in both counts twice

    def __repr__(self) -> str:
        return f"<PrefixIndex {len(self)}/{2 * self._half}>"
