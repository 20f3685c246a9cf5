"""A worker that holds a share of a budget is killed: what it held counts as used, and the budget holds."""

import os
import signal
from pathlib import Path

import httpx
import redis

from tests.support.gateway import gateway_command
from tests.support.host import ScriptedHost, answers, completion, usage
from tests.support.processes import command_of, descendants

COST = (1_000 * 0.25 + 100 * 0.5) / 1e6  # USD, of one answer
FIT = 40


async def test_kill_9_of_a_worker(tmp_path: Path, valkey: str) -> None:
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    keys = [{"tenant": "poor", "key": "sk-poor", "limits": {"usd_per_day": f"${FIT * COST:.6f}"}}]
    headers = {"authorization": "Bearer sk-poor"}
    async with (
        ScriptedHost(answers(200, completion("hello", used=usage(1_000, 100)))) as host,
        gateway_command(tmp_path, {"a/fp8": host.url}, "--workers", "2", redis={"url": valkey}, keys=keys) as running,
    ):
        assert running.process is not None
        statuses = [
            (await running.chat("x" * 4_000, max_tokens=100, headers=headers)).status_code for _ in range(FIT // 4)
        ]
        workers = [pid for pid in descendants(running.process.pid) if "spawn_main" in command_of(pid)]
        os.kill(workers[0], signal.SIGKILL)
        while statuses[-1] != 402 and len(statuses) < 3 * FIT:
            try:
                response = await running.chat("x" * 4_000, max_tokens=100, headers=headers)
            except httpx.TransportError:
                continue  # its connection was the killed worker's
            statuses.append(response.status_code)
        assert set(statuses) == {200, 402}
        assert len(host.requests) <= FIT
        assert statuses.count(200) >= FIT // 2
