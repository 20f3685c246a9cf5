"""`failover`: the store is a Cluster, or a master with Sentinels; its master is killed under 200 requests a second.

200 requests/s, half of them with a lookup in the store ──> gateway of two workers ──> hosts that answer at once
after a third of the time: SIGKILL to the master that has the books; afterwards: the store's sums against the ledger
"""

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.load import quantile
from gateway.telemetry.ledger import read
from tests.reliability.books import Account, compare
from tests.reliability.client import Answer, Question, ask
from tests.reliability.hosts import Fleet, serving
from tests.reliability.page import Line
from tests.reliability.site import Site, replica
from tests.support.store_servers import sentinel_set, store_cluster

Kind = Literal["cluster", "sentinel"]
BOOKS = "gw:{books}:rows"
RATE = 200.0  # requests/s
LATER = 0.15  # seconds that a request may be delayed
SETTLED = 60.0  # seconds until the store's sums must be the ledger's


@dataclass(frozen=True, slots=True)
class Failover:
    kind: Kind = "cluster"
    seconds: float = 30.0
    rate: float = RATE
    workers: int = 2


@dataclass
class FailoverResult:
    kind: Kind
    answers: list[Answer] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    killed_after: int = 0  # answers
    ledger_usd: float = 0.0
    store_usd: float = -1.0

    def record(self) -> dict[str, Any]:
        usual = [one.seconds for one in self.answers[: self.killed_after]]
        later = [one.seconds for one in self.answers[self.killed_after :]]
        return {
            "requests": len(self.answers),
            "ends": dict(Counter(f"{one.end} {one.status} {one.error}".strip() for one in self.answers)),
            "failed": sum(one.end != "done" for one in self.answers),
            "before_p50_s": round(quantile(usual, 0.5), 4) if usual else None,
            "before_max_s": round(max(usual, default=0.0), 4),
            "after_p99_s": round(quantile(later, 0.99), 4) if later else None,
            "after_max_s": round(max(later, default=0.0), 4),
            "ledger_usd": self.ledger_usd,
            "store_usd": self.store_usd,
            "books": self.account.record(),
        }


async def run(failover: Failover, folder: Path) -> FailoverResult:
    fleet = Fleet({}, 0.0, 0)
    result = FailoverResult(failover.kind)
    async with serving(fleet):
        with _store(failover.kind, folder) as (url, kill):
            command = replica(folder / "gateway", fleet.models, failover.workers, None, redis={"url": url})
            async with command as running:
                here = Site(fleet, running)
                await here.ready(failover.workers)
                await _load(failover, here, kill, result)
                await _settle(here, result)
    return result


@contextmanager
def _store(kind: Kind, folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL, and what kills the master that has the books."""
    if kind == "cluster":
        with store_cluster(folder) as cluster:
            yield cluster.url, lambda: cluster.owner(BOOKS).kill()
    else:
        with sentinel_set(folder) as sentinels:
            yield sentinels.url, sentinels.master.kill


async def _load(failover: Failover, here: Site, kill: Callable[[], None], result: FailoverResult) -> None:
    """Requests at even distances; those that began before the kill come first in `answers`."""
    loop = asyncio.get_running_loop()
    began, total = loop.time(), round(failover.rate * failover.seconds)
    result.killed_after = total // 3
    tasks = list[asyncio.Task[Answer]]()
    for number in range(total):
        await asyncio.sleep(began + number / failover.rate - loop.time())
        if number == result.killed_after:
            await asyncio.to_thread(kill)
        tasks.append(asyncio.create_task(ask(_question(number), here.port)))
    result.answers = await asyncio.gather(*tasks)


def _question(number: int) -> Question:
    policy = "cached" if number % 2 else "balanced"
    return Question(number, f"deepseek-v3.2:{policy}", 8, stream=number % 4 < 2)


async def _settle(here: Site, result: FailoverResult) -> None:
    """Waits until the store's sums are those of the ledger, for a while."""
    rows = list(read(here.running.folder / "ledger"))
    result.account = compare(here.fleet.books, rows, result.answers)
    result.ledger_usd = round(sum(row.cost for row in rows) / 1e12, 9)
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLED
    while result.store_usd != result.ledger_usd and loop.time() < until:
        await asyncio.sleep(0.5)
        answer = await here.running.client.get("/api/v1/key")
        result.store_usd = round(answer.json()["data"]["usage"], 9)


async def trial(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = {"command": "make failover"}
    kinds: tuple[Kind, ...] = ("cluster", "sentinel")
    for kind in kinds:
        (folder / kind).mkdir()
        record[kind] = (await run(Failover(kind), folder / kind)).record()
    return record


def lines(record: dict[str, Any]) -> list[Line]:
    return [line for kind in ("cluster", "sentinel") for line in _lines(kind, record[kind])]


def _lines(kind: str, one: dict[str, Any]) -> list[Line]:
    name = "a Cluster of three" if kind == "cluster" else "Sentinels"
    delayed = one["after_max_s"] - one["before_p50_s"]
    equal = one["ledger_usd"] == one["store_usd"]
    return [
        Line(
            f"{name}, master killed under 200 requests/s: none failed",
            f"{one['failed']} of {one['requests']:,}",
            not one["failed"],
        ),
        Line(
            f"{name}: none delayed over 150 ms",
            f"{delayed * 1e3:.0f} ms at most, usual {one['before_p50_s'] * 1e3:.0f} ms",
            delayed <= LATER,
        ),
        Line(
            f"{name}: books equal afterwards",
            f"ledger ${one['ledger_usd']:.6f}, store ${one['store_usd']:.6f}, "
            f"{one['books']['unbooked_share']:.3%} unbooked",
            equal and one["books"]["unbooked_share"] == 0,
        ),
    ]
