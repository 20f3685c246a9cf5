"""Whose fault an error is decides who hears of it: the client, the next endpoint, the account, the breaker."""

import asyncio
from typing import Any

import pytest

from tests.proxy.routed import Routed, content, error, outcomes, rows, until
from tests.support.gateway import Running
from tests.support.host import Out, Received, Script, ScriptedHost, answers, chunks, completion, streams

GOOD = streams(chunks("Hello"))
MALFORMED = {
    "error": {"message": "Messages with role 'tool' must be a response to a preceding call", "code": "invalid"}
}
UNHEARD_OF = {"error": {"message": "computer says no", "code": "invalid"}}
NO_TOOLS = {"error": {"message": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CONTEXT = {"error": {"message": "maximum context length is 100 tokens"}}
UNSUPPORTED = {"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}
BAD_KEY = {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}


def probed(request: Received) -> bool:
    return bool(request.json().get("max_tokens") == 1)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_malformed_request_returns_at_once_in_the_hosts_words(stream: bool, routed: Routed) -> None:
    async with (
        ScriptedHost(answers(422, MALFORMED)) as first,
        ScriptedHost(GOOD) as second,
        routed(first, second) as running,
    ):
        response = await running.chat(stream=stream)
        assert response.status_code == 422
        told = error(response)
        assert (told["type"], told["code"]) == ("invalid_request_error", "invalid")
        assert "must be a response to a preceding call" in told["message"]
        assert outcomes(running) == [("a/fp8", "malformed")]
        assert not second.requests


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", [400, 422])
async def test_words_that_no_rule_knows_cost_one_try_at_another_host(stream: bool, status: int, routed: Routed) -> None:
    good = GOOD if stream else answers(200, completion("Hello"))
    async with (
        ScriptedHost(answers(status, UNHEARD_OF)) as first,
        ScriptedHost(good) as second,
        routed(first, second) as running,
    ):
        for _ in range(2):
            assert (await running.chat(stream=stream)).status_code == 200
        assert outcomes(running) == [("a/fp8", "rejected"), ("b/fp8", "ok")] * 2, "nothing is remembered of it"


async def test_the_same_words_from_two_hosts_are_the_clients_answer(routed: Routed) -> None:
    refuses = answers(400, UNHEARD_OF)
    async with (
        ScriptedHost(refuses) as first,
        ScriptedHost(refuses) as second,
        ScriptedHost(GOOD) as third,
        routed(first, second, third) as running,
    ):
        response = await running.chat(stream=True)
        assert response.status_code == 400
        assert error(response)["message"] == "a/fp8: computer says no; b/fp8: computer says no"
        assert not third.requests


async def test_a_host_without_tools_is_tried_last_by_who_sends_tools(routed: Routed) -> None:
    async with (
        ScriptedHost([answers(400, NO_TOOLS), GOOD]) as first,
        ScriptedHost(GOOD) as second,
        routed(first, second, settings={"endpoint": {"supports": ["tools"]}}) as running,
    ):
        for name in ("f", "g"):
            tools = [TOOL, {"type": "function", "function": {"name": name}}]
            assert content((await running.chat(stream=True, tools=tools)).text) == "Hello"
        assert content((await running.chat(stream=True)).text) == "Hello"
        asked = [("a/fp8", "rejected"), ("b/fp8", "ok"), ("b/fp8", "ok"), ("a/fp8", "ok")]
        assert outcomes(running) == asked


async def test_what_a_clients_value_was_refused_for_others_are_still_served(routed: Routed) -> None:
    refuses = answers(400, {"error": {"message": "Thinking mode does not support this tool_choice"}})
    async with (
        ScriptedHost([refuses, *[GOOD] * 4]) as first,
        ScriptedHost([refuses, GOOD]) as second,
        routed(first, second, settings={"endpoint": {"supports": ["tools"]}}) as running,
    ):
        asked = {"tools": [TOOL], "stream": True}
        refused = await running.chat(tool_choice="required", reasoning={"enabled": True}, **asked)
        assert (refused.status_code, error(refused)["param"]) == (400, "tool_choice")
        for choice in ("auto", "none", "required"):
            response = await running.chat(tool_choice=choice, **asked)
            assert response.headers["x-gateway-endpoint"] == "a/fp8", choice
        again = await running.chat(tool_choice="required", reasoning={"enabled": True}, **asked)
        assert again.status_code == 200, "a host that refused is asked where nobody else is left"


@pytest.mark.parametrize("refusal", [CONTEXT, UNSUPPORTED])
async def test_what_one_host_rejects_another_may_take(refusal: Any, routed: Routed) -> None:
    async with (
        ScriptedHost(answers(400, refusal)) as first,
        ScriptedHost(GOOD) as second,
        routed(first, second) as running,
    ):
        response = await running.chat(stream=True, seed=7)
        assert content(response.text) == "Hello"
        assert outcomes(running) == [("a/fp8", "rejected"), ("b/fp8", "ok")]
        await running.chat(stream=True, seed=7)
        assert outcomes(running)[2:] == [("b/fp8", "ok")], "what it refused is remembered"


@pytest.mark.parametrize(
    ("refusal", "code", "param"),
    [(CONTEXT, "context_length_exceeded", None), (UNSUPPORTED, None, "seed")],
)
async def test_the_same_rejection_twice_returns_both_reasons(
    refusal: Any, code: str | None, param: str | None, routed: Routed
) -> None:
    async with (
        ScriptedHost(answers(400, refusal)) as first,
        ScriptedHost(answers(400, refusal)) as second,
        ScriptedHost(GOOD) as third,
        routed(first, second, third) as running,
    ):
        response = await running.chat(stream=True, seed=7)
        assert response.status_code == 400
        told = error(response)
        assert (told["type"], told["code"], told["param"]) == ("invalid_request_error", code, param)
        assert "a/fp8: " in told["message"]
        assert "b/fp8: " in told["message"]
        assert outcomes(running) == [("a/fp8", "rejected"), ("b/fp8", "rejected")]
        assert not third.requests
        assert rows(running)[-1].client_status == 400


async def test_a_host_with_a_retry_after_is_tried_last(routed: Routed) -> None:
    busy = answers(429, {"error": {"message": "slow down"}}, {"retry-after": "60"})
    async with (
        ScriptedHost([busy, GOOD]) as first,
        ScriptedHost([GOOD, GOOD, answers(500, {})]) as second,
        routed(first, second) as running,
    ):
        for _ in range(3):
            assert content((await running.chat(stream=True)).text) == "Hello"
        assert outcomes(running) == [
            *[("a/fp8", "rate_limited"), ("b/fp8", "ok")],
            *[("b/fp8", "ok")],
            *[("b/fp8", "server"), ("a/fp8", "ok")],
        ]


async def test_a_refused_key_is_probed_and_its_endpoints_are_left_alone(routed: Routed) -> None:
    async with (
        ScriptedHost(answers(401, BAD_KEY)) as first,
        ScriptedHost(GOOD) as second,
        routed(first, second) as running,
    ):
        assert content((await running.chat(stream=True)).text) == "Hello"
        await until(lambda: len(first.requests) == 2)
        assert probed(first.requests[1])
        assert first.requests[1].headers["content-length"] != first.requests[0].headers["content-length"]
        await opened(running, "a/fp8")
        await running.chat(stream=True)
        assert outcomes(running) == [("a/fp8", "account"), ("b/fp8", "ok"), ("b/fp8", "ok")]
        assert len(first.requests) == 2


async def test_a_key_that_the_probe_finds_good_stays_in_use(routed: Routed) -> None:
    scripts: list[Script] = [answers(403, {"error": {"message": "no access"}}), answers(200, completion("Hi")), GOOD]
    async with (
        ScriptedHost(scripts) as first,
        ScriptedHost(GOOD) as second,
        routed(first, second) as running,
    ):
        await running.chat(stream=True)
        await until(lambda: len(first.requests) == 2)
        await running.chat(stream=True)
        assert outcomes(running) == [("a/fp8", "account"), ("b/fp8", "ok"), ("a/fp8", "ok")]


async def test_one_probe_at_a_time(routed: Routed) -> None:
    probes = 0

    async def script(request: Received, out: Out) -> None:
        nonlocal probes
        if probed(request):
            probes += 1
            await out.stall()
        await answers(401, BAD_KEY)(request, out)

    async with ScriptedHost(script) as first, ScriptedHost(GOOD) as second, routed(first, second) as running:
        for _ in range(3):
            await running.chat(stream=True)
        await until(lambda: probes > 0)
        assert probes == 1


async def test_repeated_faults_open_the_breaker(routed: Routed) -> None:
    async def script(request: Received, out: Out) -> None:
        await first.until(lambda: len(first.requests) == 5)  # all were planned before one has failed
        await answers(500, {})(request, out)

    async with ScriptedHost(script) as first, ScriptedHost(GOOD) as second, routed(first, second) as running:
        responses = await asyncio.gather(*(running.chat(stream=True) for _ in range(5)))
        assert [content(response.text) for response in responses] == ["Hello"] * 5
        await opened(running, "a/fp8")
        await running.chat(stream=True)
        assert len(first.requests) == 5, "an open breaker is not asked"


async def test_when_every_breaker_is_open_they_are_tried_anyway(routed: Routed) -> None:
    async with ScriptedHost([*[answers(500, {})] * 5, GOOD]) as only, routed(only) as running:
        for _ in range(5):
            assert (await running.chat(stream=True)).status_code == 503
        await opened(running, "a/fp8")
        assert content((await running.chat(stream=True)).text) == "Hello"


async def test_the_request_is_sent_on_as_it_came(routed: Routed) -> None:
    async with (
        ScriptedHost(answers(500, {})) as first,
        ScriptedHost(GOOD) as second,
        routed(first, second) as running,
    ):
        await running.chat("Say it", stream=True, temperature=0.5, seed=7, unknown={"a": [1]})
        bodies = [host.requests[0].json() for host in (first, second)]
        assert bodies[0] == bodies[1]
        assert bodies[0]["messages"] == [{"role": "user", "content": "Say it"}]
        assert (bodies[0]["temperature"], bodies[0]["seed"], bodies[0]["unknown"]) == (0.5, 7, {"a": [1]})
        assert bodies[0]["stream_options"] == {"include_usage": True}


async def opened(running: Running, endpoint: str) -> None:
    """Wait until the endpoint's breaker is open."""

    async with asyncio.timeout(60):
        while endpoint not in (await running.client.get("/health/ready")).json()["breakers_open"]:
            pass
