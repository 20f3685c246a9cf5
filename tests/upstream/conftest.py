"""Fixtures of the transport's tests. Modules that say `LOOPS = {name: factory}` run on each of those event loops."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest

from gateway.upstream.transport.pool import Origin
from gateway.upstream.transport.transport import Call, Transport
from tests.support.host import ScriptedHost
from tests.upstream.recorder import Recorder, Send, start


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    assert isinstance(item, pytest.Function)
    factories: Mapping[str, Callable[[], asyncio.AbstractEventLoop]]
    factories = getattr(item.module, "LOOPS", {"asyncio": asyncio.new_event_loop})
    return factories


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()
    await asyncio.sleep(0)  # lets the sockets close


@pytest.fixture
def send(transport: Transport) -> Send:
    def send(host: ScriptedHost, body: bytes = b"{}", via: Transport = transport) -> tuple[Recorder, Call]:
        return start(via, Origin.from_url(host.url), Recorder(), body)

    return send
