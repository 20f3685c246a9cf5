"""Anthropic's Messages API through a whole gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import Gateway, Running, write_policy
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


async def test_names_of_others_are_not_served(gateway: Gateway) -> None:
    async with gateway({"a/fp8": "http://127.0.0.1:1"}) as running:
        for name in ("gpt-5", "anthropic/gpt-5", "not-claude", ""):
            asked = ASKS | {"model": name}
            kind = ("not_found_error", 404) if name else ("invalid_request_error", 400)
            told = error(await running.client.post(PATH, json=asked), kind[1], kind[0])
            assert "deepseek/deepseek-v3.2" in told["message"] or not name
        told = error(
            await running.client.post(PATH, json=ASKS | {"model": "deepseek-v3.2:none"}), 404, "not_found_error"
        )
        assert "balanced" in told["message"]


CLAUDE = [
    *("claude-haiku-4-5-20251001", "claude-opus-5", "claude-3-5-haiku-latest", "claude-sonnet-4-5-20250929[1m]"),
    *("anthropic/claude-sonnet-4.5", "Claude-Opus-5", "claude-sonnet-4@20250514", "claude"),
]


async def test_claudes_names_are_served_where_anthropics_clients_ask(gateway: Gateway) -> None:
    """Claude Code's subagents and background requests, and libraries that take no other names."""
    headers = {"anthropic-version": "2023-06-01"}
    async with ScriptedHost(answers(200, completion("Hello"))) as host, gateway({"a/fp8": host.url}) as running:
        client = running.client
        for name in CLAUDE:
            for path in (PATH, f"/api{PATH}", "/anthropic/v1/messages"):
                answer = await client.post(path, json=ASKS | {"model": name})
                assert (answer.status_code, answer.json().get("model")) == (200, name), answer.text
                assert answer.headers["x-gateway-policy"] == "balanced"
                count = await client.post(f"{path}/count_tokens", json=ASKS | {"model": name})
                assert count.json()["input_tokens"] > 0
            one = await client.get(f"/v1/models/{name}", headers=headers)
            assert (one.json()["type"], one.json()["id"]) == ("model", "deepseek/deepseek-v3.2")
            assert (await client.get(f"/v1/models/{name}")).status_code == 404
            chat = await client.post("/v1/chat/completions", json=ASKS | {"model": name})
            response = await client.post("/v1/responses", json={"model": name, "input": "Hi"})
            assert (chat.status_code, response.status_code) == (404, 404)
        assert {received.json()["model"] for received in host.requests} == {"test-model"}


async def test_what_crewai_asks(gateway: Gateway) -> None:
    """CrewAI's `anthropic/claude-...` sends no prefix, no version but a limit that no host of the model has."""
    tools = [{"name": "weather", "description": "w", "input_schema": {"type": "object", "properties": {}}}]
    call = [{"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Oslo"}}]
    result = [{"type": "tool_result", "tool_use_id": "c1", "content": "sunny"}]
    turn = [*ASKS["messages"], {"role": "assistant", "content": call}, {"role": "user", "content": result}]
    asked = {"model": "claude-sonnet-4-5", "max_tokens": 64_000, "stream": False, "tools": tools, "messages": turn}
    endpoint = {"supports": ["tools"], "max_output": 8_000}
    async with (
        ScriptedHost(_as_asked) as host,
        gateway({"a/fp8": host.url}, endpoint=endpoint) as running,
    ):
        answer = await running.client.post(PATH, json=asked, headers={"x-api-key": "any"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["content"][0]["text"] == "Hello"
        assert host.requests[0].json()["max_tokens"] == 8_000


async def _as_asked(request: Received, out: Out) -> None:
    """A long answer that is not streamed may be asked for as a stream."""
    stream = request.json().get("stream")
    await (streams(chunks("Hello")) if stream else answers(200, completion("Hello")))(request, out)


async def test_claudes_names_may_have_policies(gateway: Gateway) -> None:
    """By a part of the name; what the request itself names wins, and so does a model's own alias."""
    claude = {"haiku": "nitro", "opus": "exacto"}
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"a/fp8": host.url}, claude=claude, default_policy="floor") as running,
    ):
        for name, header, policy in (
            ("claude-haiku-4-5", "", "nitro"),
            ("anthropic/claude-3-OPUS[1m]", "", "exacto"),
            ("claude-sonnet-4-5", "", "floor"),
            ("claude-haiku-4-5:cached", "", "cached"),
            ("claude-haiku-4-5", "cached", "cached"),
            ("claude-haiku-4-5@preset/cached", "", "cached"),
            ("claude-sonnet-4@20250514", "", "floor"),
            ("deepseek-v3.2", "", "floor"),
            ("anthropic/deepseek-v3.2:nitro", "", "nitro"),
            ("deepseek-v3.2[1m]", "", "floor"),
        ):
            headers = {"x-gateway-policy": header} if header else {}
            answer = await running.client.post(PATH, json=ASKS | {"model": name}, headers=headers)
            assert answer.headers.get("x-gateway-policy") == policy, answer.text


