"""Errors under `/api/v1`: OpenRouter's envelope and codes, the host's own words, and what removed which endpoint."""

import json
from typing import Any

import pytest

from tests.api.openrouter import CHAT, ask, broken, chunks_of, told, whole
from tests.api.test_errors import ECHOES, HOST_KEY
from tests.proxy.routed import ROLE, WORD, Routed, rows, says
from tests.support.gateway import Gateway
from tests.support.host import Script, ScriptedHost, answers, chunks, completion, streams

KEY = "sk-client-0123456789abcdefghij"


def fails(status: int, message: str = "it says no", **more: Any) -> Script:
    headers = more.pop("headers", {})
    return answers(status, {"error": {"message": message, **more}}, headers)


ONE_HOST = [  # what the host answers, our status, error_type, availability's code
    (fails(429), 429, "rate_limit_exceeded", "capacity_exhausted"),
    (fails(500), 503, "provider_overloaded", "temporarily_unavailable"),
    (fails(503), 503, "provider_overloaded", "temporarily_unavailable"),
    (fails(401), 502, "provider_unavailable", "temporarily_unavailable"),
    (fails(400, "messages: wrong"), 400, "invalid_request", None),
    (fails(400, "content flagged by moderation"), 400, "content_policy_violation", None),
    (fails(400, "maximum context length is 8 tokens"), 400, "context_length_exceeded", None),
    (fails(400, "max_tokens is too large"), 400, "max_tokens_exceeded", None),
    (fails(422, "tools: not supported"), 422, "unprocessable", None),
    (streams([{"error": {"message": "it says no"}}]), 502, "provider_unavailable", "temporarily_unavailable"),
]


@pytest.mark.parametrize(("script", "status", "kind", "code"), ONE_HOST)
async def test_what_a_host_says_is_reported_by_openrouters_names(
    script: Script, status: int, kind: str, code: str | None, routed: Routed
) -> None:
    async with ScriptedHost(script) as host, routed(host) as running:
        error = told(await ask(running, stream=True), status)
    about = error["metadata"]
    assert about["error_type"] == kind
    assert (about["provider_name"], about["endpoint"], about["is_byok"]) == ("vLLM", "a/fp8", False)
    assert about["raw"] in error["message"]
    assert about["previous_errors"] == []
    assert error.get("availability", {}).get("code") == code


async def test_every_attempt_before_the_last_is_reported(routed: Routed) -> None:
    async with (
        ScriptedHost(fails(429, headers={"retry-after": "7"})) as first,
        ScriptedHost(fails(500, "boom")) as second,
        ScriptedHost(fails(503, "overloaded")) as third,
        routed(first, second, third) as running,
    ):
        response = await ask(running)
        error = told(response, 503)
    assert error["metadata"]["raw"] == "overloaded"
    assert error["metadata"]["endpoint"] == "c/fp8"
    assert error["metadata"]["previous_errors"] == [
        {"provider": "vLLM", "code": "rate_limit_exceeded", "status": 429},
        {"provider": "vLLM", "code": "server", "status": 500},
    ]
    assert error["availability"]["retry_after"] == 7
    assert response.headers["retry-after"] == "7"


async def test_a_rate_limit_everywhere_is_exhausted_capacity(routed: Routed) -> None:
    limited = fails(429, headers={"retry-after": "3"})
    async with ScriptedHost(limited) as first, ScriptedHost(limited) as second, routed(first, second) as running:
        error = told(await ask(running), 429)
        assert (error["availability"]["code"], error["availability"]["retryable"]) == ("capacity_exhausted", True)


