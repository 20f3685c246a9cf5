"""OpenRouter's surface: what its clients get, whole and streamed, whatever the host's own shape is."""

import asyncio
from typing import Any

import pytest

from tests.api.openrouter import CHAT, WAITING, ask, broken, chunks_of, told, whole
from tests.proxy.routed import DONE, ROLE, STOP, WORD, Routed, chunk, outcomes, rows, says
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams, usage

USED = usage(prompt=1000, completion=50, cached=600, reasoning=20)
READ, WRITTEN = 400 * 0.25e-6 + 600 * 0.05e-6, 50 * 0.5e-6
NAMED = {"endpoint": {"name": "Atlas Cloud"}}
CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


async def test_a_whole_answer(routed: Routed) -> None:
    said = completion("Hello", reasoning="Hm", used=USED)
    async with ScriptedHost(answers(200, said)) as host, routed(host, settings=NAMED) as running:
        response = await ask(running)
        found = whole(response)
        (row,) = rows(running)
    assert found["provider"] == "Atlas Cloud"
    assert found["created"] == int(found["id"].split("-")[1])
    (choice,) = found["choices"]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "stop")
    assert choice["message"] == {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "reasoning": "Hm",
        "reasoning_content": "Hm",
        "reasoning_details": [{"type": "reasoning.text", "text": "Hm", "format": "unknown", "index": 0}],
    }
    used = found["usage"]
    assert used["prompt_tokens_details"] == {"cached_tokens": 600}
    assert used["completion_tokens_details"] == {"reasoning_tokens": 20}
    assert used["cost"] == row.cost / 1e12 == pytest.approx(READ + WRITTEN)
    assert used["cost_details"] == {
        "upstream_inference_cost": pytest.approx(READ + WRITTEN),
        "upstream_inference_prompt_cost": pytest.approx(READ),
        "upstream_inference_completions_cost": pytest.approx(WRITTEN),
    }


async def test_a_stream(routed: Routed) -> None:
    said = chunks("Hello world", reasoning="Let me", used=USED)
    async with ScriptedHost(streams(said)) as host, routed(host, settings=NAMED) as running:
        response = await ask(running, stream=True)
        found = chunks_of(response)
        assert host.requests[0].json()["stream_options"] == {"include_usage": True}
    assert response.text.endswith("data: [DONE]\n\n")
    assert {one["provider"] for one in found} == {"Atlas Cloud"}
    *deltas, end, last = [one["choices"][0] if one["choices"] else one for one in found]
    assert [one["delta"].get("reasoning") for one in deltas] == [None, "Let", "me", None, None]
    assert [one["delta"]["content"] for one in deltas] == ["", "", "", "Hello", " world"]
    assert deltas[1]["delta"]["reasoning_details"][0]["text"] == "Let"
    assert (end["finish_reason"], end["native_finish_reason"]) == ("stop", "stop")
    assert last["usage"]["cost"] == pytest.approx(READ + WRITTEN)


@pytest.mark.parametrize("stream", [True, False])
async def test_what_hosts_send_as_null_is_absent(stream: bool, routed: Routed) -> None:
    nulls = {"audio": None, "tool_calls": None, "reasoning_details": None, "reasoning": None, "function_call": None}
    more = {"usage": None, "system_fingerprint": None, "service_tier": None}
    if stream:
        script = says(chunk({"role": None, "content": "Hello", **nulls}, **more), chunk(nulls, "stop", **more), DONE)
    else:
        message = {"role": "assistant", "content": "Hello", **nulls}
        script = answers(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more})
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await ask(running, stream=stream)
        assert chunks_of(response) if stream else whole(response)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_hosts_own_finish_reason_is_beside_ours(stream: bool, routed: Routed) -> None:
    script = says(ROLE, WORD, chunk({}, "eos"), DONE) if stream else answers(200, completion("Hello", finish="eos"))
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await ask(running, stream=stream)
        (end,) = (chunks_of(response)[-2] if stream else whole(response))["choices"]
        assert (end["finish_reason"], end["native_finish_reason"]) == ("stop", "eos")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_call(stream: bool, routed: Routed) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    if stream:
        first = {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}]}
        rest = {"tool_calls": [{"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": "{}"}}]}
        script = says(chunk({"content": None, **first}), chunk(rest), chunk({}, "tool_calls"), DONE)
    else:
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        script = answers(200, {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})
    supports = {"endpoint": {"supports": ["tools"]}}
    async with ScriptedHost(script) as host, routed(host, settings=supports) as running:
        response = await ask(running, stream=stream, tools=tools)
        if stream:
            begun, more, end, _ = chunks_of(response)
            assert begun["choices"][0]["delta"] == {
                "role": "assistant",
                "content": None,
                "tool_calls": [{**CALL, "index": 0, "function": {"name": "f", "arguments": ""}}],
            }
            assert more["choices"][0]["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": "{}"}}]
            assert end["choices"][0]["finish_reason"] == "tool_calls"
        else:
            message = whole(response)["choices"][0]["message"]
            assert (message["content"], message["tool_calls"]) == (None, [CALL])


