"""`make soak`: 200,000 requests of mixed shapes, after a warm-up; memory, descriptors, store and state folder stay
bounded.

64 clients ──streams, whole, cached, failing, leaving──> gateway of 2 workers ──> hosts at full speed, some failing
every 1,000 requests: resident memory, descriptors and threads of each worker, keys of the store, bytes of state
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from gateway.telemetry.ledger import read
from tests.reliability.books import Account, compare
from tests.reliability.client import Answer, Question, ask
from tests.reliability.hosts import Fleet
from tests.reliability.memory import Sample, folder_bytes, growth, samples
from tests.reliability.page import Line
from tests.reliability.site import Site, site

FAILING = {"500": 0.02, "429": 0.01, "cut": 0.01, "in_band": 0.005, "garbage": 0.005}
CLIENTS = 64
WARM = 0.8  # requests of the warm-up for each one that counts: caches with a bound fill, and memory is fragmented
SAMPLES = 100  # over the run
LIMIT = 1_000_000  # bytes for each 100,000 requests of one worker


@dataclass(frozen=True, slots=True)
class Soak:
    requests: int = 200_000
    workers: int = 2
    clients: int = CLIENTS
    seed: int = 0

    @property
    def warm(self) -> int:
        """Requests of the warm-up."""
        return round(WARM * self.requests)


@dataclass
class SoakResult:
    ends: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    requests: int = 0  # so far
    warm: int = 0  # of them, before those that count
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    store: list[tuple[int, int]] = field(default_factory=list)  # requests, keys
    state: list[tuple[int, int]] = field(default_factory=list)  # requests, bytes without the ledger's rows
    account: Account = field(default_factory=Account)

    def record(self) -> dict[str, Any]:
        slopes = growth(self.samples, self.warm)
        last = self.samples[-1].requests if self.samples else 0
        return {
            "requests": self.requests - self.warm,
            "warm": self.warm,
            "seconds": round(self.seconds, 1),
            "ends": dict(self.ends),
            "damaged": self.damaged,
            "rss_mb_per_100k": {str(pid): round(value / 1e6, 3) for pid, value in slopes.items()},
            "rss_mb": {str(one.pid): round(one.rss / 1e6, 1) for one in self.samples if one.requests == last},
            "rss_over_time": _over_time(self.samples),
            "descriptors": _before_after(self.samples, self.requests, "descriptors"),
            "threads": _before_after(self.samples, self.requests, "threads"),
            "store_keys": _ends(self.store),
            "state_bytes": _ends(self.state),
            "books": self.account.record(),
        }


async def run(soak: Soak, folder: Path) -> SoakResult:
    fleet = Fleet(FAILING, 0.0, soak.seed)
    result = SoakResult(warm=soak.warm)
    async with site(folder, fleet, soak.workers) as here:
        marks: list[Answer] = []
        numbers = iter(range(soak.warm + soak.requests))
        began = time.monotonic()
        watch = asyncio.ensure_future(_watch(here, soak, result))
        await asyncio.gather(*(_client(here, soak, numbers, result, marks) for _ in range(soak.clients)))
        result.seconds = time.monotonic() - began
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        _look(here, result)
        await asyncio.sleep(1.0)
        result.account = compare(fleet.books, read(here.running.folder / "ledger"), marks)
    return result


async def _client(here: Site, soak: Soak, numbers: Iterable[int], result: SoakResult, marks: list[Answer]) -> None:
    for number in numbers:
        answer = await ask(question(number, soak.seed), here.port)
        result.requests += 1
        result.ends[answer.end] += 1
        result.damaged += answer.damaged
        marks.append(answer)


def question(number: int, seed: int) -> Question:
    """The request of this number: the same in every run with this seed."""
    rng = Random(f"{seed}/{number}")
    shape = rng.random()
    prompt = "Weigh the price of each host against the time it takes. " * rng.choice((0, 1, 4, 16, 64))
    if shape < 0.45:
        return Question(number, "deepseek-v3.2", rng.randrange(4, 60), prompt=prompt)
    if shape < 0.8:
        return Question(number, "deepseek-v3.2", rng.randrange(4, 60), stream=False, prompt=prompt)
    if shape < 0.9:
        return Question(CACHED + rng.randrange(500), "deepseek-v3.2:cached", 20, stream=shape < 0.85)
    if shape < 0.95:
        return Question(number, "deepseek-v3.2", rng.randrange(20, 60), leave=rng.randrange(1, 10), prompt=prompt)
    if shape < 0.98:
        return Question(number, "no-such-model", 4, stream=False)
    return Question(number, "deepseek-v3.2", 4, fields={"temperature": "warm"})


CACHED = 10_000_000  # the marks of requests that may be cached


async def _watch(here: Site, soak: Soak, result: SoakResult) -> None:
    for number in count(1):
        while result.requests < number * (soak.warm + soak.requests) / SAMPLES:
            await asyncio.sleep(0.2)
        _look(here, result)


def _look(here: Site, result: SoakResult) -> None:
    result.samples += samples(here.workers(), result.requests)
    if here.store:
        result.store.append((result.requests, here.store.keys()))
    state = here.running.folder
    result.state.append((result.requests, folder_bytes(state) - folder_bytes(state / "ledger")))


def _over_time(taken: Sequence[Sample]) -> dict[str, list[tuple[int, float]]]:
    """Of each worker: the trial's requests so far, and its MB then."""
    found: dict[str, list[tuple[int, float]]] = {}
    for one in taken:
        found.setdefault(str(one.pid), []).append((one.requests, round(one.rss / 1e6, 1)))
    return found


