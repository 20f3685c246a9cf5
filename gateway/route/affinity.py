"""Which endpoint was sent which prompt prefix, and when: the reason to come back to it.

A prompt is a list of (cumulative hash, tokens up to there), shortest first. An endpoint that was sent a prefix within
its cache's TTL probably still holds it.

The index is a radix tree. Hashes that were always sent together are one stretch, which has its endpoints once:

    1 2 3 ──┬── 4 5 6 7          stretch      1 2 3     4 5 6 7     8 9
            └── 8 9              endpoints    a, b      a           b

A hash names everything in front of it, so the first hash of a stretch is enough to find it. A turn of a conversation
touches the few stretches that its prompt consists of, however long they are, and lengthens the last of them.

Bounded by two halves: when the young one is full it becomes the old one, and what was in the old one is forgotten.
What was sent lately is in the young half, so the least recently used goes first, and no entry needs a place in a list.
"""

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence

Prefix = Sequence[tuple[int, int]]
LIMIT = 32 * 2**20  # bytes
STRETCH_BYTES = 512  # about, without its hashes
HASH_BYTES = 8


class Stretch:
    """Hashes that follow each other; `endpoints` were sent all of them: name -> time of the last send, in seconds."""

    __slots__ = ("endpoints", "hashes", "is_last")

    def __init__(self, hashes: "array[int]", endpoints: dict[str, float], is_last: bool) -> None:
        self.hashes = hashes
        self.endpoints = endpoints
        self.is_last = is_last  # whether no stretch follows it

    def common(self, prefix: Prefix, at: int) -> int:
        """How many of its hashes the prompt has from place `at` on, where its first one is."""
        hashes = self.hashes
        most = min(len(hashes), len(prefix) - at)
        if hashes[most - 1] == prefix[at + most - 1][0]:
            return most  # cumulative: so are all before it
        return bisect_left(range(most), True, 1, key=lambda place: hashes[place] != prefix[at + place][0])

    def sent(self, endpoint: str, now: float) -> None:
        """An endpoint was sent it. Others' news may be older than what is known."""
        if self.endpoints.get(endpoint, now) <= now:
            self.endpoints[endpoint] = now

    def is_only_sent(self, endpoint: str, now: float) -> bool:
        """Whether nothing else than this send is known of it."""
        return len(self.endpoints) == 1 and self.endpoints.get(endpoint) == now

    def __repr__(self) -> str:
        return f"<Stretch of {len(self.hashes)} sent to {self.endpoints}>"


class PrefixIndex:
    """Prefix hash -> who was sent it. Takes about `limit` bytes at most, and keeps at least the last `limit / 2`."""

    __slots__ = ("_half", "_old", "_size", "_young")

    def __init__(self, limit: int = LIMIT) -> None:
        self._half = limit // 2
        self._young: dict[int, Stretch] = {}  # by their first hash
        self._old: dict[int, Stretch] = {}
        self._size = 0  # bytes of the young half

    def sent(self, prefix: Prefix, endpoint: str, now: float) -> None:
        """Remembers that `endpoint` was sent this prompt. Hashes are below 2^64."""
        if self._size >= self._half:
            self._old, self._young, self._size = self._young, {}, 0
        at, last = 0, None
        while at < len(prefix) and (stretch := self._found(prefix[at][0])) is not None:
            common = stretch.common(prefix, at)
            at += common
            if common < len(stretch.hashes):
                stretch = self._split(stretch, common)
            self._touch(stretch)
            stretch.sent(endpoint, now)
            last = stretch
        if at < len(prefix):
            self._add(array("Q", [digest for digest, _ in prefix[at:]]), last, endpoint, now)

    def matches(self, prefix: Prefix, ttls: Mapping[str, float], now: float) -> dict[str, int]:
        """Tokens of this prompt that each endpoint was sent within its TTL; endpoints without a match are absent."""
        found: dict[str, int] = {}
        at = 0
        while at < len(prefix) and (stretch := self._found(prefix[at][0])) is not None:
            common = stretch.common(prefix, at)
            at += common
            tokens = prefix[at - 1][1]
            for endpoint, sent_at in stretch.endpoints.items():
                if now - sent_at < ttls.get(endpoint, 0.0):
                    found[endpoint] = tokens
            if common < len(stretch.hashes):
                break  # cumulative: a longer prefix cannot be known either
        return found

    def _found(self, digest: int) -> Stretch | None:
        return self._young.get(digest) or self._old.get(digest)

    def _touch(self, stretch: Stretch) -> None:
        """It is in use: it belongs in the young half."""
        first = stretch.hashes[0]
        if first not in self._young:
            self._old.pop(first, None)
            self._young[first] = stretch
            self._size += STRETCH_BYTES + HASH_BYTES * len(stretch.hashes)

    def _split(self, stretch: Stretch, count: int) -> Stretch:
        """The first `count` hashes of a stretch as one of their own. The rest stays where it is."""
        head = Stretch(stretch.hashes[:count], dict(stretch.endpoints), is_last=False)
        half = self._young if head.hashes[0] in self._young else self._old
        stretch.hashes = stretch.hashes[count:]
        half[head.hashes[0]] = head
        half[stretch.hashes[0]] = stretch
        if half is self._young:
            self._size += STRETCH_BYTES
        return head

    def _add(self, hashes: "array[int]", last: Stretch | None, endpoint: str, now: float) -> None:
        """Hashes that were not known follow `last`, which was just sent."""
        if last is not None and last.is_last and last.is_only_sent(endpoint, now):
            last.hashes.extend(hashes)
            self._size += HASH_BYTES * len(hashes)
            return
        if last is not None:
            last.is_last = False
        self._touch(Stretch(hashes, {endpoint: now}, is_last=True))

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __repr__(self) -> str:
        return f"<PrefixIndex of {len(self)} stretches>"
