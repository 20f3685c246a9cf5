"""Background tasks that run for a worker's lifetime. A task that ends is restarted, with exponential backoff.

keep(name, work) ──> work() ──raises, or returns──> logged, counted, reported as failing ──backoff──> work() ...
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.state.conditions import Conditions

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds


class Background:
    """One worker's tasks, named as in `conditions.TASKS`."""

    def __init__(self, conditions: Conditions, pause: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._conditions = conditions
        self._pause = pause
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._traced: set[tuple[str, type[Exception]]] = set()

    def __repr__(self) -> str:
        return f"<Background: {', '.join(self._tasks)}>"

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` until `stop`, in place of the task of that name. A run longer than LONGEST_PAUSE resets the
        backoff."""
        self.drop(name)
        self._tasks[name] = asyncio.create_task(self._keep(name, work), name=name)

    def drop(self, name: str) -> None:
        """Ends the task of that name, if there is one."""
        if (task := self._tasks.pop(name, None)) is not None:
            task.cancel()

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        wait = FIRST_PAUSE
        while True:
            began = loop.time()
            try:
                await work()
                ended: Exception = RuntimeError("the task returned")
            except Exception as error:
                ended = error
            self._conditions.failed(f"task {name}", ended, trace=(name, type(ended)) not in self._traced)
            self._traced.add((name, type(ended)))  # one traceback per kind of error
            wait = FIRST_PAUSE if loop.time() - began > LONGEST_PAUSE else wait
            await self._pause(wait)
            wait = min(2 * wait, LONGEST_PAUSE)
            self._conditions.works(f"task {name}")
