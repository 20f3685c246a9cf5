"""uvicorn's server in a worker: takes new configurations while it serves.

news ── on_tick, ten times a second ──> adopt(news): one after the other, in a task
"""

import asyncio
import logging
from collections import deque
from typing import Any

import uvicorn

ADOPT = "adopt"  # key in the lifespan state: the coroutine function that takes a configuration

_log = logging.getLogger("gateway")


class WorkerServer(uvicorn.Server):
    """`news` are configurations that were read again; any thread may append."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.news: deque[Any] = deque()
        self._adopting: asyncio.Task[None] | None = None

    async def on_tick(self, counter: int) -> bool:
        if self.news and (self._adopting is None or self._adopting.done()):
            self._adopting = asyncio.create_task(self._adopt())
        return await super().on_tick(counter)

    async def _adopt(self) -> None:
        while self.news:
            await self.lifespan.state[ADOPT](self.news.popleft())
