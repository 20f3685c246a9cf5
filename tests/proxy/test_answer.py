"""What a client gets: bytes as the host sent them, usage with its cost, headers, comments while it waits."""

import asyncio
from typing import Any

import pytest

from gateway.types import PICO
from tests.proxy.routed import (
    DONE,
    ROLE,
    STOP,
    WORD,
    Routed,
    broken,
    chunk,
    content,
    data,
    outcomes,
    payloads,
    rows,
    says,
)
from tests.support.gateway import Running
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams, usage

USED = usage(prompt=1000, completion=50, cached=600, reasoning=20)
COST = 400 * 0.25e-6 + 600 * 0.05e-6 + 50 * 0.5e-6
SEEN = {
    "prompt_tokens": 1000,
    "completion_tokens": 50,
    "total_tokens": 1050,
    "cost": pytest.approx(COST),
    "prompt_tokens_details": {"cached_tokens": 600},
    "completion_tokens_details": {"reasoning_tokens": 20},
    "prompt_cache_hit_tokens": 600,
    "prompt_cache_miss_tokens": 400,
}
NULL_USAGE = {"endpoint": {"dialect": {"null_usage": True}}}
VLLM = {"endpoint": {"dialect": {"reasoning_field": "reasoning", "thinking": "chat_template_kwargs.thinking"}}}


@pytest.mark.parametrize(
    ("path", "fields", "ours"),
    [
        ("/v1/chat/completions", {}, False),
        ("/v1/chat/completions", {"model": "deepseek-reasoner"}, False),  # rewritten
        ("/v1/completions", {"prompt": "Hi"}, False),
        ("/api/v1/chat/completions", {}, True),
    ],
)
async def test_the_error_that_ends_a_stream_is_one_of_its_chunks(
    path: str, fields: dict[str, Any], ours: bool, routed: Routed
) -> None:
    async with ScriptedHost(says(ROLE, WORD, WORD, then="cut")) as host, routed(host) as running:
        asked = {"model": "deepseek-v3.2", "stream": True, **fields}
        asked |= {} if "prompt" in fields else {"messages": [{"role": "user", "content": "Hi"}]}
        response = await running.client.post(path, json=asked)
        assert payloads(response.text)[-1]["choices"][0]["finish_reason"] == "error"
        named = {(one["id"], one["model"]) for one in payloads(response.text)}
        (exchange,) = {row.exchange for row in rows(running)}
        assert named == {(exchange, "deepseek/deepseek-v3.2") if ours else ("x", "m")}


# --- usage


async def test_usage_is_on_the_finish_chunk(routed: Routed) -> None:
    async with ScriptedHost(streams(chunks("Hello", used=USED))) as host, routed(host) as running:
        found = payloads((await running.chat(stream=True)).text)
        assert [one.get("usage") for one in found] == [None, None, SEEN]
        assert found[-1]["choices"][0]["finish_reason"] == "stop"


async def test_usage_is_in_a_chunk_of_its_own_with_include_usage(routed: Routed) -> None:
    async with ScriptedHost(streams(chunks("Hello", used=USED))) as host, routed(host) as running:
        found = payloads((await running.chat(stream=True, stream_options={"include_usage": True})).text)
        assert [one.get("usage") for one in found] == [None, None, None, SEEN]
        assert found[-1]["choices"] == []
        assert {"id", "object", "created", "model"} <= found[-1].keys()


async def test_usage_of_a_whole_answer(routed: Routed) -> None:
    async with ScriptedHost(answers(200, completion("Hi", used=USED))) as host, routed(host) as running:
        payload = (await running.chat()).json()
        assert payload["usage"] == SEEN
        assert "system_fingerprint" not in payload
        assert payload["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [True, False])
async def test_the_ledger_and_the_client_agree_to_the_last_digit(stream: bool, routed: Routed) -> None:
    script = streams(chunks("Hello", used=USED)) if stream else answers(200, completion("Hello", used=USED))
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await running.chat(stream=stream)
        paid = (payloads(response.text)[-1] if stream else response.json())["usage"]["cost"]
        (row,) = rows(running)
        assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens, row.reasoning_tokens) == (
            1000,
            600,
            50,
            20,
        )
        assert (row.usage_source, row.finish_reason, row.status, row.outcome) == ("host", "stop", 200, "ok")
        assert paid == row.cost / PICO


