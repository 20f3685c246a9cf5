"""`make chaos`: hosts fail at random, the store and workers are killed, each answer is compared with what a host said.

200 clients ──streams, whole, hedged, cached, leaving──> gateway of 4 workers ──> 10 hosts with faults
meanwhile: the store killed every minute, a worker every 30 s, a host's listener closed every 20 s or so
afterwards: the ledger against the hosts' own books
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from gateway.telemetry.ledger import read
from tests.reliability.books import Account, compare
from tests.reliability.client import Answer, Question, ask
from tests.reliability.disturb import Done, kill_store, kill_workers, refuse_hosts
from tests.reliability.hosts import CHAOS, Fleet
from tests.reliability.page import Line
from tests.reliability.site import Site, site

SPEED = 5.0  # factor of the hosts' clock
POLICIES = ("balanced",) * 5 + ("interactive", "nitro", "cached", "floor", "spread")
WHOLE, LEAVES = 0.15, 0.04  # shares of the requests
CACHED, DIFFERENT = 10_000_000, 100  # the marks of requests that may be cached, and how many there are
SETTLED = 20.0  # seconds after the last answer until what a killed worker left open must be booked


@dataclass(frozen=True, slots=True)
class Chaos:
    """How a run goes. Times in seconds; a period of 0 is none."""

    seconds: float = 600.0
    streams: int = 200
    workers: int = 4
    store_every: float = 60.0
    store_down: float = 5.0
    worker_every: float = 30.0
    refusals: bool = True
    seed: int = 0


@dataclass
class ChaosResult:
    answers: list[Answer] = field(default_factory=list)
    done: Done = field(default_factory=Done)
    account: Account = field(default_factory=Account)
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """As JSON. `lost` are requests without an end, by whether their worker was killed."""
        ends = Counter(answer.end for answer in self.answers)
        without_end = [answer for answer in self.answers if answer.end in ("cut", "refused", "late")]
        elsewhere = [answer for answer in without_end if answer.port not in self.done.lost]
        return {
            "seconds": round(self.seconds, 1),
            "requests": len(self.answers),
            "ends": dict(ends),
            "errors": dict(Counter(_named(one) for one in self.answers if one.end == "error").most_common()),
            "damaged": sum(answer.damaged for answer in self.answers),
            "damaged_examples": [repr(answer) for answer in self.answers if answer.damaged][:5],
            "lost_on_killed_workers": len(without_end) - len(elsewhere),
            "lost_elsewhere": len(elsewhere),
            "lost_examples": [repr(answer) for answer in elsewhere][:5],
            "workers_killed": self.done.workers_killed,
            "stores_killed": self.done.stores_killed,
            "hosts_refused": self.done.refusals,
            "books": self.account.record(),
        }


async def run(chaos: Chaos, folder: Path) -> ChaosResult:
    """One run; it ends by itself at most `PATIENCE` after its time."""
    fleet = Fleet(CHAOS, SPEED, chaos.seed)
    result = ChaosResult()
    began = time.monotonic()
    async with site(folder, fleet, chaos.workers) as here:
        async with _disturbed(here, chaos, result.done):
            until = time.monotonic() + chaos.seconds
            numbers = count()
            clients = (_client(here, chaos, numbers, until, result.answers) for _ in range(chaos.streams))
            await asyncio.gather(*clients)
        await here.ready(chaos.workers)
        result.account = await settled(here, result.answers)
    result.seconds = time.monotonic() - began
    return result


@asynccontextmanager
async def _disturbed(here: Site, chaos: Chaos, done: Done) -> AsyncIterator[None]:
    rng = Random(f"{chaos.seed}/disturb")
    work: list[Coroutine[Any, Any, None]] = []
    if chaos.worker_every:
        work.append(kill_workers(here, chaos.worker_every, rng, done))
    if chaos.store_every:
        work.append(kill_store(here, chaos.store_every, chaos.store_down, done))
    if chaos.refusals:
        work.append(refuse_hosts(here, rng, done))
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _client(here: Site, chaos: Chaos, numbers: Iterable[int], until: float, answers: list[Answer]) -> None:
    """One request after the other, each over its own connection."""
    for number in numbers:
        if time.monotonic() >= until:
            return
        answers.append(await ask(question(number, chaos.seed), here.port))


def question(number: int, seed: int) -> Question:
    """The request of this number: the same in every run with this seed."""
    rng = Random(f"{seed}/{number}")
    stream = rng.random() >= WHOLE
    policy = rng.choice(POLICIES)
    leave = rng.randrange(1, 12) if stream and rng.random() < LEAVES else 0
    words = rng.randrange(8, 240)
    if policy == "cached":  # one of a few prompts, so that some are found
        number, words, leave = CACHED + rng.randrange(DIFFERENT), 20, 0
    return Question(number, f"deepseek-v3.2:{policy}", words, stream, leave)


async def settled(here: Site, answers: list[Answer]) -> Account:
    """The account, as soon as all is booked that a host billed, or after `SETTLED` seconds."""
    until = time.monotonic() + SETTLED
    while True:
        account = compare(here.fleet.books, read(here.running.folder / "ledger"), answers)
        if not account.lines["unbooked"].attempts or time.monotonic() > until:
            return account
        await asyncio.sleep(2.0)


def _named(answer: Answer) -> str:
    return f"{answer.status} {answer.error}"


async def trial(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    chaos = Chaos(options.minutes * 60, options.streams, options.workers, seed=options.seed)
    result = await run(chaos, folder)
    return {"command": f'make chaos ARGS="--minutes {options.minutes:g}"', **result.record()}


def lines(record: dict[str, Any]) -> list[Line]:
    books = record["books"]
    wrong = books["kinds"]["wrong"]["attempts"] + books["kinds"]["invented"]["attempts"] + books["rows_twice"]
    estimated, unbilled = books["kinds"]["estimated"], books["kinds"]["estimated, not billed"]
    return [
        Line(
            f"damaged answers: 0 ({record['workers_killed']} workers and {record['stores_killed']} stores killed)",
            f"{record['damaged']} of {record['requests']:,}",
            record["damaged"] == 0,
        ),
        Line(
            "lost only on the connections of killed workers",
            f"{record['lost_on_killed_workers']} there, {record['lost_elsewhere']} elsewhere",
            record["lost_elsewhere"] == 0,
        ),
        Line(
            "ledger = hosts' books + estimates marked as such",
            f"{books['unbooked_share']:.3%} of the cost unbooked, {wrong} rows that differ or are there twice; "
            f"{estimated['attempts']} estimates: ${estimated['ledger_usd']:.4f} "
            f"for ${estimated['hosts_usd']:.4f} billed, "
            f"{unbilled['attempts']} of ${unbilled['ledger_usd']:.4f} for nothing",
            books["unbooked_share"] == 0 and wrong == 0,
        ),
    ]
