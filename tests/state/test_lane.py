"""What a store that fails costs requests, on a clock that jumps: the wait of each is bounded in sum, and few wait."""

import asyncio
from typing import Literal, cast

import pytest

from gateway.state.lane import LONGEST_PAUSE, PROBE_EVERY
from gateway.state.store import GET_WITHIN, Store
from gateway.state.store_connection import StoreConnection
from gateway.state.store_error import Command, ErrorReply, StoreError
from gateway.state.topology import Redirect, probe
from tests.support.jumping_loop import jumping

APART = 0.02  # seconds between two requests
ROUND_TRIP = 0.001
REPLY_WITHIN = 1.0  # as in `lane`, where `conftest` makes it longer
SPELL = 12.0  # seconds that a fault lasts
ALMOST = 1e-6  # seconds: sums of floats

Fault = Literal[
    "killed",  # connections are lost, new ones refused
    "hung",  # connections stay and new ones are accepted: SIGSTOP, or a proxy whose server is gone
    "cut off",  # nothing arrives any more: a power cut, a rule of a firewall
    "deaf",  # connections are lost, new ones are accepted and then hang
]


class Server:
    """A server of the store with its faults. Every key has the value `here`."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.changed = asyncio.Event()
        self.opened = 0

    def fail(self, fault: Fault | None) -> None:
        self.fault = fault
        self.changed.set()
        self.changed = asyncio.Event()

    async def open(self) -> "Connection":
        self.opened += 1
        if self.fault == "killed":
            raise StoreError("refused")
        if self.fault == "cut off":
            await asyncio.Event().wait()
        return Connection(self)


class Connection:
    """What `StoreConnection` is to a lane."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._replies: list[object] = []
        self._made = server.fault

    async def send(self, commands: list[Command]) -> None:
        self._replies += [one[2] if one[0] == "EVAL" else b"here" for one in commands]

    async def receive(self) -> object:
        deaf = self._made == "deaf"
        while self._server.fault in ("hung", "cut off") or deaf:
            await self._server.changed.wait()
            deaf = deaf and self._server.fault == "deaf"
        if self._server.fault is not None:
            raise StoreError("the store closed the connection")
        await asyncio.sleep(ROUND_TRIP)
        return self._replies.pop(0)

    async def ended(self) -> bool:
        return False

    def close(self) -> None:
        pass


class Servers:
    """A topology of two servers: a key is on the server that it begins with."""

    def __init__(self) -> None:
        self.named = {"1": Server(), "2": Server()}

    def servers(self) -> frozenset[str]:
        return frozenset(self.named)

    def owner(self, key: bytes) -> str:
        return key[:1].decode()

    async def load(self) -> None:
        pass

    async def open(self, server: str) -> StoreConnection:
        return cast(StoreConnection, await self.named[server].open())

    async def redirect(self, reply: ErrorReply, server: str) -> Redirect | None:
        return None

    def probe(self, server: str, key: bytes = b"") -> Command:
        return probe(b"probe")


class Traffic:
    """Requests at a steady rate. Each looks up reasoning, several texts at once, then an answer, as `Proxy` does."""

    def __init__(self, store: Store, reasoning: bytes = b"1", answer: bytes = b"1") -> None:
        self._store = store
        self._keys = [reasoning + b"a", reasoning + b"b", reasoning + b"c"], [answer + b"d"]
        self.waited: list[float] = []
        self.found: list[bool] = []

    async def run(self, seconds: float) -> None:
        self.waited, self.found = [], []
        async with asyncio.TaskGroup() as group:
            for _ in range(round(seconds / APART)):
                group.create_task(self._request())
                await asyncio.sleep(APART)

    async def _request(self) -> None:
        loop = asyncio.get_running_loop()
        began, found = loop.time(), []
        for keys in self._keys:
            found = await asyncio.gather(*map(self._value, keys))
        self.waited.append(loop.time() - began)
        self.found.append(found == [b"here"])

    def _value(self, key: bytes) -> "asyncio.Future[bytes | None]":
        value: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._store.get(key, value.set_result)
        return value

    @property
    def delayed(self) -> int:
        """Those that waited for longer than a store that works takes."""
        return sum(one > 4 * 2 * ROUND_TRIP for one in self.waited)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    found = Servers()

    async def find(_: object) -> Servers:
        return found

    monkeypatch.setattr("gateway.state.store.find", find)
    monkeypatch.setattr("gateway.state.lane.REPLY_WITHIN", REPLY_WITHIN)
    return found


