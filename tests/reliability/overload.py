"""`overload`: three times as many requests as the hosts carry, with prompts of 64 KB, for half a minute.

    240 requests/s of 64 KB ──> gateway of one worker ──> 4 endpoints, 40 requests at once each, 2 s an answer: 80/s
    what is shed gets a 503 at once; what is accepted takes as long as without load; memory stays bounded

The hosts are the mock host of the benchmark, in a process of its own.
"""

import argparse
import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import process
from bench.host import mock_host
from bench.load import quantile
from tests.reliability.client import Answer, Question, ask
from tests.reliability.memory import watched
from tests.reliability.page import Line
from tests.reliability.site import own_store, replica
from tests.support.gateway import MODEL

PROMPT = "Weigh the price of each host against the time it takes, and say what you would do. " * 780  # 64 KB
ENDPOINTS, AT_ONCE, ANSWER = 4, 40, 2.0  # seconds of an answer
CHUNKS, FIRST = 20, 1.0  # events of an answer, seconds to the first one
TIMES = 3.0
ALONE = 10  # requests without load
SHED_WITHIN, SLOWER, RSS = 0.05, 1.2, 300e6
PRICE = {"input": 0.25, "cached_input": 0.05, "output": 0.5}


@dataclass(frozen=True, slots=True)
class Overload:
    seconds: float = 30.0
    times: float = TIMES
    at_once: int = AT_ONCE
    alone: int = ALONE

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.times * ENDPOINTS * self.at_once / ANSWER


@dataclass
class OverloadResult:
    alone: list[Answer] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    idle: int = 0  # bytes
    peak: int = 0

    def record(self) -> dict[str, Any]:
        accepted = [one.seconds for one in self.answers if one.status == 200 and one.end == "done"]
        shed = [one.seconds for one in self.answers if one.status == 503]
        return {
            "requests": len(self.answers),
            "statuses": dict(Counter(f"{one.status} {one.error}".strip() for one in self.answers).most_common()),
            "alone_p50_s": _quantile([one.seconds for one in self.alone], 0.5),
            "accepted": len(accepted),
            "accepted_p50_s": _quantile(accepted, 0.5),
            "accepted_p95_s": _quantile(accepted, 0.95),
            "shed": len(shed),
            "shed_before_the_body": sum(one.status == 503 and not one.exchange for one in self.answers),
            "shed_p50_s": _quantile(shed, 0.5),
            "shed_p99_s": _quantile(shed, 0.99),
            "rss_idle_mb": round(self.idle / 1e6, 1),
            "rss_peak_mb": round(self.peak / 1e6, 1),
        }


async def run(overload: Overload, folder: Path) -> OverloadResult:
    result = OverloadResult()
    with mock_host(folder, process.processors()[1], tls=False) as host, own_store(folder) as store:
        host.behave(chunks=CHUNKS, ttft=FIRST, interval=(ANSWER - FIRST) / CHUNKS)
        async with replica(folder, _models(host.port, overload.at_once), 1, store) as running:
            port = int(running.url.rpartition(":")[2])
            assert running.process is not None
            pid = running.process.pid
            result.alone = [await ask(_question(number), port) for number in range(overload.alone)]
            result.idle = process.rss([pid])
            async with watched(lambda: process.rss([pid])) as peak:
                result.answers = await _arrivals(overload, port)
            result.peak = peak.most
    return result


async def _arrivals(overload: Overload, port: int) -> list[Answer]:
    """Requests at even distances, whether or not earlier ones are answered."""
    loop = asyncio.get_running_loop()
    began, tasks = loop.time(), list[asyncio.Task[Answer]]()
    for number in range(round(overload.rate * overload.seconds)):
        await asyncio.sleep(began + number / overload.rate - loop.time())
        tasks.append(asyncio.create_task(ask(_question(number), port)))
    return await asyncio.gather(*tasks)


def _question(number: int) -> Question:
    return Question(number, "deepseek-v3.2", prompt=PROMPT)


def _models(port: int, at_once: int) -> dict[str, Any]:
    fields = {"provider": "vllm", "model": "m", "price": PRICE, "limits": {"concurrency": at_once}}
    url = f"http://127.0.0.1:{port}/v1"
    endpoints = [{"id": f"{name}/fp8", "base_url": url, **fields} for name in "abcd"]
    return {"deepseek/deepseek-v3.2": {"endpoints": endpoints, **MODEL}}


def _quantile(values: list[float], share: float) -> float | None:
    return round(quantile(values, share), 4) if values else None


async def trial(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    overload = Overload(min(30.0, options.minutes * 60))
    return {"command": "make overload", "rate": overload.rate, **(await run(overload, folder)).record()}


def lines(record: dict[str, Any]) -> list[Line]:
    shed, accepted, alone = record["shed_p99_s"], record["accepted_p95_s"], record["alone_p50_s"]
    slower = accepted / alone if accepted and alone else None
    return [
        Line(
            f"{record['rate']:.0f} requests/s of 64 KB where hosts carry a third: RSS of the worker <= 300 MB",
            f"{record['rss_peak_mb']:.0f} MB ({record['rss_idle_mb']:.0f} before)",
            record["rss_peak_mb"] <= RSS / 1e6,
        ),
        Line(
            "what is shed is shed in < 50 ms (p99)",
            f"{shed * 1e3:.0f} ms, {record['shed']:,} of {record['requests']:,}" if shed else "nothing was shed",
            shed is not None and shed < SHED_WITHIN,
        ),
        Line(
            "what is accepted takes <= 1.2 times as long as without load (p95)",
            f"{slower:.2f} times {alone:.2f} s, {record['accepted']:,} answers" if slower else "nothing was accepted",
            slower is not None and slower <= SLOWER,
        ),
    ]
