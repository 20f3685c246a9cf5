"""Signs of life for clients that give up after seconds: OpenRouter's, under `/api/v1`."""

import asyncio
from typing import Any

import pytest

from gateway.intake import intake as parse
from tests.proxy.routed import DONE, ROLE, STOP, WORD, Routed, content, outcomes, rows, stalls
from tests.support.gateway import Running
from tests.support.host import Out, Received, ScriptedHost, answers, completion

ASKED: dict[str, Any] = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20}
INPUT: dict[str, Any] = {"model": "deepseek-v3.2", "input": "Hi", "max_output_tokens": 20}
BODIES = {"chat/completions": ASKED, "messages": ASKED, "responses": INPUT}
QUICK: dict[str, Any] = {"timeouts": {"first_token": "300ms", "first_token_per_10k": "0s"}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "PATIENCE", 0.05)


async def first_and_rest(running: Running, path: str, body: Any, go_on: asyncio.Event) -> tuple[bytes, bytes]:
    async with running.client.stream("POST", path, json=body) as response:
        assert response.status_code == 200
        parts = response.aiter_raw()
        first = await anext(parts)
        go_on.set()
        return first, b"".join([part async for part in parts])


@pytest.mark.parametrize("surface", BODIES)
async def test_a_whole_answer_that_takes_long_begins_with_white_space(surface: str, routed: Routed) -> None:
    go_on = asyncio.Event()

    async def slow(request: Received, out: Out) -> None:
        await go_on.wait()
        await answers(200, completion("Hello"))(request, out)

    async with ScriptedHost(slow) as host, routed(host) as running:
        first, rest = await first_and_rest(running, f"/api/v1/{surface}", BODIES[surface], go_on)
        assert first == b"\n"
        assert b"Hello" in rest
        assert rows(running)[-1].client_status == 200


async def test_under_v1_a_whole_answer_has_its_own_status(routed: Routed) -> None:
    policy = QUICK | {"attempts": {"within": "300ms"}}
    async with ScriptedHost(stalls) as host, routed(host, **policy) as running:
        response = await running.client.post("/v1/chat/completions", json=ASKED)
        assert (response.status_code, response.text[0]) == (504, "{")


@pytest.mark.parametrize("surface", BODIES)
async def test_an_error_behind_white_space_is_reported_in_the_surfaces_words(surface: str, routed: Routed) -> None:
    policy = QUICK | {"attempts": {"within": "300ms"}}
    async with ScriptedHost(stalls) as host, routed(host, **policy) as running:
        response = await running.client.post(f"/api/v1/{surface}", json=BODIES[surface])
        assert response.text.startswith("\n")
        assert response.json()["error"]
        assert outcomes(running) == [("a/fp8", "timeout_total")]


async def test_a_stream_gets_comments_before_its_first_token_and_in_the_middle(routed: Routed) -> None:
    begin, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: Received, out: Out) -> None:
        await out.head(headers={"content-type": "text/event-stream"})
        await begin.wait()
        await out.send(ROLE + WORD)
        await go_on.wait()
        await out.send(WORD + STOP + DONE)
        await out.end()

    async with (
        ScriptedHost(slow) as host,
        routed(host) as running,
        running.client.stream("POST", "/api/v1/chat/completions", json=ASKED | {"stream": True}) as response,
    ):
        parts = response.aiter_raw()
        seen = await anext(parts)
        assert seen == b": OPENROUTER PROCESSING\n\n"
        begin.set()
        while b"Hello" not in seen:
            seen += await anext(parts)
        assert await anext(parts) == b": OPENROUTER PROCESSING\n\n"
        go_on.set()
        seen += b"".join([part async for part in parts])
        assert content(seen.decode()) == "HelloHello"


async def test_comments_are_no_progress(routed: Routed) -> None:
    async def hangs(_: Received, out: Out) -> None:
        await out.head(headers={"content-type": "text/event-stream"})
        await out.send(ROLE + WORD)
        await out.stall()

    async with ScriptedHost(hangs) as host, routed(host, timeouts={"gap": "300ms"}) as running:
        response = await running.client.post("/api/v1/chat/completions", json=ASKED | {"stream": True})
        assert '"finish_reason":"error"' in response.text
        assert outcomes(running) == [("a/fp8", "timeout_gap")]


@pytest.mark.parametrize("stream", [True, False])
async def test_where_all_hosts_said_wait_long_none_is_tried(stream: bool, routed: Routed) -> None:
    slow = answers(429, {"error": {"message": "slow down"}}, {"retry-after": "40"})
    async with ScriptedHost(slow) as one, ScriptedHost(slow) as other, routed(one, other) as running:
        assert (await running.chat(stream=stream)).status_code == 429
        response = await running.chat(stream=stream)
        assert (response.status_code, response.headers["x-gateway-attempts"]) == (429, "0")
        assert 30 <= int(response.headers["retry-after"]) <= 41
        assert (len(one.requests), len(other.requests)) == (1, 1)
        closing = rows(running)[-1]
        assert (closing.attempt, closing.outcome, closing.client_status) == (0, "rate_limited", 429)