def _before_after(taken: Sequence[Sample], requests: int, name: str) -> list[int]:
    """The highest figure of any worker in the first half of the run, and in the second."""
    halves = (
        [one for one in taken if one.requests <= requests / 2],
        [one for one in taken if one.requests > requests / 2],
    )
    return [max((getattr(one, name) for one in half), default=0) for half in halves]


def _ends(values: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """First, middle and last."""
    return [values[0], values[len(values) // 2], values[-1]] if values else []


async def trial(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    soak = Soak(options.requests, min(options.workers, 2), seed=options.seed)
    result = await run(soak, folder)
    return {"command": f'make soak ARGS="--requests {soak.requests}"', **result.record()}


def lines(record: dict[str, Any]) -> list[Line]:
    books = record["books"]
    worst = max(record["rss_mb_per_100k"].values(), default=0.0)
    resident = ", ".join(f"{value:.0f}" for value in record["rss_mb"].values())
    before, after = record["descriptors"]
    threads_before, threads_after = record["threads"]
    keys, state = ([value for _, value in record[name]] for name in ("store_keys", "state_bytes"))
    return [
        Line(
            f"{record['requests']:,} requests after {record['warm']:,}: a worker's RSS grows by < 1 MB per 100,000",
            f"{worst:.2f} MB; at the end {resident} MB",
            worst < LIMIT / 1e6,
        ),
        Line(
            "descriptors and threads of a worker are bounded",
            f"at most {before} and {threads_before} in the first half, {after} and {threads_after} in the second",
            after <= before * 1.1 + 16 and threads_after <= threads_before + 1,
        ),
        Line("damaged answers: 0", str(record["damaged"]), record["damaged"] == 0),
        Line(
            "store and state folder are bounded",
            f"{keys[1]:,} keys halfway, {keys[-1]:,} at the end; "
            f"{state[1] / 1e6:.1f} MB of files without the ledger halfway, {state[-1] / 1e6:.1f} MB at the end",
            keys[-1] <= keys[1] * 1.5 + 100 and state[-1] <= state[1] * 1.5 + 1e6,
        ),
        Line(
            "the ledger has what hosts billed",
            f"{books['unbooked_share']:.4%} of the cost unbooked",
            books["unbooked_share"] == 0,
        ),
    ]