async def test_signed_reasoning_keeps_its_details(routed: Routed) -> None:
    details = [{"type": "reasoning.text", "text": "Hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}]
    script = says(chunk({"reasoning_details": details}), WORD, STOP, DONE)
    async with ScriptedHost(script) as host, routed(host) as running:
        delta = chunks_of(await ask(running, stream=True))[0]["choices"][0]["delta"]
        assert (delta["reasoning"], delta["reasoning_details"]) == ("Hm", details)


HIDDEN: list[dict[str, Any]] = [
    {"reasoning": {"enabled": True, "exclude": True}},
    {"reasoning": {"effort": "high", "exclude": True}},
    {"include_reasoning": False},
]


@pytest.mark.parametrize("path", [CHAT, "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("asked", HIDDEN)
async def test_reasoning_can_be_hidden(asked: dict[str, Any], stream: bool, path: str, routed: Routed) -> None:
    said = {"reasoning": "Secret thoughts"}
    script = streams(chunks("Hello", **said)) if stream else answers(200, completion("Hello", **said))
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await ask(running, path, stream=stream, **asked)
        assert response.status_code == 200
        assert "Hello" in response.text
        assert "Secret" not in response.text
        assert "thoughts" not in response.text
        assert "exclude" not in host.requests[0].body.decode()


@pytest.mark.parametrize("stream", [True, False])
async def test_several_choices(stream: bool, routed: Routed) -> None:
    one, two = ({"index": index, "finish_reason": None} for index in (0, 1))
    if stream:
        parts = [{"choices": [{**choice, "delta": {"content": "a"}}]} for choice in (one, two)]
        ends = [{"choices": [{**choice, "delta": {}, "finish_reason": "stop"}]} for choice in (one, two)]
        script = streams(parts + ends)
    else:
        message = {"role": "assistant", "content": "a"}
        script = answers(200, {"choices": [{**one, "message": message, "finish_reason": "stop"}] * 2})
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await ask(running, stream=stream, n=2)
        found = chunks_of(response) if stream else [whole(response)]
        assert sum(bool(choice["finish_reason"]) for one in found for choice in one["choices"]) == 2


# --- waiting


async def test_a_client_that_waits_gets_openrouters_comments(routed: Routed) -> None:
    go = asyncio.Event()

    async def silent(request: Received, out: Out) -> None:
        await go.wait()
        await streams(chunks("Hello"))(request, out)

    async with ScriptedHost(silent) as host, routed(host, keepalive="100ms") as running:
        body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        text = ""
        async with running.client.stream("POST", CHAT, json=body) as response:
            assert response.status_code == 200
            async for part in response.aiter_text():
                text += part
                if text.count(WAITING) == 2:
                    go.set()
    before, after = text.split(": endpoint a/fp8, attempts 1\n\n")
    assert before == WAITING * 2
    assert after.endswith("data: [DONE]\n\n")


async def test_an_error_after_comments_is_in_band(routed: Routed) -> None:
    go = asyncio.Event()

    async def fails(request: Received, out: Out) -> None:
        await go.wait()
        await answers(503, {"error": {"message": "overloaded"}})(request, out)

    async with ScriptedHost(fails) as host, routed(host, keepalive="50ms") as running:
        asyncio.get_running_loop().call_later(0.2, go.set)  # longer than the keep-alive
        response = await ask(running, stream=True)
        error = broken(response)
        assert WAITING in response.text
        assert (error["code"], error["metadata"]["raw"]) == (503, "overloaded")
        assert error["availability"]["code"] == "temporarily_unavailable"


# --- unclean ends


def ends(reason: str) -> bytes:
    return chunk({}, reason)


IN_BAND = b'data: {"error": {"message": "engine died", "code": 500}}\n\n'
OBJECT = b'data: {"object": "error", "message": "engine died", "code": 500}\n\n'
IN_CHOICE = (
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"message": "died"}}]}\n\n'
)
UNCLEAN = {
    "no resources": (ends("insufficient_system_resource"), DONE),
    "abort": (ends("abort"), DONE),
    "error": (ends("error"), DONE),
    "repetition": (ends("repetition"), DONE),
    "no finish reason": (DONE,),
    "nothing": (),
    "error object": (IN_BAND, DONE),
    "another error object": (OBJECT, DONE),
    "error in a choice": (IN_CHOICE, DONE),
    "not json": (b"data: {oops\n\n", DONE),
}


