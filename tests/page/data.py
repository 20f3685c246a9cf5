"""The page's data, as its script gets it."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.gateway import Running

GUARD = 60.0  # seconds


async def data(running: Running) -> Any:
    response = await running.client.get("/page/model.json")
    assert response.status_code == 200
    return response.json()


async def until(running: Running, wanted: Callable[[Any], object]) -> Any:
    """The data as soon as it is as wanted; TimeoutError when it does not come to that."""
    async with asyncio.timeout(GUARD):
        while True:
            shown = await data(running)
            if wanted(shown):
                return shown
            await asyncio.sleep(0.05)
