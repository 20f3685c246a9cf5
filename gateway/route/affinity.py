"""Which endpoint was sent which prompt prefix, and when: the reason to come back to it.

A prompt is a list of (cumulative hash, tokens up to there), shortest first. An endpoint that was sent a prefix within
its cache's TTL probably still holds it.

Bounded by two halves: when the young one is full it becomes the old one, and what was in the old one is forgotten.
What was sent lately is in the young half, so the least recently used goes first, and no entry needs a place in a list.

Hashes of one prompt that were sent to the same endpoints share their holders, so that holders are looked at once for
each stretch of a prompt, and the index takes about 100 bytes a hash:

    hash      1   2   3   4   5   6   7
    holders   └─ a, b, c ─┘   └─ a ─┘  unknown
"""

from collections.abc import Mapping, Sequence

Prefix = Sequence[tuple[int, int]]
_Holders = tuple[tuple[str, float], ...]  # (endpoint, time of the last send), the last told first


class PrefixIndex:
    """Prefix hash -> who was sent it. Holds at most `limit` hashes, and at least the last `limit / 2`."""

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, limit: int = 200_000) -> None:
        self._half = limit // 2
        self._young: dict[int, _Holders] = {}
        self._old: dict[int, _Holders] = {}

    def sent(self, prefix: Prefix, endpoint: str, now: float) -> None:
        """Remembers that `endpoint` was sent this prompt. Others' news may be older than what is known."""
        alone: _Holders = ((endpoint, now),)
        before, after = None, alone
        young, old = self._young, self._old
        for digest, _ in prefix:
            if len(young) >= self._half:
                old, young = young, {}
                self._old, self._young = old, young
            holders = young.get(digest) or old.get(digest)
            if holders is not before:
                before = holders
                after = _joined(alone[0], holders) if holders else alone
            young[digest] = after

    def matches(self, prefix: Prefix, ttls: Mapping[str, float], now: float) -> dict[str, int]:
        """Tokens of this prompt that each endpoint was sent within its TTL; endpoints without a match are absent."""
        found: dict[str, int] = {}
        stretch: _Holders = ()
        reach = 0  # tokens to the end of the stretch
        young, old = self._young, self._old
        for digest, tokens in prefix:
            holders = young.get(digest) or old.get(digest)
            if not holders:
                break  # cumulative: a longer prefix cannot be known either
            if holders is not stretch:
                _reached(found, stretch, reach, ttls, now)
                stretch = holders
            reach = tokens
        _reached(found, stretch, reach, ttls, now)
        return found

    def __len__(self) -> int:
        return len(self._young) + len(self._old)  # a hash in both counts twice

    def __repr__(self) -> str:
        return f"<PrefixIndex {len(self)}/{2 * self._half}>"


def _joined(last: tuple[str, float], holders: _Holders) -> _Holders:
    """`holders` and the endpoint that was told last, at the latest time that is known of it."""
    others: list[tuple[str, float]] = []
    for one in holders:
        if one[0] != last[0]:
            others.append(one)
        elif one[1] > last[1]:
            last = one
    return (last, *others)


def _reached(found: dict[str, int], holders: _Holders, tokens: int, ttls: Mapping[str, float], now: float) -> None:
    """Writes down that those of `holders` whose cache lives hold that many tokens."""
    for endpoint, at in holders:
        if now - at < ttls.get(endpoint, 0.0):
            found[endpoint] = tokens