DECLARES_NOTHING = {"endpoint": {"data": {"trains": "unknown", "zdr": "unknown"}, "supports": ["tools"]}}
EXCLUDED: list[tuple[dict[str, Any], str, str, str]] = [  # the request, its code, OpenRouter's word, our constraint
    ({"provider": {"quantizations": ["bf16"]}}, "constraint_filtered", "quantization", "require.quantization"),
    ({"provider": {"zdr": True}}, "privacy_restricted", "data_policy:zdr", "require.zdr"),
    ({"provider": {"data_collection": "deny"}}, "privacy_restricted", "data_policy:training", "require.no_training"),
    ({"provider": {"max_price": {"prompt": 0.1}}}, "constraint_filtered", "max_price", "price.input"),
    ({"provider": {"max_price": {"completion": 0.1}}}, "constraint_filtered", "max_price", "price.output"),
    ({"provider": {"ignore": ["vllm"]}}, "constraint_filtered", "allowed_providers", "require.ignore"),
    ({"response_format": {"type": "json_object"}}, "constraint_filtered", "require_parameters", "capability"),
    ({"max_tokens": 999_999}, "constraint_filtered", "context_length", "context"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("asked", "code", "word", "constraint"), EXCLUDED)
async def test_the_error_says_which_constraint_removed_which_endpoint(
    asked: dict[str, Any], code: str, word: str, constraint: str, stream: bool, routed: Routed
) -> None:
    async with ScriptedHost([]) as host, routed(host, settings=DECLARES_NOTHING) as running:
        error = told(await ask(running, stream=stream, **asked), 400 if constraint == "context" else 404)
    why = error["availability"]
    assert (why["code"], why["retryable"], why["excluded_by"]) == (code, False, [word])
    assert why["requested_models"] == ["deepseek/deepseek-v3.2"]
    (one,) = why["excluded"]
    assert (one["endpoint"], one["provider"], one["constraint"]) == ("a/fp8", "vLLM", constraint)
    if constraint == "context":
        assert error["metadata"]["over_by"] > 0
    else:
        assert one["detail"] in error["message"]


async def test_what_was_left_failed_and_the_others_were_removed(routed: Routed) -> None:
    async with (
        ScriptedHost(fails(503)) as first,
        ScriptedHost([]) as second,
        routed(first, second) as running,
    ):
        error = told(await ask(running, provider={"ignore": ["b/fp8"]}), 503)
        assert error["availability"]["code"] == "temporarily_unavailable"
        assert [one["endpoint"] for one in error["availability"]["excluded"]] == ["b/fp8"]


async def test_no_endpoint_at_all(gateway: Gateway) -> None:
    async with gateway({}) as running:
        error = told(await ask(running), 503)
        assert (error["availability"]["code"], error["availability"]["retryable"]) == ("no_endpoints", True)


async def test_lists_that_leave_no_provider_are_a_filtered_constraint(routed: Routed) -> None:
    only = {"require": {"only": ["a/fp8"]}}
    async with ScriptedHost([]) as first, ScriptedHost([]) as second, routed(first, second, **only) as running:
        error = told(await ask(running, provider={"only": ["b/fp8"]}), 404)
        assert error["availability"]["code"] == "constraint_filtered"
        assert error["availability"]["constraint"]["field"] == "provider.only"


UNKNOWN = [
    "gpt-4",
    "deepseek-v3.2:free",
    "deepseek-v3.2:nothing",
    "@preset/mine",
    "deepseek-v3.2@preset/mine",
    "gpt-4@preset/floor",
    "~deepseek/latest",
    "openrouter/auto",
]


@pytest.mark.parametrize("model", UNKNOWN)
async def test_an_unknown_model(model: str, routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host) as running:
        error = told(await ask(running, model=model), 404)
        assert error["metadata"]["error_type"] == "not_found"
        assert error["availability"] == {"code": "model_not_found", "retryable": False}


# --- errors that are found before any handler, or in another one


async def test_refusals_of_the_gateway_itself(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"a/fp8": host.url}, max_body="64KiB", environ={"GATEWAY_API_KEYS": f"team:{KEY}"}) as running,
    ):
        good = {"authorization": f"Bearer {KEY}"}
        assert told(await ask(running), 401)["metadata"]["error_type"] == "authentication"
        assert told(await ask(running, headers={"authorization": "Bearer sk-wrong"}), 401)
        assert told(await ask(running, "/api/v1/nothing", headers=good), 404)["metadata"]["error_type"] == "not_found"
        assert told(await running.client.get(CHAT, headers=good), 405)
        assert told(await ask(running, headers=good, messages=None), 400)["metadata"]["param"] == "messages"
        assert told(await running.client.post(CHAT, content=b"{", headers=good), 400)
        big = [{"role": "user", "content": "x" * 100_000}]
        assert (
            told(await ask(running, headers=good, messages=big), 413)["metadata"]["error_type"] == "payload_too_large"
        )
        assert whole(await ask(running, headers=good))
        assert "type" in (await running.client.get("/v1/nothing")).json()["error"], "the other surface is as it was"


