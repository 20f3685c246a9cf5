"""What the gateway itself refuses: always in the OpenAI error shape, and never with a key in it."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.gateway import Gateway, Running
from tests.support.host import Script, ScriptedHost, answers, completion, streams

KEY = "sk-client-0123456789abcdefghij"
HOST_KEY = "sk-host-0123456789abcdefghij"
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Hi"}]
GOOD: dict[str, Any] = {"model": "deepseek-v3.2", "messages": MESSAGES}


@pytest.fixture
async def running(gateway: Gateway) -> AsyncIterator[Running]:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"a/fp8": host.url}, max_body="64KiB") as running,
    ):
        yield running


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    payload = response.json()
    assert payload.keys() == {"error"}
    found: dict[str, Any] = payload["error"]
    assert {"message", "type", "param", "code"} <= found.keys()
    assert isinstance(found["message"], str)
    assert found["message"]
    return found


@pytest.mark.parametrize("path", [CHAT, "/v1/explain"])
async def test_a_body_that_is_no_json_object(path: str, running: Running) -> None:
    for body in (b"", b"{", b"not json", b"\xff\xfe", b"[]", b'"text"', b"null", b'{"a": NaN}'):
        told = error(await running.client.post(path, content=body), 400)
        assert told["type"] == "invalid_request_error"
        assert "JSON" in told["message"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"model": 7}, "model"),
    ({"model": ""}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "Hi"}, "messages"),
    ({"messages": {"role": "user"}}, "messages"),
    ({"messages": ["Hi"]}, "messages[0]"),
    ({"messages": [*MESSAGES, {"content": "Hi"}]}, "messages[1]"),
    ({"messages": [{"role": 7}]}, "messages[0]"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": True}, "stream_options"),
    ({"tools": {"a": 1}}, "tools"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "many"}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"n": 0}, "n"),
    ({"n": "two"}, "n"),
    ({"n": 17}, "n"),
    ({"reasoning": "high"}, "reasoning"),
    ({"reasoning_effort": 3}, "reasoning_effort"),
]


async def test_a_field_of_the_wrong_type_is_named(running: Running) -> None:
    for fields, param in WRONG:
        told = error(await running.client.post(CHAT, json=GOOD | fields), 400)
        assert (told["type"], told["param"]) == ("invalid_request_error", param), fields


@pytest.mark.parametrize("headers", [{}, {"x-gateway-cache": "on"}])
async def test_json_of_any_depth_is_answered(headers: dict[str, str], running: Running) -> None:
    """Deeper than can be written again, so it cannot be sent on."""
    body = b'{"model":"deepseek-v3.2","messages":[{"role":"user","content":"Hi"%s}]%s}'
    deep = b',"extra":' + b"[" * 900 + b"]" * 900
    for inside in ((deep, b""), (b"", deep), (b"", b',"tools":[' + b'[{"a":' * 300 + b"1" + b"}]" * 300 + b"]")):
        told = error(await running.client.post(CHAT, content=body % inside, headers=headers), 400)
        assert "200 levels" in told["message"]
    wide = b',"extra":[' + b",".join([b'{"a":[]}'] * 900) + b"]"
    near = b',"extra":' + b"[" * 190 + b"]" * 190
    for inside in ((wide, wide), (near, near)):
        assert (await running.client.post(CHAT, content=body % inside, headers=headers)).status_code == 200
    assert (await running.chat()).status_code == 200, "the gateway goes on"
    assert await running.metric("gateway_in_flight") == 0


async def test_an_unknown_model_lists_the_models(running: Running) -> None:
    told = error(await running.client.post(CHAT, json=GOOD | {"model": "gpt-4"}), 404)
    assert (told["type"], told["code"], told["param"]) == ("not_found_error", "model_not_found", "model")
    assert "deepseek/deepseek-v3.2" in told["message"]
    assert error(await running.client.get("/v1/models/gpt-4"), 404)["code"] == "model_not_found"


async def test_an_unknown_policy_lists_the_policies(running: Running) -> None:
    for name in ("nothing", "a:b", "Balanced"):
        told = error(await running.client.post(CHAT, json=GOOD | {"model": f"deepseek-v3.2:{name}"}), 404)
        assert (told["code"], told["param"]) == ("policy_not_found", "model")
        assert "balanced" in told["message"]
        told = error(await running.client.post(CHAT, json=GOOD, headers={"x-gateway-policy": name}), 404)
        assert (told["code"], told["param"]) == ("policy_not_found", "x-gateway-policy")


async def test_a_suffix_of_openrouters_own_is_explained(running: Running) -> None:
    for name in ("free", "batch", "thinking"):
        told = error(await running.client.post(CHAT, json=GOOD | {"model": f"deepseek-v3.2:{name}"}), 404)
        assert "OpenRouter" in told["message"]


async def test_an_unknown_cache_mode(running: Running) -> None:
    told = error(await running.client.post(CHAT, json=GOOD, headers={"x-gateway-cache": "off"}), 400)
    assert told["param"] == "x-gateway-cache"
    assert "refresh" in told["message"]


async def test_a_body_that_is_too_large(gateway: Gateway) -> None:
    big = GOOD | {"messages": [{"role": "user", "content": "x" * 100_000}]}
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"a/fp8": host.url}, max_body="64KiB") as running,
    ):
        told = error(await running.client.post(CHAT, json=big), 413)
        assert (told["type"], told["code"]) == ("invalid_request_error", "request_too_large")
        assert (await running.chat()).status_code == 200, "the gateway goes on"


async def test_a_wrong_method(running: Running) -> None:
    for method, path in (("GET", CHAT), ("PUT", CHAT), ("POST", "/v1/models"), ("DELETE", "/metrics")):
        response = await running.client.request(method, path)
        assert error(response, 405)["type"] == "invalid_request_error"
        assert response.headers["allow"]


async def test_a_path_that_lacks_v1_is_shown_the_right_one(running: Running) -> None:
    for path, known in (("/v1/v1/chat/completions", "/v1/chat/completions"), ("/responses", "/v1/responses")):
        told = error(await running.client.post(path, json=GOOD), 404)
        assert told["message"] == f"POST {path}: Not Found; did you mean {known}?"
    assert "did you mean" not in error(await running.client.get("/v2/nothing"), 404)["message"]


async def test_an_unknown_path(running: Running) -> None:
    for path in ("/v1/nothing", "/v2/chat/completions", "/%00"):
        assert error(await running.client.post(path, json=GOOD), 404)["type"] == "not_found_error"


async def test_refused_requests_leave_no_rows(running: Running) -> None:
    await running.client.post(CHAT, content=b"{")
    await running.client.post(CHAT, json=GOOD | {"model": "gpt-4"})
    assert await running.metric("gateway_requests_total") == 0


# --- keys


ECHO = {"error": {"message": f"Incorrect API key provided: {HOST_KEY}", "code": HOST_KEY, "param": HOST_KEY}}
UNKNOWN = {"error": {"message": f"Unsupported parameter: '{HOST_KEY}'", "type": HOST_KEY, "param": HOST_KEY}}
ECHOES = [
    *(answers(status, ECHO) for status in (200, 400, 401, 403, 429, 500)),
    answers(400, {"error": {"message": "messages: wrong", "code": HOST_KEY, "param": HOST_KEY}}),
    answers(400, UNKNOWN),
    answers(422, {"detail": [{"loc": ["body", HOST_KEY], "msg": HOST_KEY, "type": HOST_KEY}]}),
    answers(500, f"<html><title>{HOST_KEY}</title></html>".encode()),
    streams([ECHO]),
    streams([{"choices": [{"index": 0, "delta": {}, "finish_reason": HOST_KEY}]}]),
]


@pytest.mark.parametrize("script", ECHOES)
async def test_no_key_is_ever_shown(script: Script, gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """Not in errors, logs, rows or metrics: neither a client's, nor a host's, even if the host repeats it."""
    caplog.set_level(logging.DEBUG, "gateway")
    environ = {"GATEWAY_API_KEYS": f"team:{KEY}", "HOST_API_KEY": HOST_KEY}
    good = {"authorization": f"Bearer {KEY}"}
    said = []
    async with (
        ScriptedHost(script) as host,
        gateway(
            dict.fromkeys("abcdef", host.url), environ=environ, endpoint={"api_key_env": "HOST_API_KEY"}
        ) as running,
    ):
        for headers in ({}, {"authorization": f"Bearer {KEY}x"}, {"authorization": KEY}, {"x-api-key": KEY[:-1]}):
            response = await running.chat(headers=headers)
            assert error(response, 401)["type"] == "authentication_error"
            said.append(response.text)
        endpoints = iter("abcdef")  # one for each request: after a 429 the same one would first be waited for
        for headers in (good, {"authorization": f"bearer  {KEY}"}, {"x-api-key": KEY}):
            for stream in (True, False):
                only = {"only": [next(endpoints)]}
                response = await running.chat(headers=headers, stream=stream, provider=only)
                assert response.status_code != 401
                said.append(response.text)
        sent = [request.headers["authorization"] for request in host.requests if request.path == CHAT]
        assert len(sent) >= 6  # with the probes of an account that failed
        assert set(sent) == {f"Bearer {HOST_KEY}"}
        for path in ("/metrics", "/health/ready", "/v1/models"):
            said += [(await running.client.get(path, headers=good)).text]
        files = list((running.folder / "ledger").iterdir())
        assert {path.suffix for path in files} == {".jsonl", ".sent"}
        kept = [path.read_bytes() for path in files]  # the attempts under way are not text
    everything = b"\n".join([*kept, *(text.encode() for text in said), caplog.text.encode()])
    assert KEY[:-1].encode() not in everything
    assert HOST_KEY.encode() not in everything


async def test_metrics_and_health_need_no_key(gateway: Gateway) -> None:
    async with gateway({}, environ={"GATEWAY_API_KEYS": f"team:{KEY}"}) as running:
        assert (await running.client.get("/metrics")).status_code == 200
        assert (await running.client.get("/health/live")).status_code == 200
        assert error(await running.client.get("/v1/models"), 401)["code"] == "missing_api_key"
