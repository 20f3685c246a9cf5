"""Two workers and one store, as users start them: counts add up to the hosts' own, what one learns reaches both."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from gateway.telemetry.ledger import parse, segments
from gateway.types import Row
from tests.support.gateway import Running, gateway_command, write_impatient, write_policy
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams

REQUESTS = 60


async def _serve(request: Received, out: Out) -> None:
    """Every third request is refused with a 500, the others are answered as they ask."""
    _serve.count = getattr(_serve, "count", 0) + 1  # type: ignore[attr-defined]
    if _serve.count % 3 == 0:  # type: ignore[attr-defined]
        await answers(500, {"error": {"message": "try again"}})(request, out)
    elif request.json().get("stream"):
        await streams(chunks("hello there"))(request, out)
    else:
        await answers(200, completion("hello there"))(request, out)


async def _fresh_chat(running: Running, **fields: object) -> httpx.Response:
    """One request on a connection of its own, so that the kernel may hand it to either worker."""
    async with httpx.AsyncClient(base_url=running.url, timeout=60, verify=False) as client:  # authorities load slowly
        body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], **fields}
        return await client.post("/v1/chat/completions", json=body)


def _workers(running: Running, did: Callable[[Row], bool]) -> int:
    """How many workers have booked such an attempt: each writes its own segment of the ledger."""
    booked = [[parse(line) for line in path.read_bytes().splitlines()] for path in segments(running.folder / "ledger")]
    return sum(any(row is not None and did(row) for row in rows) for rows in booked)


async def _until_both_serve(running: Running) -> list[httpx.Response]:
    """One worker may be ready some time before the other."""
    answered: list[httpx.Response] = []
    async with asyncio.timeout(60):
        while _workers(running, lambda _: True) < 2:
            answered += await asyncio.gather(*(_fresh_chat(running, stream=n % 2 == 0) for n in range(10)))
    return answered


async def _settled(running: Running, expected: float) -> float:
    """The attempts that /metrics shows, once every worker's last batch is in."""
    async with asyncio.timeout(60):
        while (total := await running.metric("gateway_attempts_total")) < expected:
            await asyncio.sleep(0.05)
    return total


async def test_metrics_of_two_workers_add_up_to_what_the_hosts_saw(tmp_path: Path) -> None:
    write_impatient(tmp_path / "policies")
    async with (
        ScriptedHost(_serve) as one,
        ScriptedHost(_serve) as two,
        gateway_command(tmp_path, {"one/fp8": one.url, "two/fp8": two.url}, "--workers", "2") as running,
    ):
        answered = await _until_both_serve(running)
        answered += await asyncio.gather(*(_fresh_chat(running, stream=n % 2 == 0) for n in range(REQUESTS)))
        seen = len(one.requests) + len(two.requests)
        assert await _settled(running, seen) == seen
        assert await running.metric("gateway_attempts_total", endpoint="one/fp8") == len(one.requests)
        assert await running.metric("gateway_requests_total") == len(answered)
        good = sum(response.status_code == 200 for response in answered)
        assert await running.metric("gateway_attempts_total", outcome="ok") == good


async def test_a_policy_edit_reaches_both_workers(tmp_path: Path) -> None:
    async with (
        ScriptedHost(answers(200, completion("hello"))) as one,
        gateway_command(tmp_path, {"one/fp8": one.url}, "--workers", "2") as running,
    ):
        assert (await _fresh_chat(running, model="deepseek-v3.2:mine")).status_code == 404
        write_policy(running.policies, "mine", about="written while the gateway runs")
        async with asyncio.timeout(60):
            while _workers(running, lambda row: row.policy == "mine") < 2:
                assert (await _fresh_chat(running, model="deepseek-v3.2:mine")).status_code in (200, 404)


async def test_an_answer_cached_by_one_worker_is_served_by_both(tmp_path: Path) -> None:
    async with (
        ScriptedHost(answers(200, completion("kept"))) as host,
        gateway_command(tmp_path, {"one/fp8": host.url}, "--workers", "2") as running,
    ):
        await _fresh_chat(running, model="deepseek-v3.2:cached")
        async with asyncio.timeout(60):
            while _workers(running, lambda row: row.cache == "hit") < 2:  # either asks again where its lookup took long
                before = len(host.requests)
                said = (await _fresh_chat(running, model="deepseek-v3.2:cached")).headers["x-gateway-cache"]
                assert len(host.requests) == before + (said != "hit")


async def test_a_conversation_of_responses_goes_on_at_any_worker(tmp_path: Path) -> None:
    """Each turn follows at once, on a connection of its own, and refers to the turn before it."""
    async with (
        ScriptedHost(answers(200, completion("hello"))) as host,
        gateway_command(tmp_path, {"one/fp8": host.url}, "--workers", "2") as running,
    ):
        await _until_both_serve(running)
        async with asyncio.timeout(60):
            while not (told := await _response(running))["store"]:  # a worker has not reached its store yet
                await asyncio.sleep(0.05)
        begun, turns = time.time(), 0
        async with asyncio.timeout(60):  # one of them may get many connections in a row
            while turns < 20 or _workers(running, lambda row: row.at >= begun) < 2:
                told, turns = await _response(running, previous_response_id=told["id"]), turns + 1
        assert len(host.requests[-1].json()["messages"]) == 2 * turns + 1


async def _response(running: Running, **fields: object) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=running.url, timeout=60, verify=False) as client:
        answer = await client.post("/v1/responses", json={"model": "deepseek-v3.2", "input": "Hi", **fields})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_where_one_worker_sent_a_prompt_is_known_to_both(tmp_path: Path) -> None:
    async with (
        ScriptedHost(answers(200, completion("hello"))) as host,
        gateway_command(tmp_path, {"one/fp8": host.url}, "--workers", "2") as running,
    ):
        await _fresh_chat(running)
        async with asyncio.timeout(60):  # twenty fresh connections reach both workers
            while 0.0 in {await _hit(running) for _ in range(20)}:
                await asyncio.sleep(0.1)


async def _hit(running: Running) -> float:
    """The share of the prompt that a worker expects to be cached."""
    async with httpx.AsyncClient(base_url=running.url, timeout=60, verify=False) as client:
        body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}
        told = (await client.post("/v1/explain", json=body)).json()
    return float(told["ranked"][0]["expected_cached_share"])