async def test_a_model_keeps_the_names_that_it_has(gateway: Gateway) -> None:
    price = {"input": 0.25, "cached_input": 0.05, "output": 0.5}
    async with ScriptedHost(answers(200, completion("Hello"))) as host:
        endpoint = {"provider": "vllm", "base_url": f"{host.url}/v1", "price": price}
        models: dict[str, Any] = {
            "one/first": {
                "name": "First",
                "context": 9_000,
                "endpoints": [{"id": "a/one", "model": "first", **endpoint}],
            },
            "two/second": {
                "name": "Second",
                "context": 9_000,
                "aliases": ["claude-opus-5"],
                "endpoints": [{"id": "b/two", "model": "second", **endpoint}],
            },
        }
        async with gateway({}, models=models) as running:
            for name, asked in (("claude-opus-5", "second"), ("claude-sonnet-4-5", "first")):
                answer = await running.client.post(PATH, json=ASKS | {"model": name})
                assert answer.status_code == 200, answer.text
                assert host.requests[-1].json()["model"] == asked
            chat = await running.client.post("/v1/chat/completions", json=ASKS | {"model": "claude-opus-5"})
            assert chat.status_code == 200, "an alias is one everywhere"
        models["one/first"]["endpoints"] = []
        async with gateway({}, models=models) as running:
            assert (await running.client.post(PATH, json=ASKS | {"model": "claude-sonnet-4-5"})).status_code == 200
            assert host.requests[-1].json()["model"] == "second", "the first model that is in use"


async def test_deepseeks_base_url_for_anthropics_clients(running: Running) -> None:
    for path in ("/anthropic/v1/messages", "/anthropic/v1/messages?beta=true", "/anthropic/v1/messages/count_tokens"):
        error(await running.client.post(path, json=ASKS, headers={"x-api-key": "wrong"}), 401, "authentication_error")
    error(await running.client.post("/anthropic/v1/messages", json=ASKS), 503, "overloaded_error")
    error(await running.client.get("/anthropic/v1/other"), 404, "not_found_error")


async def test_every_refusal_has_a_name_and_says_whether_to_try_again(gateway: Gateway) -> None:
    """Claude Code tries a wrong key again for minutes, unless it is told not to."""
    async with gateway({}, environ={"GATEWAY_API_KEYS": f"team:{KEY}"}, max_body="1KiB") as running:
        client, key = running.client, {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
        wrong = key | {"x-api-key": "wrong"}
        useless = [
            (await client.post(PATH, json=ASKS, headers=wrong), 401),
            (await client.post(COUNT, json=ASKS, headers=wrong), 401),
            (await client.post(PATH, content=b"{", headers=key), 400),
            (await client.post(PATH, json=ASKS | {"model": "gpt-5"}, headers=key), 404),
            (await client.post(PATH, content=b"x" * 2_000, headers=key), 413),
            (await client.post(COUNT, content=b"x" * 2_000, headers=key), 413),
            (await client.get(f"{PATH}/batches", headers=key), 404),
            (await client.get(PATH, headers=key), 405),
            (await client.get("/v1/models/gpt-5", headers=key), 404),
            (await client.get("/v1/models", headers=wrong), 401),
        ]
        names = set()
        for answer, status in useless:
            assert (answer.status_code, answer.headers["x-should-retry"]) == (status, "false"), answer.text
            assert answer.json()["request_id"] == answer.headers["request-id"] != ""
            names.add(answer.headers["request-id"])
        assert len(names) == len(useless), "each has its own"
        later = await client.post(PATH, json=ASKS, headers=key)
        assert later.status_code == 503
        assert "x-should-retry" not in later.headers
        assert later.headers["request-id"] == later.headers["x-generation-id"] == later.json()["request_id"]
        chat = await client.post("/v1/chat/completions", json=ASKS, headers={"authorization": "Bearer wrong"})
        assert "request-id" not in chat.headers


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


VLLM = "This model's maximum context length is 9000 tokens. However, you requested {} tokens ({} in the messages, {} in"
NEWER = (
    "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 9000 tokens and"
    " your request has 8000 input tokens (2000 > 9000 - 8000)."
)


@pytest.mark.parametrize("words", [f"{VLLM.format(10_000, 8_000, 2_000)} the completion). Please reduce them.", NEWER])
async def test_a_host_that_has_no_room_for_the_answer(words: str, gateway: Gateway) -> None:
    """Claude Code asks for 32,000 tokens behind a long prompt, and for less when it reads these words."""
    refusal = answers(400, {"error": {"message": words, "code": 400}})
    async with ScriptedHost(refusal) as host, gateway({"a/fp8": host.url}) as running:
        response = await running.client.post(PATH, json=ASKS | {"max_tokens": 2_000})
        told = error(response, 400, "invalid_request_error")["message"]
    assert told.startswith("input length and `max_tokens` exceed context limit: 8000 + 2000 > 9000, decrease input")


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


async def test_an_error_before_any_handler_is_in_anthropics_format(gateway: Gateway) -> None:
    """Bodies over the limit, unknown routes, and models that are asked for by Anthropic's clients."""
    async with gateway({"own/fp8": "http://127.0.0.1:1"}, max_body="1KiB") as running:
        client, big = running.client, b"x" * 2_000
        for start in ("/v1", "/api/v1"):
            for path in ("messages", "messages?beta=true", "messages/count_tokens"):
                answer = await client.post(f"{start}/{path}", content=big)
                assert (answer.status_code, *refused(answer)) == (413, "invalid_request_error")
            answer = await client.get(f"{start}/messages/batches")
            assert (answer.status_code, *refused(answer)) == (404, "not_found_error")
        answer = await client.get("/v1/models/gpt-5", headers={"anthropic-version": "2023-06-01"})
        assert (answer.status_code, *refused(answer)) == (404, "not_found_error")
        assert "type" not in (await client.get("/v1/models/gpt-5")).json()


def refused(answer: Any) -> tuple[str]:
    told = answer.json()
    assert (told.keys(), told["type"]) == ({"type", "error", "request_id"}, "error")
    return (told["error"]["type"],)
