"""Anthropic's Messages API through a whole gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import MODEL, Gateway, Running, write_policy
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams, usage

PATH = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
KEY = "sk-client-0123456789abcdefghij"
ASKS: dict[str, Any] = {"model": "deepseek-v3.2", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
BUSY = answers(429, {"error": {"message": "slow down"}}, {"retry-after": "7"})


def events(response: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [block.split("\n") for block in response.text.split("\n\n")[:-1]]
    return [(kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for kind, data in lines]


def error(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    said: dict[str, Any] = response.json()
    assert (said["type"], said["error"]["type"]) == ("error", kind)
    assert said["request_id"] == response.headers.get("request-id")
    told: dict[str, Any] = said["error"]
    return told


@pytest.fixture
async def running(gateway: Gateway) -> AsyncIterator[Running]:
    """A gateway without hosts: what it answers is its own."""
    async with gateway({}, environ={"GATEWAY_API_KEYS": f"team:{KEY}"}, max_body="64KiB") as running:
        running.client.headers["x-api-key"] = KEY
        yield running


@pytest.mark.parametrize("path", [PATH, f"{PATH}?beta=true"])
async def test_a_streamed_message(path: str, gateway: Gateway) -> None:
    used = usage(prompt=20, completion=3, cached=12)
    async with (
        ScriptedHost(streams(chunks("Hello you", used=used))) as host,
        gateway({"a/fp8": host.url}) as running,
    ):
        headers = {"anthropic-version": "2023-06-01", "anthropic-beta": "interleaved-thinking-2025-05-14"}
        response = await running.client.post(path, json=ASKS | {"stream": True}, headers=headers)
        said = events(response)
        assert [kind for kind, _ in said] == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert said[2][1]["delta"] == {"type": "text_delta", "text": "Hello"}
        told = said[-2][1]["usage"]
        assert (told["input_tokens"], told["cache_read_input_tokens"], told["output_tokens"]) == (8, 12, 3)
        assert told["cost"] == pytest.approx((8 * 0.25 + 12 * 0.05 + 3 * 0.5) / 1e6)
        assert response.headers["request-id"] == response.headers["x-generation-id"]
        assert response.headers["x-gateway-endpoint"] == "a/fp8"
        assert said[0][1]["message"]["id"] == response.headers["request-id"].replace("gen-", "msg_")
        assert host.requests[0].json()["messages"] == ASKS["messages"]


async def test_a_tool_turn_with_thinking_reaches_the_host_whole(gateway: Gateway) -> None:
    turn = [
        {"role": "user", "content": "Weather in Paris?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I must look.", "signature": "msg_1"},
                {"type": "tool_use", "id": "call_0", "name": "weather", "input": {"city": "Paris"}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_0", "content": "sunny"}]},
    ]
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    dialect = {"thinking": "chat_template_kwargs.thinking", "thinking_default": "off"}
    async with (
        ScriptedHost(answers(200, completion("It is sunny.", reasoning="Good."))) as host,
        gateway({"a/fp8": host.url}, endpoint={"dialect": dialect, "supports": ["tools"]}) as running,
    ):
        thinking = {"type": "enabled", "budget_tokens": 1024}
        asked = ASKS | {"messages": turn, "tools": tools, "thinking": thinking, "stop_sequences": ["END"]}
        answer = (await running.client.post(PATH, json=asked)).json()
        assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
        assert answer["stop_reason"] == "end_turn"
        sent = host.requests[0].json()
        assert sent["chat_template_kwargs"] == {"thinking": True}
        assert sent["stop"] == ["END"]
        assert sent["messages"][1]["reasoning_content"] == "I must look."
        assert sent["messages"][2] == {"role": "tool", "tool_call_id": "call_0", "content": "sunny"}
        assert "thinking" not in sent


async def test_names_of_others_are_served_only_where_an_alias_says_so(gateway: Gateway) -> None:
    async with ScriptedHost(answers(200, completion("Hello"))) as host:
        async with gateway({"a/fp8": host.url}) as running:
            told = error(
                await running.client.post(PATH, json=ASKS | {"model": "claude-opus-5"}), 404, "not_found_error"
            )
            assert "deepseek/deepseek-v3.2" in told["message"]
            told = error(
                await running.client.post(PATH, json=ASKS | {"model": "deepseek-v3.2:none"}), 404, "not_found_error"
            )
            assert "balanced" in told["message"]
        price = {"input": 0.25, "cached_input": 0.05, "output": 0.5}
        endpoint = {"id": "a/fp8", "provider": "vllm", "model": "m", "base_url": f"{host.url}/v1", "price": price}
        aliased = MODEL | {"aliases": ["claude-opus-5"], "endpoints": [endpoint]}
        async with gateway({}, models={"deepseek/deepseek-v3.2": aliased}) as running:
            answer = await running.client.post(PATH, json=ASKS | {"model": "claude-opus-5"})
            assert answer.json()["model"] == "claude-opus-5"


async def test_what_the_gateway_refuses(running: Running) -> None:
    post = running.client.post
    for path in (PATH, COUNT):
        for key in ("", "wrong"):
            error(await post(path, json=ASKS, headers={"x-api-key": key}), 401, "authentication_error")
        error(await post(path, content=b"{", headers={"x-api-key": "wrong"}), 401, "authentication_error")
        error(await post(path, json=ASKS, headers={"authorization": "Bearer wrong"}), 401, "authentication_error")
        for body in (b"", b"{", b"[]", b'{"model": "deepseek-v3.2"}'):
            error(await post(path, content=body), 400, "invalid_request_error")
        image = {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://a.example"}}]}
        told = error(await post(path, json=ASKS | {"messages": [image]}), 400, "invalid_request_error")
        assert "messages[0].content[0]" in told["message"]
        told = error(await post(path, json=ASKS | {"max_tokens": 0}), 400, "invalid_request_error")
        assert "max_tokens" in told["message"]
        deep = b'{"model":"deepseek-v3.2","messages":[{"role":"user","content":"Hi"}],"provider":%b}'
        deep %= b"[" * 900 + b"]" * 900
        assert "200 levels" in error(await post(path, content=deep), 400, "invalid_request_error")["message"]
    assert error(await post(PATH, json=ASKS), 503, "overloaded_error")["message"]


async def test_counting_tokens_asks_no_host(running: Running) -> None:
    async def count(**fields: Any) -> int:
        asked = {name: value for name, value in (ASKS | fields).items() if name != "max_tokens"}
        response = await running.client.post(COUNT, json=asked)
        assert response.json().keys() == {"input_tokens"}
        tokens: int = response.json()["input_tokens"]
        return tokens

    plain = await count()
    assert 0 < plain < 10
    assert await count(system="x" * 4000) == pytest.approx(plain + 1000, abs=10)
    tools = [{"name": "f", "description": "x" * 4000, "input_schema": {"type": "object"}}]
    assert await count(tools=tools) == pytest.approx(plain + 1000, abs=50)


@pytest.mark.parametrize("stream", [False, True])
async def test_errors_of_hosts(stream: bool, gateway: Gateway) -> None:
    refused = {"error": {"message": "This model's maximum context length is 163840 tokens", "code": 400}}
    scripts = {
        (429, "rate_limit_error"): BUSY,
        (503, "overloaded_error"): answers(500, {"error": {"message": "out of order"}}),
        (502, "api_error"): answers(200, b"no json"),
        (400, "invalid_request_error"): answers(400, refused),
    }
    for (status, kind), script in scripts.items():
        async with ScriptedHost(script) as host, gateway({"a/fp8": host.url}) as running:
            response = await running.client.post(PATH, json=ASKS | {"stream": stream})
            told = error(response, status, kind)
            if status == 429:
                assert int(response.headers["retry-after"]) <= 7
            if status == 400:
                assert told["message"].startswith("prompt is too long: ")


async def test_a_stream_that_breaks_ends_with_an_error(gateway: Gateway) -> None:
    async with (
        ScriptedHost(streams(chunks("Hello you")[:3], done=False)) as host,
        gateway({"a/fp8": host.url}) as running,
    ):
        said = events(await running.client.post(PATH, json=ASKS | {"stream": True}))
        kinds = [kind for kind, _ in said]
        assert kinds[0] == "message_start"
        assert kinds[-1] == "error"
        assert "message_stop" not in kinds
        assert said[-1][1]["error"]["type"] == "api_error"
        assert said[-1][1]["request_id"].startswith("gen-")


async def test_a_relayed_event_that_is_none_ends_with_an_error(gateway: Gateway) -> None:
    garbage: list[dict[str, Any] | bytes | str] = [*chunks("Hello you")[:2], "{no json", *chunks("more")]
    async with ScriptedHost(streams(garbage)) as host, gateway({"a/fp8": host.url}) as running:
        said = events(await running.client.post(PATH, json=ASKS | {"stream": True}))
        assert said[-1][0] == "error"


async def test_a_client_that_waits_is_pinged(gateway: Gateway, tmp_path: Path) -> None:
    pinged = asyncio.Event()

    async def slow(_: Received, out: Out) -> None:
        await out.head(200, {"content-type": "text/event-stream"})
        await pinged.wait()
        for one in chunks("Hello"):
            await out.send(b"data: " + json.dumps(one).encode() + b"\n\n")
        await out.send(b"data: [DONE]\n\n")
        await out.end()

    write_policy(tmp_path / "policies", "patient", keepalive="50ms")
    async with ScriptedHost(slow) as host, gateway({"a/fp8": host.url}, default_policy="patient") as running:
        kinds = []
        async with running.client.stream("POST", PATH, json=ASKS | {"stream": True}) as response:
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    kinds.append(line.removeprefix("event: "))
                if kinds and kinds[-1] == "ping":
                    pinged.set()
        assert kinds[:2] == ["message_start", "ping"]
        assert kinds[-1] == "message_stop"
        assert kinds.count("message_start") == 1


async def test_what_no_handler_was_asked_for_is_told_in_its_words(gateway: Gateway) -> None:
    """Bodies over the limit, unknown routes, and models that are asked for by Anthropic's clients."""
    async with gateway({"own/fp8": "http://127.0.0.1:1"}, max_body="1KiB") as running:
        client, big = running.client, b"x" * 2_000
        for start in ("/v1", "/api/v1"):
            for path in ("messages", "messages?beta=true", "messages/count_tokens"):
                answer = await client.post(f"{start}/{path}", content=big)
                assert (answer.status_code, *refused(answer)) == (413, "request_too_large")
            answer = await client.get(f"{start}/messages/batches")
            assert (answer.status_code, *refused(answer)) == (404, "not_found_error")
        answer = await client.get("/v1/models/claude", headers={"anthropic-version": "2023-06-01"})
        assert (answer.status_code, *refused(answer)) == (404, "not_found_error")
        assert "type" not in (await client.get("/v1/models/claude")).json()


def refused(answer: Any) -> tuple[str]:
    told = answer.json()
    assert (told.keys(), told["type"]) == ({"type", "error", "request_id"}, "error")
    return (told["error"]["type"],)
