"""How tests end an asyncio server.

A connection that the loop has accepted gets its transport in a task of its own. Where the server is closed before that
task has begun, asyncio leaves the socket open, and a later test fails by a warning about it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STEPS = 4  # of the loop: transport, connection made, handler made, handler begun


async def stop(server: asyncio.Server) -> None:
    """Accept no more, let those that were accepted begin, and listen no more. Open connections stay."""
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    for _ in range(STEPS):
        await asyncio.sleep(0)
    server.close()


@asynccontextmanager
async def accepting(server: asyncio.Server) -> AsyncIterator[asyncio.Server]:
    """In place of `async with server`."""
    try:
        yield server
    finally:
        await stop(server)
        await server.wait_closed()
