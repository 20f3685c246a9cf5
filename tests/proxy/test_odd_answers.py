"""Answers that no host should give: what they may not do to the client, to the next answer, and to what is learned."""

from typing import Any

import httpx
import pytest

from tests.proxy.routed import Routed, outcomes, rows
from tests.support.host import ScriptedHost, answers, chunks, completion, streams, usage

PATHS = pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions"])
BODY = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}


def nested(levels: int) -> Any:
    """JSON that can be read; what has over 254 levels cannot be written again."""
    value: Any = "deep"
    for _ in range(levels):
        value = [value]
    return value


@PATHS
@pytest.mark.parametrize("levels", [250, 600])
async def test_an_answer_that_is_nested_too_deeply_is_the_hosts_fault(path: str, levels: int, routed: Routed) -> None:
    deep = {**completion("Hello"), "model": nested(levels)}
    async with (
        ScriptedHost(answers(200, deep)) as first,
        ScriptedHost(answers(200, completion("Hello"))) as second,
        routed(first, second) as running,
    ):
        response = await running.client.post(path, json=BODY)
        assert response.json()["choices"][0]["message"]["content"] == "Hello"
        assert outcomes(running) == [("a/fp8", "garbage"), ("b/fp8", "ok")]


async def test_a_chunk_that_is_nested_too_deeply_is_the_hosts_fault(routed: Routed) -> None:
    role, *rest = chunks("Hello")
    role["choices"][0]["delta"]["audio"] = nested(250)
    async with (
        ScriptedHost(streams([role, *rest])) as first,
        ScriptedHost(streams(chunks("Hello"))) as second,
        routed(first, second) as running,
    ):
        response = await running.client.post("/api/v1/chat/completions", json={**BODY, "stream": True})
        assert "Hello" in response.text
        assert outcomes(running) == [("a/fp8", "garbage"), ("b/fp8", "ok")]


@pytest.mark.parametrize(("status", "source"), [(200, "estimated"), (307, "none")])
async def test_an_answer_that_cannot_be_read_may_have_been_paid(status: int, source: str, routed: Routed) -> None:
    """A host that says 200 has mostly done the work, whatever became of the bytes."""
    async with (
        ScriptedHost(answers(status, b"\0not JSON")) as first,
        ScriptedHost(answers(200, completion("Hello"))) as second,
        routed(first, second) as running,
    ):
        await running.chat()
        unread, _ = rows(running)
        assert (unread.outcome, unread.usage_source, unread.cost > 0) == ("garbage", source, source == "estimated")


@pytest.mark.parametrize("stream", [True, False])
async def test_what_cannot_be_kept_ends_well_for_its_client(stream: bool, valkey: str, routed: Routed) -> None:
    """A connection that was told two ends would give the next request a part of this answer."""
    content = "x" * 3_000_000
    script = streams(chunks(content)) if stream else answers(200, completion(content))
    async with ScriptedHost(script) as host, routed(host, store=valkey) as running:
        for _ in range(2):
            response = await running.chat(stream=stream, headers={"x-gateway-cache": "on"})
            assert response.status_code == 200
            assert response.headers["x-gateway-cache"] == "miss"


@pytest.mark.parametrize(("prompt", "output"), [(10**9, 5), (10, 10**9), (2_000_000, 5)])
@pytest.mark.parametrize("stream", [True, False])
async def test_more_tokens_than_fit_were_not_counted_well(
    prompt: int, output: int, stream: bool, routed: Routed
) -> None:
    used = usage(prompt=prompt, completion=output)
    script = streams(chunks("Hello", used=used)) if stream else answers(200, completion("Hello", used=used))
    async with ScriptedHost(script) as host, routed(host) as running:
        response: httpx.Response = await running.chat(stream=stream)
        assert response.status_code == 200
        (row,) = rows(running)
        assert row.usage_source == "counted"
        assert 0 < row.prompt_tokens + row.completion_tokens < 1_000
