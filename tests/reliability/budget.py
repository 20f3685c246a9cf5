"""`budget`: one key of $1 a day, two replicas of two workers, 200 requests at once until the budget is used up.

200 clients ──round robin──> replica one, replica two ──one store──> hosts that bill about $0.002 an answer
the hosts' own books say what was spent; above $1 is the overshoot
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from gateway.sim.demofleet import FLEET
from gateway.sim.sim_host import SimHost
from gateway.telemetry.ledger import read
from gateway.types import Price
from tests.reliability.books import Account, compare
from tests.reliability.client import Answer, Question, ask
from tests.reliability.hosts import Fleet, serving, steady
from tests.reliability.page import Line
from tests.reliability.site import own_store, replica

REPLICAS, WORKERS, CLIENTS = 2, 2, 200
KEY = "sk-" + "b" * 32
WORDS = 200  # of an answer
PRICES = {"input": 10.0, "output": 10.0}  # dollars per million tokens: about $0.002 an answer
LIMIT = 0.02  # of the budget
STOPPED = 20  # refusals in a row after which a client stops
WITHIN = 300.0  # seconds
OVER = "budget_exceeded"  # the code of a refusal that is final


@dataclass(frozen=True, slots=True)
class Budget:
    usd: float = 1.0
    clients: int = CLIENTS
    replicas: int = REPLICAS
    workers: int = WORKERS


@dataclass
class BudgetResult:
    budget: Budget
    answers: list[Answer] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        billed = self.account.billed / 1e12
        mean = max((line.hosts / line.attempts for line in self.account.lines.values() if line.attempts), default=0)
        return {
            "seconds": round(self.seconds, 1),
            "budget_usd": self.budget.usd,
            "hosts_usd": round(billed, 6),
            "overshoot_usd": round(max(0.0, billed - self.budget.usd), 6),
            "answer_usd": round(mean / 1e12, 6),
            "statuses": dict(Counter(f"{one.status} {one.error}".strip() for one in self.answers).most_common()),
            "books": self.account.record(),
        }


async def run(budget: Budget, folder: Path) -> BudgetResult:
    result = BudgetResult(budget)
    fleet = Fleet({}, 1.0, 0, [_dear(host) for host in FLEET[:4]])
    keys = [{"tenant": "team", "key": KEY, "limits": {"usd_per_day": f"${budget.usd:g}"}}]
    began = time.monotonic()
    async with serving(fleet), AsyncExitStack() as stack:
        store = stack.enter_context(own_store(folder))
        started = [replica(folder / name, fleet.models, budget.workers, store, keys=keys) for name in _names(budget)]
        running = [await stack.enter_async_context(one) for one in started]
        ports = [int(one.url.rpartition(":")[2]) for one in running]
        numbers, until = count(), time.monotonic() + WITHIN
        await asyncio.gather(
            *(_client(ports[at % len(ports)], numbers, until, result.answers) for at in range(budget.clients))
        )
        await asyncio.sleep(1.0)
        rows = [row for one in running for row in read(one.folder / "ledger")]
        result.account = compare(fleet.books, rows, result.answers)
    result.seconds = time.monotonic() - began
    return result


def _names(budget: Budget) -> list[str]:
    return [f"replica-{number}" for number in range(budget.replicas)]


def _dear(host: SimHost) -> SimHost:
    price = Price(PRICES["input"], PRICES["output"], PRICES["input"])
    return replace(steady(host, 0.3, 200.0), price=price)


async def _client(port: int, numbers: Iterable[int], until: float, answers: list[Answer]) -> None:
    """One request after the other until the budget is used up: a refusal that says so ends it."""
    refused = 0
    for number in numbers:
        question = Question(
            number, "deepseek-v3.2", WORDS, fields={"max_tokens": WORDS}, headers={"authorization": f"Bearer {KEY}"}
        )
        answer = await ask(question, port)
        answers.append(answer)
        refused = refused + 1 if answer.status in (402, 429, 503) else 0
        if answer.error == OVER or refused == STOPPED or time.monotonic() > until:
            return


async def trial(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    return {"command": "make budget", **(await run(Budget(clients=options.streams), folder)).record()}


def lines(record: dict[str, Any]) -> list[Line]:
    over, usd = record["overshoot_usd"], record["budget_usd"]
    served = record["statuses"].get("200", 0)
    return [
        Line(
            f"${usd:g} a day, {WORKERS * REPLICAS} workers on {REPLICAS} replicas, {CLIENTS} requests at once: "
            "overshoot <= 2 %",
            f"hosts billed ${record['hosts_usd']:.4f} for {served:,} answers: {over / usd:.2%} over",
            over <= LIMIT * usd,
        ),
        Line(
            "the budget is used, not kept",
            f"{record['hosts_usd'] / usd:.1%} of it",
            record["hosts_usd"] >= 0.95 * usd,
        ),
    ]
