"""`/v1/responses` end to end: a request over HTTP, a host that is asked for a chat completion, and what comes back."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway import Gateway, write_policy
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams, usage

Json = dict[str, Any]
PATH = "/v1/responses"
ASKED: Json = {"model": "deepseek-v3.2", "input": "Hi"}
USED = usage(prompt=20, completion=9, cached=8, reasoning=4)
DEEP = b'{"model":"deepseek-v3.2","input":"Hi",%s:' + b"[" * 900 + b"]" * 900 + b"}"


def events(response: httpx.Response) -> list[Json]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return [json.loads(line.removeprefix("data: ")) for line in response.text.splitlines() if line.startswith("data: ")]


def refused(response: httpx.Response, status: int = 400) -> Json:
    assert response.status_code == status, response.text
    assert response.json().keys() == {"error"}
    error: Json = response.json()["error"]
    assert {"message", "type", "param", "code"} <= error.keys()
    return error


def text(response: Json) -> str:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts)


async def test_a_whole_response(gateway: Gateway) -> None:
    said = completion("Hello there", reasoning="I think", used=USED)
    async with ScriptedHost(answers(200, said)) as host, gateway({"a/fp8": host.url}) as running:
        answer = await running.client.post(PATH, json={**ASKED, "instructions": "Be brief.", "max_output_tokens": 50})
        sent = host.requests[0].json()
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-endpoint"] == "a/fp8"
    told = answer.json()
    assert told["id"] == answer.headers["x-generation-id"].replace("gen-", "resp_")
    assert (told["object"], told["status"], text(told)) == ("response", "completed", "Hello there")
    assert told["output"][0]["content"] == [{"type": "reasoning_text", "text": "I think"}]
    assert told["usage"]["input_tokens_details"]["cached_tokens"] == 8
    assert told["usage"]["output_tokens_details"]["reasoning_tokens"] == 4
    assert told["usage"]["cost"] == pytest.approx((12 * 0.25 + 8 * 0.05 + 9 * 0.5) / 1e6)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["max_tokens"] == 50


async def test_a_streamed_response_comes_to_the_same(gateway: Gateway) -> None:
    streamed = streams(chunks("Hello there", reasoning="I think", used=USED))
    async with ScriptedHost(streamed) as host, gateway({"a/fp8": host.url}) as running:
        asked = {**ASKED, "stream": True, "reasoning": {"effort": "high"}}
        found = events(await running.client.post(PATH, json=asked))
        sent = host.requests[0].json()
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert (found[0]["type"], found[-1]["type"]) == ("response.created", "response.completed")
    assert text(found[-1]["response"]) == "Hello there"
    assert found[-1]["response"]["usage"]["output_tokens"] == 9
    assert sent["chat_template_kwargs"] == {"thinking": True}
    assert sent["stream_options"] == {"include_usage": True}


async def test_a_tool_turn_reaches_the_host_with_its_reasoning(gateway: Gateway) -> None:
    turn = [
        {"role": "user", "content": "Weather in Paris?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "I ask."}]},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
    ]
    tools = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}]
    async with (
        ScriptedHost(answers(200, completion("Sunny."))) as host,
        gateway({"a/fp8": host.url}, endpoint={"supports": ["tools"]}) as running,
    ):
        answer = await running.client.post(PATH, json={**ASKED, "input": turn, "tools": tools})
        assert answer.status_code == 200, answer.text
        sent = host.requests[0].json()
    assert sent["messages"][1]["reasoning_content"] == "I ask."
    assert sent["messages"][2] == {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    assert sent["tools"][0]["function"]["name"] == "get_weather"


async def test_a_stream_that_breaks_ends_with_an_error_and_a_failed_response(gateway: Gateway) -> None:
    cut = streams(chunks("Hello there")[:-2], done=False)
    async with ScriptedHost(cut) as host, gateway({"a/fp8": host.url}) as running:
        found = events(await running.client.post(PATH, json={**ASKED, "stream": True}))
    assert [event["type"] for event in found[-2:]] == ["error", "response.failed"]
    assert "broke off" in found[-2]["error"]["message"]
    assert text(found[-1]["response"]) == "Hello there"
    assert found[-1]["response"]["status"] == "failed"


async def test_an_error_after_the_headers_left_is_reported_in_the_stream(gateway: Gateway, tmp_path: Path) -> None:
    """A client that waits gets comments first; then the host fails."""

    async def late(request: Received, out: Out) -> None:
        await host.until(lambda: kept_alive)
        await answers(503, {"error": {"message": "overloaded"}})(request, out)

    kept_alive: list[str] = []
    write_policy(tmp_path / "policies", "quick", keepalive="10ms", attempts={"retries": 0})
    async with ScriptedHost(late) as host, gateway({"a/fp8": host.url}, default_policy="quick") as running:
        asked = running.client.stream("POST", PATH, json={**ASKED, "stream": True})
        async with asked as response:
            assert response.status_code == 200
            lines = []
            async for line in response.aiter_lines():
                lines.append(line)
                kept_alive.append(line)
    told = [json.loads(line.removeprefix("data: "))["type"] for line in lines if line.startswith("data: ")]
    assert lines[0] == ": keep-alive"
    assert told == ["response.created", "response.in_progress", "error", "response.failed"]


async def test_errors_have_openais_shape(gateway: Gateway) -> None:
    busy = answers(429, {"error": {"message": "slow down"}}, {"retry-after": "7"})
    async with (
        ScriptedHost(busy) as host,
        gateway({"a/fp8": host.url, "b/fp8": host.url}, environ={"GATEWAY_API_KEYS": "app:k"}) as running,
    ):

        async def ask(**fields: Any) -> httpx.Response:
            return await running.client.post(PATH, json=ASKED | fields, headers={"authorization": "Bearer k"})

        assert refused(await running.client.post(PATH, json=ASKED), 401)["type"] == "authentication_error"
        assert refused(await ask(model="gpt-4"), 404)["code"] == "model_not_found"
        assert refused(await ask(previous_response_id="resp_1"), 503)["code"] == "store_away"
        for stream, endpoint in ((False, "a/fp8"), (True, "b/fp8")):  # the same one would first be waited for
            limited = await ask(stream=stream, provider={"only": [endpoint]})
            assert refused(limited, 429)["code"] == "rate_limit_exceeded"
            assert limited.headers["retry-after"] == "7"


async def test_a_body_that_is_no_json_object(gateway: Gateway) -> None:
    async with gateway({}) as running:
        for body in (b"{", b"[]", b"null"):
            assert "JSON" in refused(await running.client.post(PATH, content=body))["message"]


@pytest.mark.parametrize("field", [b'"extra"', b'"text"', b'"metadata"', b'"tools"', b'"top_p"'])
async def test_json_of_any_depth_is_answered(field: bytes, gateway: Gateway) -> None:
    async with ScriptedHost(answers(200, completion("Hello"))) as host, gateway({"a/fp8": host.url}) as running:
        refused(await running.client.post(PATH, content=DEEP % field))
        inside = b'{"model":"deepseek-v3.2","input":"Hi","text":{"x":' + b"[" * 900 + b"]" * 900 + b"}}"
        assert "200 levels" in refused(await running.client.post(PATH, content=inside))["message"]
        assert (await running.client.post(PATH, json=ASKED)).status_code == 200, "the gateway goes on"
        assert await running.metric("gateway_in_flight") == 0
