"""The verdict of each range, from the history in the store, made at most once a minute.

history of a range ──now, before──> verdict() ──> sentences by range
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.page.verdict import Window, verdict

SPANS = {"1h": "hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
FRESH = 60.0  # seconds
WITHIN = 2.0  # seconds; then the page goes without a verdict, and has it a minute later

ReadHistory = Callable[
    [str, str], Awaitable[Mapping[str, Any]]
]  # model, range -> history.json; OSError without a store
Sentences = dict[str, list[str]]


class Verdicts:
    """`history` reads what the verdict is about; `clock` is in seconds."""

    def __init__(self, history: ReadHistory, clock: Callable[[], float] = time.monotonic) -> None:
        self._history = history
        self._clock = clock
        self._made: dict[str, tuple[float, Sentences]] = {}  # by model: when
        self._making = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Verdicts of {len(self._made)} models>"

    async def of(self, model: str) -> Sentences:
        """By range; empty while the store cannot be reached."""
        async with self._making:
            made_at, made = self._made.get(model, (float("-inf"), {}))
            if self._clock() - made_at >= FRESH:
                try:
                    async with asyncio.timeout(WITHIN):
                        made = {name: judged(await self._history(model, name), span) for name, span in SPANS.items()}
                except OSError:
                    made = {}
                self._made[model] = self._clock(), made
        return made


def judged(history: Mapping[str, Any], span: str) -> list[str]:
    """The sentences about one range; `history` as in history.json."""
    total, before = history["all"]["total"], history["all"]["before"]
    endpoints = {name: Window(one["total"], one["before"]) for name, one in history["endpoints"].items()}
    return verdict(total, before, endpoints, span)
