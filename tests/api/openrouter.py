"""Asking `/api/v1` in tests, and what every answer there must be, whatever the host sent."""

import json
from typing import Any

import httpx

from tests.support.gateway import Running

Json = dict[str, Any]
CHAT = "/api/v1/chat/completions"
MODEL = "deepseek/deepseek-v3.2"
WAITING = ": OPENROUTER PROCESSING\n\n"
REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "error"})
NEVER_NULL = ("audio", "tool_calls", "reasoning_details", "reasoning_content", "annotations", "function_call")


async def ask(
    running: Running, path: str = CHAT, *, headers: dict[str, str] | None = None, **fields: Any
) -> httpx.Response:
    """One request; a field that is None is left out."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], **fields}
    kept = {name: value for name, value in body.items() if value is not None}
    return await running.client.post(path, json=kept, headers=headers or {})


def chunks_of(response: httpx.Response) -> list[Json]:
    """The chunks of a stream, each checked."""
    assert response.status_code == 200, response.text
    lines = [line for line in response.text.splitlines() if line]
    assert all(line.startswith((": ", "data: ")) for line in lines)
    found: list[Json] = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    for one in found:
        check_chunk(one)
    assert len({(one["id"], one["created"]) for one in found}) == 1
    return found


def check_chunk(chunk: Json) -> None:
    assert (chunk["object"], chunk["model"]) == ("chat.completion.chunk", MODEL)
    assert chunk["id"].startswith("gen-")
    assert isinstance(chunk["created"], int)
    assert isinstance(chunk["provider"], str)
    assert "system_fingerprint" not in chunk
    assert "usage" not in chunk or not chunk["choices"]
    if "usage" in chunk:
        check_usage(chunk["usage"])
    for choice in chunk["choices"]:
        assert choice["finish_reason"] in {None, *REASONS}
        assert "native_finish_reason" in choice
        delta = choice["delta"]
        assert delta["role"] == "assistant"
        assert all(delta[name] is not None for name in NEVER_NULL if name in delta)
        for call in delta.get("tool_calls", ()):
            assert isinstance(call["index"], int)
            assert "id" not in call or (call["type"] == "function" and call["function"]["name"])


def whole(response: httpx.Response) -> Json:
    """A whole answer, checked."""
    assert response.status_code == 200, response.text
    found: Json = response.json()
    assert (found["object"], found["model"]) == ("chat.completion", MODEL)
    assert found["id"] == response.headers["x-generation-id"]
    assert isinstance(found["created"], int)
    assert isinstance(found["provider"], str)
    assert "system_fingerprint" in found
    check_usage(found["usage"])
    for choice in found["choices"]:
        assert choice["finish_reason"] in REASONS
        assert isinstance(choice["native_finish_reason"], str)
        message = choice["message"]
        assert message["role"] == "assistant"
        assert all(message[name] is not None for name in NEVER_NULL if name in message)
        for call in message.get("tool_calls", ()):
            assert (call["type"], type(call["id"])) == ("function", str)
    return found


def check_usage(usage: Json) -> None:
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert isinstance(usage[name], int)
    assert isinstance(usage["cost"], int | float)
    assert isinstance(usage["prompt_tokens_details"]["cached_tokens"], int)
    assert isinstance(usage["completion_tokens_details"]["reasoning_tokens"], int)
    parts = usage["cost_details"]
    paid = parts["upstream_inference_prompt_cost"] + parts["upstream_inference_completions_cost"]
    assert abs(paid - parts["upstream_inference_cost"]) < 1e-12
    assert usage["is_byok"] is False


def told(response: httpx.Response, status: int) -> Json:
    """A whole answer that is an error, checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    found: Json = response.json()["error"]
    check_error(found, status)
    return found


def check_error(error: Json, status: int) -> None:
    assert error["code"] == status
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["metadata"]["error_type"], str)
    if "availability" in error:
        assert {"code", "retryable"} <= error["availability"].keys()


def broken(response: httpx.Response) -> Json:
    """The error at the end of a stream, which has no [DONE]."""
    last = chunks_of(response)[-1]
    assert "[DONE]" not in response.text
    assert last["choices"][0]["finish_reason"] == "error"
    check_error(last["error"], last["error"]["code"])
    found: Json = last["error"]
    return found
