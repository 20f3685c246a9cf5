"""The conversations of a trace, identified by their first messages, and the endpoint to which each is pinned.

prefix_hashes   s t a b c        s and t are in very many requests: a system prompt
                s t d            a and d are the first blocks of two conversations
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from gateway.route.tracked_attempt import TrackedAttempt
from gateway.sim.workload import TraceRow
from gateway.types import Usage

COMMON = 0.05  # share of requests from which a block is part of a system prompt, and identifies no conversation
IDLE = 600.0  # seconds until a conversation's endpoint is forgotten


class Conversations:
    """Each is identified by the first block of its prompts that is not common, and pinned to the endpoint of its cache
    hit.

    It is pinned only where cached input is cheaper than input; answers there renew the pin, and a cache hit elsewhere
    moves it.
    """

    def __init__(self, rows: Sequence[TraceRow]) -> None:
        self._counts = Counter(name for row in rows for name in row.prefix_hashes)
        self._common = COMMON * len(rows)
        self._homes: dict[int, tuple[str, float]] = {}  # bounded by the trace

    def pinned(self, row: TraceRow, now: float) -> str | None:
        """The endpoint to which this request's conversation is pinned, if any."""
        endpoint, since = self._homes.get(self._name(row.prefix_hashes), (None, now))
        return endpoint if now - since < IDLE else None

    def answered(self, tried: TrackedAttempt, usage: Usage, now: float) -> None:
        """A successful attempt."""
        endpoint, price = tried.state.endpoint.id, tried.state.price
        name = self._name(name for name, _ in tried.request.prefix)
        known, _ = self._homes.get(name, (None, 0.0))
        cheaper = price.cached_input is not None and price.cached_input < price.input
        if name and (known == endpoint or (usage.cached > 0 and cheaper)):
            self._homes[name] = endpoint, now

    def _name(self, blocks: Iterable[int]) -> int:
        """The conversation's identifying block; 0 where the trace has no prefixes."""
        last = 0
        for last in blocks:
            if self._counts[last] < self._common:
                break
        return last

    def __repr__(self) -> str:
        return f"<Conversations, {len(self._homes)} with a home>"
