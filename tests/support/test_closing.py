import asyncio
import gc
import socket
import warnings

import pytest

from tests.support.closing import accepting


async def _late(steps: int) -> None:
    """A client comes while the server ends."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    with socket.socket() as client:
        async with accepting(server):
            client.connect(server.sockets[0].getsockname())
            for _ in range(steps):
                await asyncio.sleep(0)


@pytest.mark.parametrize("steps", range(6))
def test_a_connection_of_the_last_moment_leaves_no_socket_open(steps: int) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        asyncio.run(_late(steps))
        gc.collect()
    assert [str(one.message) for one in told] == []