@pytest.mark.parametrize("script", ECHOES)
async def test_no_key_is_ever_shown(script: Script, gateway: Gateway) -> None:
    environ = {"HOST_API_KEY": HOST_KEY}
    async with (
        ScriptedHost(script) as host,
        gateway(dict.fromkeys("ab", host.url), environ=environ, endpoint={"api_key_env": "HOST_API_KEY"}) as running,
    ):
        for stream, endpoint in ((True, "a"), (False, "b")):  # after a 429 the same one would first be waited for
            response = await ask(running, stream=stream, provider={"only": [endpoint]})
            assert '"error":' in response.text, "with a status of its own, or behind signs of life"
            assert HOST_KEY not in response.text
            assert HOST_KEY not in str(response.headers)
        assert [request.path for request in host.requests].count("/v1/chat/completions") >= 2


async def test_an_answer_that_breaks_off(routed: Routed) -> None:
    async with ScriptedHost(says(ROLE, WORD, then="cut")) as host, routed(host) as running:
        response = await ask(running, stream=True)
        error = broken(response)
        last = chunks_of(response)[-1]
        assert last["provider"] == "vLLM"
        assert last["choices"] == [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": ""},
                "finish_reason": "error",
                "native_finish_reason": "error",
            }
        ]
        assert error["metadata"]["provider_code"] == "cut"
        assert "availability" in error
        assert rows(running)[0].client_status == 200


# --- the siblings


SIBLINGS: list[tuple[str, dict[str, Any]]] = [
    ("/api/v1/completions", {"prompt": "Hi", "messages": None}),
    ("/api/v1/responses", {"input": "Hi", "messages": None}),
]


@pytest.mark.parametrize(("path", "fields"), SIBLINGS)
async def test_siblings_have_the_same_errors(path: str, fields: dict[str, Any], routed: Routed) -> None:
    async with ScriptedHost(fails(503, "overloaded")) as host, routed(host) as running:
        for stream in (True, False):
            error = told(await ask(running, path, stream=stream, **fields), 503)
            assert error["metadata"]["raw"] == "overloaded"
        assert told(await ask(running, path, **{**fields, "model": "gpt-4"}), 404)


async def test_text_completions(routed: Routed) -> None:
    path, fields = SIBLINGS[0]
    script = [streams(chunks("Hello", reasoning="Hm")), answers(200, completion("Hello", finish="eos"))]
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await ask(running, path, stream=True, **fields)
        found = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
        assert {one["provider"] for one in found} == {"vLLM"}
        assert "".join(choice["text"] for one in found for choice in one["choices"]) == "Hello"
        assert found[-1]["usage"]["cost_details"]
        (choice,) = (await ask(running, path, **fields)).json()["choices"]
        assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "eos")


async def test_responses(routed: Routed) -> None:
    path, fields = SIBLINGS[1]
    script = [answers(200, completion("Hello", reasoning="Hm")), says(ROLE, WORD, then="cut")]
    async with ScriptedHost(script) as host, routed(host) as running:
        found = (await ask(running, path, **fields)).json()
        assert [one["type"] for one in found["output"]] == ["reasoning", "message"]
        assert found["usage"]["cost_details"]["upstream_inference_cost"] == found["usage"]["cost"]
        assert '"code":"provider_unavailable"' in (await ask(running, path, stream=True, **fields)).text


@pytest.mark.parametrize("path", ["/api/v1/messages", "/api/v1/messages?beta=true"])
async def test_messages_are_anthropics_with_its_errors(path: str, routed: Routed) -> None:
    async with (
        ScriptedHost([answers(200, completion("Hello")), fails(503)]) as host,
        routed(host, attempts={"max": 1, "retries": 0}) as running,
    ):
        assert (await ask(running, path, max_tokens=9)).json()["content"][0]["text"] == "Hello"
        assert (await ask(running, path, max_tokens=9)).json()["error"]["type"] == "overloaded_error"
        assert (await ask(running, "/api/v1/messages/count_tokens")).json()["input_tokens"] > 0