@pytest.mark.parametrize("stream", [True, False])
async def test_a_host_that_counts_nothing_is_estimated_and_said_so(stream: bool, routed: Routed) -> None:
    whole = {**completion("Hello " * 100), "usage": None}
    script = says(ROLE, *[WORD] * 10, STOP, DONE) if stream else answers(200, whole)
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await running.chat("Hi " * 1000, stream=stream)
        seen = (payloads(response.text)[-1] if stream else response.json())["usage"]
        (row,) = rows(running)
        assert row.usage_source == "counted"
        assert (seen["prompt_tokens"], seen["completion_tokens"]) == (row.prompt_tokens, row.completion_tokens)
        assert row.prompt_tokens > 500
        assert row.completion_tokens >= 10
        assert seen["cost"] == row.cost / PICO > 0


async def test_an_answer_that_is_all_in_its_finish_chunk(routed: Routed) -> None:
    script = says(chunk({"role": "assistant", "content": "Hello"}, "stop", usage=USED), DONE)
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await running.chat(stream=True)
        assert content(response.text) == "Hello"
        (row,) = rows(running)
        assert row.ttft is not None
        assert row.client_ttft is not None


# --- bytes


async def test_bytes_pass_untouched_from_the_first_token_to_the_finish_chunk(routed: Routed) -> None:
    spaced = chunk({"content": "a\u00e9 \\ end"}, x={"a": [1, None]})
    async with ScriptedHost(says(ROLE, WORD, spaced, WORD, STOP, DONE)) as host, routed(host) as run:
        response = await run.chat(stream=True)
        assert spaced + WORD in response.content


async def test_chunks_are_rewritten_where_the_hosts_shape_is_not_the_clients(routed: Routed) -> None:
    both = {"content": None, "reasoning_content": "Hm"}
    script = says(chunk(both, usage=None, system_fingerprint=None), WORD, chunk({}, "stop", usage=USED), DONE)
    async with ScriptedHost(script) as host, routed(host, settings=NULL_USAGE) as running:
        first, *_, last = payloads((await running.chat(stream=True)).text)
        assert first["choices"][0]["delta"] == both
        assert {"usage", "system_fingerprint"}.isdisjoint(first)
        assert last["usage"] == SEEN


async def test_reasoning_has_the_name_that_clients_read(routed: Routed) -> None:
    script = says(ROLE, chunk({"reasoning": "Hm"}), WORD, STOP, DONE)
    async with ScriptedHost(script) as host, routed(host, settings=VLLM) as running:
        response = await running.chat(stream=True, model="deepseek-reasoner")
        deltas = [one["choices"][0]["delta"] for one in payloads(response.text)]
        assert {"reasoning_content": "Hm"} in deltas
        assert b'"reasoning"' not in response.content


async def test_every_choice_is_whole(routed: Routed) -> None:
    def said(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return data({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]})

    parts = [said(0, {"content": "a"}), said(1, {"content": "b"}), said(0, {}, "stop"), said(1, {"content": "c"})]
    whole, half = says(*parts, said(1, {}, "length"), DONE), says(*parts, then="cut")
    async with ScriptedHost([whole, half]) as host, routed(host) as running:
        text = (await running.chat(stream=True, n=2)).text
        assert content(text) == "abc"
        reasons = [one["choices"][0]["finish_reason"] for one in payloads(text)]
        assert sorted(reason for reason in reasons if reason) == ["length", "stop"]
        assert broken((await running.chat(stream=True, n=2)).text)["code"] == "cut"


# --- headers


@pytest.mark.parametrize("stream", [True, False])
async def test_headers_say_who_answered_and_why(stream: bool, routed: Routed) -> None:
    script = streams(chunks("Hello")) if stream else answers(200, completion("Hello"))
    async with ScriptedHost(script) as host, routed(host) as running:
        headers = (await running.chat(stream=stream)).headers
        assert headers["x-generation-id"] == rows(running)[0].exchange
        assert headers["x-generation-id"].startswith("gen-")
        assert headers["x-gateway-endpoint"] == "a/fp8"
        assert headers["x-gateway-policy"] == "test"
        assert headers["x-gateway-attempts"] == "1"
        assert headers["x-gateway-cache"] == "off"
        assert headers["content-type"].startswith("text/event-stream" if stream else "application/json")


