"""A master of the store dies under 200 requests a second: no request fails, and the books are complete afterwards."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.gateway import Running, gateway_command
from tests.support.host import ScriptedHost, answers, completion, usage
from tests.support.store_servers import sentinel_set, store_cluster

APART, MOST = 0.005, 50  # seconds between two requests; requests at once
COST = (100 * 0.25 + 5 * 0.5) / 1e6  # USD of an answer, by the hosts' prices in `write_config`
GOOD = answers(200, completion("hello", used=usage(100, 5)))
Kill = Callable[[], None]


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, Kill]]:
    """The node that dies has the books."""
    with store_cluster(folder) as servers:
        yield servers.url, lambda: servers.owner("gw:{books}:rows").kill()


@contextmanager
def sentinels(folder: Path) -> Iterator[tuple[str, Kill]]:
    with sentinel_set(folder) as servers:
        yield servers.url, servers.master.kill


class Traffic:
    """Requests at a steady rate, while no more than `MOST` are under way: every second one looks for one of 10 answers
    in the store."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self.sent = 0
        self.statuses: list[int] = []
        self.cached = 0

    async def run_until(self, over: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                if self.sent - len(self.statuses) < MOST:
                    group.create_task(self._ask(self.sent))
                    self.sent += 1
                await asyncio.sleep(APART)

    async def _ask(self, number: int) -> None:
        headers = {"x-gateway-cache": "on"} if number % 2 else {}
        response = await self._running.chat(f"question {number % 20}", headers=headers)
        self.statuses.append(response.status_code)
        self.cached += response.headers.get("x-gateway-cache") == "hit"


async def ready(running: Running, store: str) -> None:
    async with asyncio.timeout(120):
        while (await running.client.get("/health/ready")).json()["store"] != store:
            await asyncio.sleep(0.02)


async def spent(running: Running) -> float:
    return float((await running.client.get("/api/v1/key")).json()["data"]["usage"])


@pytest.mark.parametrize("kind", [cluster, sentinels])
async def test_no_request_fails_and_the_books_are_complete(
    kind: Callable[[Path], AbstractContextManager[tuple[str, Kill]]], tmp_path: Path
) -> None:
    with kind(tmp_path) as (url, kill):
        async with (
            ScriptedHost(GOOD) as host,
            gateway_command(tmp_path, {"a/fp8": host.url}, redis={"url": url}) as one,
        ):
            await ready(one, "up")
            traffic, over = Traffic(one), asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(traffic.run_until(over))
                await host.until(lambda: traffic.cached > 0)
                kill()
                await ready(one, "down")
                await ready(one, "up")
                before = traffic.cached
                await host.until(lambda: traffic.cached > before)  # answers are found again
                over.set()
            assert set(traffic.statuses) == {200}
            async with asyncio.timeout(120):  # rows wait on disk for the store
                while (booked := await spent(one)) != pytest.approx(len(host.requests) * COST):
                    assert booked < (len(host.requests) + 0.5) * COST, "nothing is counted twice"
                    await asyncio.sleep(0.2)
