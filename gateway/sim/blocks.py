"""One host's prompt cache, in blocks of a trace: a block lives `ttl` seconds after its last use.

prefix_hashes   a b c d e        each names the whole prefix up to the end of its block
alive           a b c            the run from the start is what the host need not read again
"""

from collections.abc import Sequence

BLOCK = 512  # tokens


class BlockCache:
    """As many blocks as a trace has: the trace bounds it."""

    __slots__ = ("_ttl", "_used")

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._used: dict[int, float] = {}

    def cached(self, hashes: Sequence[int], tokens: int, now: float) -> int:
        """How many of the `tokens` of this prompt are held at `now`, in seconds."""
        used, oldest, run = self._used, now - self._ttl, 0
        for block in hashes:
            if used.get(block, -1e18) < oldest:
                break
            run += 1
        return min(BLOCK * run, tokens)

    def read(self, hashes: Sequence[int], now: float) -> None:
        """The prompt is read: from here on its blocks are held."""
        self._used.update(dict.fromkeys(hashes, now))

    def __repr__(self) -> str:
        return f"<BlockCache {len(self._used)} blocks, ttl {self._ttl:g} s>"
