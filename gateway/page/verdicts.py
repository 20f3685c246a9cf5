"""The verdict of each range, from the history in the store, made at most once a minute.

history of a range ──now, before──> verdict() ──> sentences by range
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.page.verdict import TwoWindows, verdict

SPANS = {"1h": "hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
FRESH = 60.0  # seconds
WITHIN = 2.0  # seconds to wait for the first one; then the page goes without

ReadHistory = Callable[
    [str, str], Awaitable[Mapping[str, Any]]
]  # model, range -> history.json; OSError without a store
Sentences = dict[str, list[str]]
_NEVER: tuple[float, Sentences] = (float("-inf"), {})


class Verdicts:
    """`history` reads what the verdict is about; `clock` is in seconds. Its owner closes it."""

    def __init__(self, history: ReadHistory, clock: Callable[[], float] = time.monotonic) -> None:
        self._history = history
        self._clock = clock
        self._made: dict[str, tuple[float, Sentences]] = {}  # by model: when
        self._reading: dict[str, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"<Verdicts of {len(self._made)} models>"

    async def of(self, model: str) -> Sentences:
        """By range, about a minute old at most; empty while the store has not replied, or cannot be reached."""
        made_at, made = self._made.get(model, _NEVER)
        if self._clock() - made_at >= FRESH:
            if model not in self._reading:
                self._reading[model] = asyncio.ensure_future(self._read(model))
            await asyncio.wait({self._reading[model]}, timeout=0 if made else WITHIN)
        return self._made.get(model, _NEVER)[1]

    def close(self) -> None:
        for reading in self._reading.values():
            reading.cancel()

    async def _read(self, model: str) -> None:
        made = {}
        try:
            made = {name: judged(await self._history(model, name), span) for name, span in SPANS.items()}
        except OSError:
            pass  # it is read again in a minute
        finally:
            self._made[model] = self._clock(), made
            del self._reading[model]


def judged(history: Mapping[str, Any], span: str) -> list[str]:
    """The sentences about one range; `history` as in history.json."""
    total, before = history["all"]["total"], history["all"]["before"]
    endpoints = {name: TwoWindows(one["total"], one["before"]) for name, one in history["endpoints"].items()}
    return verdict(total, before, endpoints, span)