async def test_a_request_that_no_endpoint_can_serve_says_what_removed_each(routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host, require={"quantization": ["bf16"]}) as running:
        response = await running.chat()
        assert response.status_code == 404
        told = response.json()["error"]
        assert told["metadata"]["removed"][0]["constraint"] == "require.quantization"
        assert response.headers["x-gateway-policy"] == "test"
        assert response.headers["x-gateway-attempts"] == "0"
        assert response.headers["x-generation-id"] == rows(running)[0].exchange
        (row,) = rows(running)
        assert (row.outcome, row.client_status, row.attempt, row.last) == ("unrouted", 404, 0, True)


async def test_one_reason_that_removed_all_is_reported_once(routed: Routed) -> None:
    fixed = {"pick": {"how": "fixed", "endpoint": "z/fp8"}}
    async with ScriptedHost([]) as host, routed(*[host] * 5, **fixed) as running:
        told = (await running.chat()).json()["error"]
        assert told["message"] == (
            "no endpoint can serve this request under policy test: all 5: pick.endpoint (the policy is fixed on z/fp8)"
        )
        assert len(told["metadata"]["removed"]) == 5


@pytest.mark.parametrize(("hosts", "others"), [(3, "b/fp8, c/fp8"), (5, "4 endpoints")])
async def test_each_reason_names_whom_it_removed_while_they_are_few(hosts: int, others: str, routed: Routed) -> None:
    only = {"require": {"only": ["a/fp8"], "quantization": ["bf16"]}}
    async with ScriptedHost([]) as host, routed(*[host] * hosts, **only) as running:
        message = (await running.chat()).json()["error"]["message"]
        assert "a/fp8: require.quantization (" in message
        assert f"; {others}: require.only (" in message


# --- keep-alive


class Silent:
    """A host that says nothing until it is told to, and then goes on with a script."""

    def __init__(self, then: Any) -> None:
        self.go = asyncio.Event()
        self._then = then

    async def __call__(self, request: Received, out: Out) -> None:
        await self.go.wait()
        await self._then(request, out)


async def waited(running: Running, comments: int, *silent: Silent) -> str:
    """Ask, let so many comments come, let the hosts go on, and read the rest."""
    text = ""
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    async with running.client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        assert "x-gateway-endpoint" not in response.headers
        assert response.headers["x-gateway-attempts"] == "1"
        async for part in response.aiter_text():
            text += part
            if text.count(": keep-alive\n\n") == comments:
                for one in silent:
                    one.go.set()
    return text


async def test_comments_flow_while_the_host_is_silent_and_then_the_answer(routed: Routed) -> None:
    silent = Silent(streams(chunks("Hello")))
    async with ScriptedHost(silent) as host, routed(host, keepalive="100ms") as running:
        text = await waited(running, 3, silent)
        before, after = text.split(": endpoint a/fp8, attempts 1\n\n")
        assert before == ": keep-alive\n\n" * 3
        assert content(after) == "Hello"
        assert after.endswith("data: [DONE]\n\n")
        assert rows(running)[0].client_status == 200


async def test_after_comments_the_next_endpoint_still_answers(routed: Routed) -> None:
    silent = Silent(answers(500, {}))
    async with (
        ScriptedHost(silent) as first,
        ScriptedHost(streams(chunks("Hello"))) as second,
        routed(first, second, keepalive="100ms") as running,
    ):
        text = await waited(running, 1, silent)
        assert ": endpoint b/fp8, attempts 2\n\n" in text
        assert content(text) == "Hello"
        assert outcomes(running) == [("a/fp8", "server"), ("b/fp8", "ok")]


async def test_after_comments_an_error_is_in_the_stream(routed: Routed) -> None:
    silent = Silent(answers(503, {"error": {"message": "overloaded"}}))
    async with ScriptedHost(silent) as host, routed(host, keepalive="100ms") as running:
        text = await waited(running, 2, silent)
        told = broken(text)
        assert (told["status"], told["code"]) == (503, "server")
        assert payloads(text)[-1]["id"].startswith("gen-"), "no host has named the stream"
        assert told["metadata"]["attempts"][0]["endpoint"] == "a/fp8"
        (row,) = rows(running)
        assert (row.outcome, row.client_status) == ("server", 200)


async def test_whole_answers_get_no_padding(routed: Routed) -> None:
    silent = Silent(answers(503, {"error": {"message": "overloaded"}}))
    async with ScriptedHost(silent) as host, routed(host, keepalive="50ms") as running:
        asked = asyncio.create_task(running.chat())
        asyncio.get_running_loop().call_later(0.2, silent.go.set)  # longer than the keep-alive
        assert (await asked).status_code == 503