async def up(store: Store) -> Store:
    store.start()
    while not store.healthy:
        await asyncio.sleep(ROUND_TRIP)
    return store


@pytest.mark.parametrize("fault", ["killed", "hung", "cut off", "deaf"])
def test_a_request_waits_for_a_dead_store_once_and_few_requests_do(servers: Servers, fault: Fault) -> None:
    async def main() -> None:
        store = await up(Store("redis+cluster://unused"))
        traffic = Traffic(store)
        await traffic.run(1.0)
        assert all(traffic.found)
        usual = max(traffic.waited)
        servers.named["1"].fail(fault)
        await traffic.run(SPELL)
        assert max(traffic.waited) <= usual + GET_WITHIN + ALMOST, "in sum, not for each lookup"
        assert traffic.delayed <= GET_WITHIN / APART + 1, "none once one lookup was not answered"
        assert not any(traffic.found[round(GET_WITHIN / APART) + 1 :])
        assert not store.healthy
        servers.named["1"].fail(None)
        await traffic.run(REPLY_WITHIN + LONGEST_PAUSE)
        assert max(traffic.waited) <= usual + GET_WITHIN + ALMOST
        await traffic.run(1.0)
        assert all(traffic.found)
        assert store.healthy
        await store.close()

    jumping(main())


@pytest.mark.parametrize("fault", ["killed", "hung", "cut off", "deaf"])
def test_a_server_that_is_dead_when_the_gateway_starts_delays_no_request(servers: Servers, fault: Fault) -> None:
    async def main() -> None:
        servers.named["1"].fail(fault)
        store = Store("redis+cluster://unused")
        store.start()
        traffic = Traffic(store)
        await traffic.run(SPELL)
        assert max(traffic.waited) <= ALMOST
        assert servers.named["1"].opened <= 2 * (2 + SPELL / LONGEST_PAUSE * 2), "it is left in peace meanwhile"
        await store.close()

    jumping(main())


def test_keys_of_another_server_do_not_wait_for_a_dead_one(servers: Servers) -> None:
    async def main() -> None:
        store = await up(Store("redis+cluster://unused"))
        traffic = Traffic(store, b"2", b"2")
        await traffic.run(1.0)
        servers.named["1"].fail("hung")
        others = Traffic(store)
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic.run(SPELL))
            group.create_task(others.run(SPELL))
        assert all(traffic.found)
        assert not traffic.delayed
        await store.close()

    jumping(main())


def test_two_servers_that_hang_at_once_cost_a_request_both_lookups_at_most(servers: Servers) -> None:
    async def main() -> None:
        store = await up(Store("redis+cluster://unused"))
        traffic = Traffic(store, b"1", b"2")
        await traffic.run(1.0)
        usual = max(traffic.waited)
        for server in servers.named.values():
            server.fail("hung")
        await traffic.run(SPELL)
        assert max(traffic.waited) <= usual + 2 * GET_WITHIN + ALMOST
        assert traffic.delayed <= 2 * GET_WITHIN / APART + 1
        await store.close()

    jumping(main())


def test_a_pause_of_the_server_is_over_with_its_first_reply(servers: Servers) -> None:
    """It stays connected, so the first request afterwards finds what it looks for."""

    async def main() -> None:
        store = await up(Store("redis+cluster://unused"))
        traffic = Traffic(store)
        await traffic.run(1.0)
        servers.named["1"].fail("hung")
        await traffic.run(PROBE_EVERY / 4)
        assert not any(traffic.found[round(GET_WITHIN / APART) + 1 :])
        servers.named["1"].fail(None)
        await asyncio.sleep(20 * ROUND_TRIP)
        await traffic.run(1.0)
        assert all(traffic.found)
        assert servers.named["1"].opened == 1
        await store.close()

    jumping(main())