@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in UNCLEAN.items()])
async def test_an_unclean_end_is_failover_before_the_first_token_and_loud_after_it(
    parts: tuple[bytes, ...], routed: Routed
) -> None:
    before, after = says(ROLE, *parts), says(ROLE, WORD, *parts)
    async with (
        ScriptedHost([before, after]) as first,
        ScriptedHost(streams(chunks("Hello"))) as second,
        routed(first, second) as running,
    ):
        good = await ask(running, stream=True)
        assert good.text.endswith("data: [DONE]\n\n")
        assert chunks_of(good)[-2]["choices"][0]["finish_reason"] == "stop"
        error = broken(await ask(running, stream=True))
        assert error["code"] == 502
        assert error["metadata"]["error_type"] == "provider_unavailable"
        assert error["metadata"]["endpoint"] == "a/fp8"
        assert error["metadata"]["raw"]
        assert [endpoint for endpoint, outcome in outcomes(running) if outcome == "ok"] == ["b/fp8"]


WHOLE_UNCLEAN = {
    "no resources": completion("Hello", finish="insufficient_system_resource"),
    "error object": {"error": {"message": "engine died", "code": 500}},
    "another error object": {"object": "error", "message": "engine died"},
    "error in a choice": {"choices": [{"index": 0, "message": {}, "error": {"message": "died"}}]},
    "no choices": {"choices": None},
    "no finish reason": completion("Hello", finish=""),
}


@pytest.mark.parametrize("said", [pytest.param(said, id=name) for name, said in WHOLE_UNCLEAN.items()])
async def test_a_whole_answer_that_is_none_is_failover_or_an_error(said: dict[str, Any], routed: Routed) -> None:
    async with (
        ScriptedHost(answers(200, said)) as first,
        ScriptedHost([answers(200, completion("Hello")), answers(200, said)]) as second,
        routed(first, second) as running,
    ):
        assert whole(await ask(running))["choices"][0]["message"]["content"] == "Hello"
        error = told(await ask(running), 502)
        assert error["availability"] == {
            "code": "temporarily_unavailable",
            "retryable": True,
            "requested_models": ["deepseek/deepseek-v3.2"],
            "affected_providers": ["vLLM"],
        }
        assert len(error["metadata"]["previous_errors"]) == 1


async def test_an_empty_answer_is_believed_of_two_hosts(routed: Routed) -> None:
    async with (
        ScriptedHost(answers(200, completion(""))) as first,
        ScriptedHost([answers(200, completion("Hello")), answers(200, completion(""))]) as second,
        routed(first, second) as running,
    ):
        for said in ("Hello", ""):
            assert whole(await ask(running))["choices"][0]["message"]["content"] == said
        assert outcomes(running) == [("a/fp8", "empty"), ("b/fp8", "ok")] * 2


async def test_an_empty_stop_is_failover(routed: Routed) -> None:
    async with (
        ScriptedHost(says(ROLE, STOP, DONE)) as first,
        ScriptedHost(streams(chunks("Hello"))) as second,
        routed(first, second) as running,
    ):
        chunks_of(await ask(running, stream=True))
        assert outcomes(running) == [("a/fp8", "empty"), ("b/fp8", "ok")]
