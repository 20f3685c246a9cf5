"""`rolling`: two replicas behind a plain TCP balancer are restarted one after the other under load; no request is lost.

16 openai clients ──keep-alive──> Balancer ──> replica one, replica two ──> hosts
SIGTERM to one, wait for its end, start it again, wait until it is ready; then the other; three times
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import openai

from gateway.state.parent_death import end_with_parent
from tests.reliability.balancer import balanced
from tests.reliability.hosts import Fleet, serving
from tests.reliability.page import Line
from tests.reliability.signed import verdict
from tests.reliability.site import READY_WITHIN, own_store
from tests.support.gateway import write_config
from tests.support.ports import free_port

CLIENTS, ROUNDS, WORKERS = 16, 3, 2
SPEED = 4.0  # factor of the hosts' clock
WORDS = 60
BETWEEN = 2.0  # seconds of load between two restarts
ENDS_WITHIN = 130.0  # seconds: the longest drain, and a margin


@dataclass(frozen=True, slots=True)
class Rolling:
    clients: int = CLIENTS
    rounds: int = ROUNDS
    workers: int = WORKERS


@dataclass
class RollingResult:
    """`failed` by the error's name; `ends` are the seconds that each stop took."""

    requests: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    ends: list[float] = field(default_factory=list)
    refused: int = 0

    def record(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "failed": dict(self.failed),
            "damaged": self.damaged,
            "restarts": len(self.ends),
            "longest_stop_s": round(max(self.ends, default=0.0), 2),
            "refused_by_all": self.refused,
        }


class Replica:
    """One gateway that keeps its port and its state over restarts."""

    def __init__(self, folder: Path, models: dict[str, Any], store: str, workers: int) -> None:
        folder.mkdir()
        config = write_config(folder, {}, None, models=models)
        self.port = free_port()
        self._log = folder / "log"
        self._command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--redis", store]
        self._command += ["--state", str(folder / "state"), "--port", str(self.port), "--workers", str(workers)]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it is ready."""
        with self._log.open("ab") as log:
            self._process = await self._started(log)
        async with httpx.AsyncClient(timeout=5, trust_env=False, verify=False) as client:
            async with asyncio.timeout(READY_WITHIN):
                while not await self._ready(client):
                    await asyncio.sleep(0.05)

    async def stop(self) -> float:
        """SIGTERM; the seconds until its end."""
        assert self._process is not None
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self._process.wait(), ENDS_WITHIN)
        return time.monotonic() - began

    async def _started(self, log: IO[bytes]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command, stdout=log, stderr=log, preexec_fn=end_with_parent(os.getpid())
        )

    async def _ready(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"http://127.0.0.1:{self.port}/health/ready")).status_code == 200
        except httpx.HTTPError:
            return False


async def run(rolling: Rolling, folder: Path) -> RollingResult:
    result = RollingResult()
    fleet = Fleet({}, SPEED, 0)
    async with serving(fleet):
        with own_store(folder) as store:
            replicas = [
                Replica(folder / f"replica-{number}", fleet.models, store.url, rolling.workers) for number in range(2)
            ]
            for one in replicas:
                await one.start()
            async with balanced([one.port for one in replicas]) as balancer:
                await _under_load(rolling, balancer.port, replicas, result)
                result.refused = balancer.refused
            for one in replicas:
                await one.stop()
    return result


async def _under_load(rolling: Rolling, port: int, replicas: list[Replica], result: RollingResult) -> None:
    over = asyncio.Event()
    clients = [asyncio.create_task(_client(port, number, over, result)) for number in range(rolling.clients)]
    try:
        for _ in range(rolling.rounds):
            for one in replicas:
                await asyncio.sleep(BETWEEN)
                result.ends.append(await one.stop())
                await one.start()
        await asyncio.sleep(BETWEEN)
    finally:
        over.set()
        await asyncio.gather(*clients)


async def _client(port: int, number: int, over: asyncio.Event, result: RollingResult) -> None:
    """Streams and whole answers in turn, as the SDK does it: with its own connections and its own two retries."""
    async with openai.AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1", timeout=60) as client:
        turn = number
        while not over.is_set():
            turn += 1
            result.requests += 1
            try:
                text = await _asked(client, turn, stream=turn % 2 == 0)
            except openai.APIError as error:
                result.failed[f"{type(error).__name__}: {str(error)[:80]}"] += 1
            except httpx.HTTPError as error:  # within a stream the SDK passes them on
                result.failed[type(error).__name__] += 1
            else:
                result.damaged += verdict(text) != "whole"


async def _asked(client: openai.AsyncOpenAI, turn: int, stream: bool) -> str:
    asked: Any = [{"role": "user", "content": f"trial-{turn} Write about {WORDS} words."}]
    if not stream:
        answer = await client.chat.completions.create(model="deepseek-v3.2", messages=asked)
        return answer.choices[0].message.content or ""
    text = ""
    async for chunk in await client.chat.completions.create(model="deepseek-v3.2", messages=asked, stream=True):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    return text


async def trial(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    return {"command": "make rolling", **(await run(Rolling(), folder)).record()}


def lines(record: dict[str, Any]) -> list[Line]:
    failed = sum(record["failed"].values())
    return [
        Line(
            f"{record['restarts']} restarts of two replicas behind a TCP balancer, `openai` as the client: none lost",
            f"{failed} of {record['requests']:,} requests failed, {record['damaged']} damaged; "
            f"the longest stop took {record['longest_stop_s']:.1f} s",
            failed == 0 and record["damaged"] == 0,
        )
    ]
