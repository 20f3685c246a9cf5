"""Real stores for tests: Valkey as the gateway embeds it, and the machine's redis-server where there is one."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from gateway.keys.key_store import RECORDS, VERSION
from gateway.state.embedded import EmbeddedStore
from gateway.state.folder import StateFolder
from gateway.state.store import Store
from tests.support.programs import needs


@contextmanager
def running(path: Path, binary: Path | None = None) -> Iterator[str]:
    """A store of its own below `path`; gives its URL."""
    folder = StateFolder(path)
    folder.open()
    server = EmbeddedStore(folder, binary)
    try:
        yield server.start()
    finally:
        server.stop()
        folder.close()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey that the tests of one folder share: use keys of your own."""
    with running(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture(autouse=True)
def _no_virtual_keys_are_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A gateway of another test that finds virtual keys in its store refuses requests without one."""
    yield
    if "valkey" in request.fixturenames:
        with redis.Redis.from_url(request.getfixturevalue("valkey")) as client:
            client.delete(RECORDS, VERSION)


@pytest.fixture(scope="session", params=["valkey", "redis-server"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of each engine that is to be had."""
    binary = Path(needs("redis-server")) if request.param == "redis-server" else None
    with running(tmp_path_factory.mktemp(request.param), binary) as url:
        yield url


@pytest.fixture
def client(engine: str) -> Iterator[redis.Redis]:
    """Another client of the same server, to see what is really there."""
    with redis.Redis.from_url(engine) as client:
        client.flushdb()
        yield client


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds; TimeoutError after ten seconds."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


async def ask(store: Store, key: bytes) -> bytes | None:
    answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    store.get(key, answer.set_result)
    async with asyncio.timeout(60):
        return await answer
