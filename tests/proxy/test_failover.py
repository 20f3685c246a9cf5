"""Before the first token every fault of a host is hidden: the next endpoint answers, and the books tell."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from gateway.proxy import live_exchange
from tests.proxy.routed import (
    DONE,
    ROLE,
    STOP,
    WORD,
    Routed,
    broken,
    chunk,
    content,
    cuts,
    data,
    error,
    full,
    nobody,
    outcomes,
    payloads,
    rows,
    says,
    stalls,
)
from tests.support.host import Out, Received, Script, ScriptedHost, answers, chunks, completion, streams

GOOD = streams(chunks("Hello world"))
QUICK = {"timeouts": {"connect": "300ms", "first_token": "300ms", "first_token_per_10k": "0s", "gap": "300ms"}}
OVERLOADED = {"error": {"message": "overloaded", "code": 503}}


async def resets(_: Received, out: Out) -> None:
    out.reset()


async def talks_nonsense(_: Received, out: Out) -> None:
    await out.raw(b"\x00\x01 this is not HTTP\r\n\r\n")
    await out.stall()


BEFORE_THE_FIRST_TOKEN: dict[str, tuple[Script, str]] = {
    "no head": (stalls, "timeout_first_token"),
    "a head, then nothing": (says(then="stall"), "timeout_first_token"),
    "comments, then nothing": (says(b": keep-alive\n\n", b"\n\n", then="stall"), "timeout_first_token"),
    "a role, then nothing": (says(ROLE, then="stall"), "timeout_first_token"),
    "closed at once": (cuts, "cut"),
    "reset at once": (resets, "cut"),
    "cut after the head": (says(then="cut"), "cut"),
    "cut after the role": (says(ROLE, then="cut"), "cut"),
    "reset after the role": (says(ROLE, then="reset"), "cut"),
    "not HTTP": (talks_nonsense, "garbage"),
    "not SSE": (says(b"<html>busy</html>"), "garbage"),
    "not JSON": (says(b"data: {nonsense\n\n", then="stall"), "garbage"),
    "not chunks": (says(data({"choices": "text"}), then="stall"), "garbage"),
    "a JSON error in a 200": (answers(200, OVERLOADED), "in_band"),
    "an error event": (says(ROLE, data(OVERLOADED), then="stall"), "in_band"),
    "an error object": (says(data({"object": "error", "message": "overloaded"}), then="stall"), "in_band"),
    "no resources": (says(ROLE, chunk({"content": ""}, "insufficient_system_resource"), DONE), "unclean"),
    "an empty stop": (says(ROLE, STOP, DONE), "empty"),
    "[DONE] at once": (says(DONE), "unclean"),
    "an empty stream": (says(), "garbage"),
    "500": (answers(500, OVERLOADED), "server"),
    "503 in HTML": (answers(503, b"<html><title>Bad gateway</title></html>"), "server"),
    "429": (answers(429, {"error": {"message": "slow down"}}), "rate_limited"),
    "a redirect": (answers(307, b"", {"location": "http://127.0.0.1:1/"}), "garbage"),
}


@pytest.mark.parametrize("case", BEFORE_THE_FIRST_TOKEN)
async def test_the_next_endpoint_answers_and_the_client_sees_no_error(case: str, routed: Routed) -> None:
    script, fault = BEFORE_THE_FIRST_TOKEN[case]
    async with (
        ScriptedHost(script) as bad,
        ScriptedHost(GOOD) as good,
        routed(bad, good, **QUICK) as running,
    ):
        response = await running.chat(stream=True)
        assert outcomes(running) == [("a/fp8", fault), ("b/fp8", "ok")]
        assert response.status_code == 200
        assert content(response.text) == "Hello world"
        assert response.text.endswith("data: [DONE]\n\n")
        assert response.headers["x-gateway-endpoint"] == "b/fp8"
        assert response.headers["x-gateway-attempts"] == "2"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("unreachable", [nobody, full])
async def test_a_host_that_cannot_be_reached(
    unreachable: Callable[[], AbstractContextManager[str]], stream: bool, routed: Routed
) -> None:
    script = GOOD if stream else answers(200, completion("Hello world"))
    with unreachable() as url:
        async with ScriptedHost(script) as good, routed(url, good, **QUICK) as running:
            response = await running.chat(stream=stream)
            assert response.status_code == 200
            assert outcomes(running) == [("a/fp8", "refused"), ("b/fp8", "ok")]


WHOLE_FAULTS: dict[str, tuple[Script, str]] = {
    "closed at once": (cuts, "cut"),
    "blank lines, then closed": (says(b"\n\n\n", then="cut"), "cut"),
    "half a body": (says(b'{"choices": [', then="cut"), "cut"),
    "not JSON": (answers(200, b"<html>busy</html>"), "garbage"),
    "not a completion": (answers(200, {"choices": [None]}), "garbage"),
    "an error in a 200": (says(b"\n\n", b'{"error": {"message": "overloaded"}}'), "in_band"),
    "no choices": (answers(200, {"choices": []}), "unclean"),
    "no resources": (answers(200, completion("Hel", finish="insufficient_system_resource")), "unclean"),
    "an empty stop": (answers(200, completion("")), "empty"),
    "503": (answers(503, OVERLOADED), "server"),
}


@pytest.mark.parametrize("case", WHOLE_FAULTS)
async def test_whole_answers_fail_over_too(case: str, routed: Routed) -> None:
    script, fault = WHOLE_FAULTS[case]
    async with (
        ScriptedHost(script) as bad,
        ScriptedHost(answers(200, completion("Hello world"))) as good,
        routed(bad, good) as running,
    ):
        response = await running.chat()
        assert outcomes(running) == [("a/fp8", fault), ("b/fp8", "ok")]
        assert response.json()["choices"][0]["message"]["content"] == "Hello world"
        assert response.headers["x-gateway-attempts"] == "2"


AFTER_THE_FIRST_TOKEN: dict[str, tuple[Script, str]] = {
    "cut": (says(ROLE, WORD, then="cut"), "cut"),
    "reset": (says(ROLE, WORD, then="reset"), "cut"),
    "silence": (says(ROLE, WORD, then="stall"), "timeout_gap"),
    "silence after comments": (says(ROLE, WORD, b": keep-alive\n\n", then="stall"), "timeout_gap"),
    "the end without a finish reason": (says(ROLE, WORD), "unclean"),
    "[DONE] without a finish reason": (says(ROLE, WORD, DONE), "unclean"),
    "no resources": (says(ROLE, WORD, chunk({}, "insufficient_system_resource"), DONE), "unclean"),
    "an error event": (says(ROLE, WORD, data(OVERLOADED), DONE), "in_band"),
    "an error event, then silence": (says(ROLE, WORD, data(OVERLOADED), then="stall"), "in_band"),
    "an error object": (says(ROLE, WORD, data({"object": "error", "message": "overloaded"})), "in_band"),
}


@pytest.mark.parametrize("case", AFTER_THE_FIRST_TOKEN)
async def test_after_the_first_token_a_fault_is_a_loud_end(case: str, routed: Routed) -> None:
    script, fault = AFTER_THE_FIRST_TOKEN[case]
    async with (
        ScriptedHost(script) as bad,
        ScriptedHost(GOOD) as other,
        routed(bad, other, **QUICK) as running,
    ):
        response = await running.chat(stream=True)
        assert response.status_code == 200
        assert content(response.text) == "Hello"
        told = broken(response.text)
        assert told["code"] == fault
        assert "a/fp8" in told["message"]
        assert payloads(response.text)[-1]["id"] == "x", "as the host has it"
        assert not other.requests
        (row,) = rows(running)
        assert (row.outcome, row.client_status, row.usage_source) == (fault, 200, "estimated")
        assert row.completion_tokens >= 1


@pytest.mark.parametrize("part", [b"data: {nonsense\n\n", data(OVERLOADED)])
@pytest.mark.parametrize("start", [ROLE, ROLE + WORD])
async def test_a_host_whose_answer_is_of_no_use_is_closed(part: bytes, start: bytes, routed: Routed) -> None:
    rewriting = {"endpoint": {"dialect": {"null_usage": True}}}
    async with (
        ScriptedHost(says(start, part, then="stall")) as bad,
        routed(bad, settings=rewriting) as running,
    ):
        await running.chat(stream=True)
        await bad.until(lambda: bad.gone == 1)


async def test_a_host_that_sends_comments_for_ever_after_its_first_token_has_stalled(routed: Routed) -> None:
    async def script(_: Received, out: Out) -> None:
        await out.head(200)
        await out.send(ROLE + WORD)
        while True:
            await out.send(b": keep-alive\n\n")
            await asyncio.sleep(0.005)  # slowly: a flood has another bound, and may reach it before the gap ends

    async with ScriptedHost(script) as bad, routed(bad, **QUICK) as running:
        response = await running.chat(stream=True)
        assert broken(response.text)["code"] == "timeout_gap"


async def test_the_finish_chunk_and_then_a_cut_is_a_good_end(routed: Routed) -> None:
    async with ScriptedHost(says(ROLE, WORD, STOP, then="cut")) as host, routed(host) as running:
        response = await running.chat(stream=True)
        assert response.text.endswith("data: [DONE]\n\n")
        assert payloads(response.text)[-1]["choices"][0]["finish_reason"] == "stop"
        (row,) = rows(running)
        assert (row.outcome, row.usage_source) == ("ok", "counted")  # the whole answer came, but not its usage


async def test_the_finish_chunk_and_then_silence_is_a_good_end(routed: Routed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_exchange, "ENDING", 0.2)
    async with ScriptedHost(says(ROLE, WORD, STOP, then="stall")) as host, routed(host, **QUICK) as running:
        response = await running.chat(stream=True)
        assert response.text.endswith("data: [DONE]\n\n")
        assert outcomes(running) == [("a/fp8", "ok")]
        await host.until(lambda: host.gone == 1)  # the connection is not left open


async def test_a_host_that_never_ends_after_done_is_closed(routed: Routed) -> None:
    async with ScriptedHost(says(ROLE, WORD, STOP, DONE, then="stall")) as host, routed(host) as running:
        response = await running.chat(stream=True)
        assert response.text.endswith("data: [DONE]\n\n")
        await host.until(lambda: host.gone == 1)


async def test_a_host_that_closes_right_after_done(routed: Routed) -> None:
    async with ScriptedHost(says(ROLE, WORD, STOP, DONE, then="cut")) as host, routed(host) as running:
        for _ in range(3):
            response = await running.chat(stream=True)
            assert response.text.endswith("data: [DONE]\n\n")
        assert outcomes(running) == [("a/fp8", "ok")] * 3


@pytest.mark.parametrize("stream", [True, False])
async def test_connections_to_hosts_are_kept(stream: bool, routed: Routed) -> None:
    script = GOOD if stream else answers(200, completion("Hello"))
    async with ScriptedHost(script) as host, routed(host) as running:
        for _ in range(5):
            await running.chat(stream=stream)
        assert host.accepted == 1


async def test_connections_are_kept_after_errors_that_end_well(routed: Routed) -> None:
    scripts = [answers(429, {}), answers(500, {}), answers(400, {}), GOOD]
    async with ScriptedHost(scripts) as host, routed(host) as running:
        for _ in scripts:
            await running.chat(stream=True)
        assert host.accepted == 1


async def test_a_whole_answer_has_its_own_time(routed: Routed) -> None:
    async with (
        ScriptedHost(says(b"\n\n", then="stall")) as bad,
        routed(bad, timeouts={"total": "300ms"}) as running,
    ):
        response = await running.chat()
        assert response.status_code == 504
        assert error(response)["code"] == "timeout_first_token"
        await bad.until(lambda: bad.gone == 1)


@pytest.mark.parametrize(
    ("scripts", "status", "code"),
    [
        ([answers(429, {"error": {"message": "slow down"}}, {"retry-after": "7"})] * 2, 429, "rate_limit_exceeded"),
        ([answers(500, OVERLOADED)] * 2, 503, "server"),
        ([answers(429, {}), answers(500, {})], 503, "server"),
        ([answers(500, {}), answers(429, {})], 503, "rate_limited"),
        ([stalls] * 2, 504, "timeout_first_token"),
        ([answers(429, {}), stalls], 502, "timeout_first_token"),
        ([cuts] * 2, 502, "cut"),
        ([answers(401, {"error": {"message": "bad key"}})] * 2, 502, "account"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_when_all_fail_the_client_hears_why(
    scripts: list[Script], status: int, code: str, stream: bool, routed: Routed
) -> None:
    within, first_token = ("1s", "300ms") if stalls in scripts else ("60s", "30s")  # silence alone is to be waited for
    policy: dict[str, Any] = {
        "attempts": {"max": 4, "within": within, "retries": 0},
        "timeouts": {"first_token": first_token, "first_token_per_10k": "0s"},
    }
    async with (
        ScriptedHost(scripts[0]) as first,
        ScriptedHost(scripts[1]) as second,
        routed(first, second, **policy) as running,
    ):
        response = await running.chat(stream=stream)
        assert response.status_code == status
        told = error(response)
        assert told["type"] == "upstream_error"
        assert told["code"] == code
        assert [one["endpoint"] for one in told["metadata"]["attempts"]] == ["a/fp8", "b/fp8"]
        assert "x-gateway-endpoint" not in response.headers
        assert response.headers["x-gateway-attempts"] == "2"
        assert response.headers["x-generation-id"] == rows(running)[-1].exchange
        if status == 429:
            assert response.headers["retry-after"] == "7"
        last = rows(running)[-1]
        assert (last.last, last.client_status, last.client_ttft) == (True, status, None)


async def test_attempts_are_bounded(routed: Routed) -> None:
    async with (
        ScriptedHost(answers(500, {})) as one,
        ScriptedHost(answers(500, {})) as two,
        ScriptedHost(GOOD) as three,
        routed(one, two, three, attempts={"max": 2, "retries": 0}) as running,
    ):
        response = await running.chat(stream=True)
        assert response.status_code == 503
        assert outcomes(running) == [("a/fp8", "server"), ("b/fp8", "server")]
        assert not three.requests


async def test_attempts_share_their_time(routed: Routed) -> None:
    budget = {"attempts": {"max": 4, "within": "300ms"}, "timeouts": {"first_token_per_10k": "0s"}}
    async with (
        ScriptedHost(stalls) as one,
        ScriptedHost(GOOD) as two,
        routed(one, two, **budget) as running,
    ):
        response = await running.chat(stream=True)
        assert response.status_code == 504
        assert outcomes(running) == [("a/fp8", "timeout_first_token")]
        assert not two.requests
