"""One host's prompt cache, in blocks of a trace: a block expires `ttl` seconds after its last use.

prefix_hashes   a b c d e        each identifies the whole prefix up to the end of its block
in the cache    a b c            the host need not read this leading run again
"""

from collections.abc import Sequence

BLOCK = 512  # tokens


class BlockCache:
    """Unbounded, as the trace bounds the number of blocks."""

    __slots__ = ("_ttl", "_used")

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._used: dict[int, float] = {}

    def cached(self, hashes: Sequence[int], tokens: int, now: float) -> int:
        """How many of the `tokens` of this prompt are cached at `now`, in seconds."""
        used, oldest, run = self._used, now - self._ttl, 0
        for block in hashes:
            if used.get(block, -1e18) < oldest:
                break
            run += 1
        return min(BLOCK * run, tokens)

    def read(self, hashes: Sequence[int], now: float) -> None:
        """Caches the blocks of a prompt."""
        self._used.update(dict.fromkeys(hashes, now))

    def __repr__(self) -> str:
        return f"<BlockCache {len(self._used)} blocks, ttl {self._ttl:g} s>"
