"""What is known about prompt caches: which endpoint probably holds how much of a prompt, and what that is worth.

    hit = matched / prompt x hit rate         the expected cached share of a prompt at one endpoint

    matched     PrefixIndex    tokens of the prompt that the endpoint was sent within its cache's TTL
    hit rate    HitRate        the share of matched tokens that its usage confirms as cached, learned per endpoint
    re-reads    Rereads        how often a token is sent again, learned per kind of request, the same for all endpoints

A prompt is a list of (cumulative hash, tokens up to there), shortest first. The index is a radix tree. Hashes that were
always sent together are one stretch, which has its endpoints once:

    1 2 3 ──┬── 4 5 6 7          stretch      1 2 3     4 5 6 7     8 9
            └── 8 9              endpoints    a, b      a           b

Each hash covers everything before it, so the first hash of a stretch is enough to find it. A turn of a conversation
touches the few stretches that its prompt consists of, however long they are, and lengthens the last of them.

Bounded as two generations: when the young one is full it becomes the old one, and the former old one is dropped.
What was sent lately is in the young half, so the least recently used goes first, and no entry needs a place in a list.
"""

from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import exp2

from gateway.route.trend import Estimate

Prefix = Sequence[tuple[int, int]]
LIMIT = 32 * 2**20  # bytes
STRETCH_BYTES = 512  # about, without its hashes
HASH_BYTES = 8
HIT_RATE = 0.9  # before any usage, for a host that declares a cache
HIT_RATE_SAMPLES = 2.0  # that this counts for
REREADS = 1.0  # by public statistics: half of what hosts of this model are sent was sent before
REREADS_TOKENS = 1_000_000.0  # that this counts for
REREADS_HALF_LIFE = 3_600.0  # seconds


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
        """An endpoint was sent it. Timestamps from other workers may be older than ours."""
        if self.endpoints.get(endpoint, now) <= now:
            self.endpoints[endpoint] = now

    def is_only_sent(self, endpoint: str, now: float) -> bool:
        """Whether nothing else than this send is known of it."""
        return len(self.endpoints) == 1 and self.endpoints.get(endpoint) == now

    def __repr__(self) -> str:
        return f"<Stretch of {len(self.hashes)} sent to {self.endpoints}>"


class PrefixIndex:
    """Prefix hash -> endpoints that were sent it. Takes about `limit` bytes at most, and keeps at least the last half
    of that."""

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
        """Moves a stretch that was used to the young half."""
        first = stretch.hashes[0]
        if first not in self._young:
            self._old.pop(first, None)
            self._keep(stretch)

    def _keep(self, stretch: Stretch) -> None:
        self._young[stretch.hashes[0]] = stretch
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
        self._keep(Stretch(hashes, {endpoint: now}, True))

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __repr__(self) -> str:
        return f"<PrefixIndex of {len(self)} stretches>"


class HitRate:
    """Of the tokens that an endpoint was sent before, the share that its usage confirms as cached.

    Two memories, as of every share: minutes, and three hours (`trend.py`).
    """

    __slots__ = ("shares",)

    def __init__(self) -> None:
        self.shares = Estimate(recent=180.0, most=30.0, usual=3 * 3_600.0, strength=HIT_RATE_SAMPLES)

    def add(self, expected: float, cached: float, now: float) -> None:
        """Usage reported `cached` of a prompt, of which `expected` (over 0) was sent before; both as shares of it.

        Shares, not tokens: what was sent before is estimated, what was cached is counted.
        """
        self.shares.add(min(1.0, cached / min(1.0, expected)), now)

    def probability(self, now: float) -> float:
        """That a token which was sent before is cached."""
        return self.shares.share(now, HIT_RATE, HIT_RATE_SAMPLES)

    def __repr__(self) -> str:
        return f"<HitRate {self.shares!r}>"


class Rereads:
    """Re-reads of one kind of request: tokens that were sent before / tokens that were not.

    A token that is sent for the first time is usually read `usual` times more, in the next turns of its conversation.
    That is what the choice of its endpoint is about where cached input is cheaper. It fades back to `REREADS`.
    """

    __slots__ = ("_again", "_at", "_fresh", "usual")

    def __init__(self) -> None:
        self.usual = REREADS
        self._again = self._fresh = self._at = 0.0

    def add(self, prompt: float, known: float, now: float) -> None:
        """A prompt was sent of which some endpoint has `known` tokens already."""
        if now > self._at:
            keep = exp2((self._at - now) / REREADS_HALF_LIFE)
            self._again *= keep
            self._fresh *= keep
            self._at = now
        known = min(known, prompt)
        self._again += known
        self._fresh += prompt - known
        self.usual = (self._again + REREADS * REREADS_TOKENS) / (self._fresh + REREADS_TOKENS)

    def __repr__(self) -> str:
        return f"<Rereads {self.usual:.2f}>"
