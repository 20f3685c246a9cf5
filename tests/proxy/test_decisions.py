"""What an answer tells about its decision: a header for who asks, regret, predictions, tool calls that fit or not."""

import asyncio
from typing import Any

import pytest

from gateway.types import PICO
from tests.proxy.routed import Routed, chunk, content, error, rows, says
from tests.support.host import ScriptedHost, answers, chunks, completion, streams, usage

GOOD = streams(chunks("Hello"))
WHY = {"x-gateway-explain": "on"}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"required": ["city"]}}}]
FITS, MISFITS, BROKEN = '{"city": "Rome"}', '{"town": "Rome"}', '{"city": '


# --- why it went there ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_who_requests_it_gets_the_decision(stream: bool, routed: Routed) -> None:
    script = GOOD if stream else answers(200, completion("Hello"))
    async with ScriptedHost(script) as first, ScriptedHost(script) as second, routed(first, second) as running:
        response = await running.chat("the secret of the prompt", stream=stream, headers=WHY)
        told = response.headers["x-gateway-plan"]
        assert told.startswith("order; a/fp8 $0.000")
        assert "; b/fp8 $0.000" in told
        assert len(told) <= 1_000
        assert "secret" not in told


async def test_who_does_not_request_it_does_not_get_it(routed: Routed) -> None:
    async with ScriptedHost(GOOD) as host, routed(host) as running:
        assert "x-gateway-plan" not in (await running.chat(stream=True)).headers


async def test_who_asks_otherwise_is_corrected(routed: Routed) -> None:
    async with ScriptedHost(GOOD) as host, routed(host) as running:
        response = await running.chat(headers={"x-gateway-explain": "please"})
        assert (response.status_code, error(response)["param"]) == (400, "x-gateway-explain")


async def test_an_error_says_why_nothing_was_sent(routed: Routed) -> None:
    async with ScriptedHost(GOOD) as host, routed(host, require={"only": ["z"]}) as running:
        response = await running.chat(headers=WHY)
        assert response.status_code == 404
        assert response.headers["x-gateway-plan"] == "none; not a/fp8 (require.only)"


# --- regret and predictions -------------------------------------------------------------------------------------


async def test_a_row_says_what_was_expected(routed: Routed) -> None:
    async with ScriptedHost(GOOD) as host, routed(host) as running:
        await running.chat(stream=True)
        (row,) = rows(running)
        assert row.predicted_usd > 0
        assert row.predicted_s > 0
        assert (row.regret, row.regret_reason) == (0, "")
        assert await running.metric("gateway_cost_actual_to_predicted_ratio_count", endpoint="a/fp8") == 1
        assert await running.metric("gateway_duration_actual_to_predicted_ratio_count", endpoint="a/fp8") == 1


async def test_regret_is_booked_once_for_a_decision(routed: Routed) -> None:
    settings: dict[str, Any] = {"endpoint": {"priors": {"ttft_p50": "1s"}}}
    pick = {"how": "best", "explore": "100%"}
    async with (
        ScriptedHost(answers(500, {})) as first,
        ScriptedHost(answers(500, {})) as second,
        routed(first, second, settings=settings, pick=pick) as running,
    ):
        for _ in range(6):
            await running.chat(stream=True)
        found = rows(running)
        assert not any(row.regret for row in found if row.attempt > 1)
        booked = sum(row.regret for row in found)
        assert round(await running.metric("gateway_regret_usd_total") * PICO) == pytest.approx(booked, abs=10)


# --- tool calls -------------------------------------------------------------------------------------------------


def calls(arguments: str, name: str = "weather") -> list[dict[str, Any]]:
    return [{"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}]


def whole(arguments: str) -> Any:
    body = completion("", finish="tool_calls")
    body["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": calls(arguments)}
    return answers(200, body)


def streamed(arguments: str, finish: str = "tool_calls") -> Any:
    half = len(arguments) // 2
    more = [{"index": 0, "function": {"arguments": arguments[half:]}}]
    return says(
        chunk({"role": "assistant", "content": None, "tool_calls": calls(arguments[:half])}),
        chunk({"tool_calls": more}),
        chunk({}, finish, usage=usage()),
        b"data: [DONE]\n\n",
    )


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("arguments", "result"), [(FITS, "ok"), (MISFITS, "misfit"), (BROKEN, "not_json")])
async def test_tool_calls_are_judged(stream: bool, arguments: str, result: str, routed: Routed) -> None:
    script = streamed(arguments) if stream else whole(arguments)
    settings = {"endpoint": {"supports": ["tools"]}}
    async with ScriptedHost(script) as host, routed(host, settings=settings) as running:
        response = await running.chat(stream=stream, tools=TOOLS)
        assert response.status_code == 200
        assert rows(running)[0].tools == result
        assert await running.metric("gateway_tool_calls_total", endpoint="a/fp8", result=result) == 1
        assert await running.metric("gateway_tool_calls_total") == 1


async def test_what_was_judged_counts_in_the_next_decision(routed: Routed) -> None:
    """`exacto` and its like rank by it."""
    settings = {"endpoint": {"supports": ["tools"]}}
    policy = {"score": {"quality_cost": "$0.05"}, "pick": {"how": "best", "explore": "0%"}}
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "tools": TOOLS}
    async with (
        ScriptedHost(whole(BROKEN)) as first,
        ScriptedHost(whole(FITS)) as second,
        routed(first, second, settings=settings, **policy) as running,
    ):
        assert (await running.chat(tools=TOOLS)).headers["x-gateway-endpoint"] == "a/fp8"
        async with asyncio.timeout(60):
            while True:  # figures show what was learned a little later
                plan = (await running.client.post("/v1/explain", json=body)).json()
                if plan["ranked"][0]["endpoint"] == "b/fp8":
                    break


async def test_an_answer_that_was_cut_short_is_not_judged(routed: Routed) -> None:
    settings = {"endpoint": {"supports": ["tools"]}}
    async with ScriptedHost(streamed(BROKEN, "length")) as host, routed(host, settings=settings) as running:
        await running.chat(stream=True, tools=TOOLS)
        assert rows(running)[0].tools == ""


async def test_without_tools_nothing_is_judged(routed: Routed) -> None:
    async with ScriptedHost(streamed(BROKEN)) as host, routed(host) as running:
        text = (await running.chat(stream=True)).text
        assert "weather" in text
        assert rows(running)[0].tools == ""


async def test_pieces_in_one_read_with_the_end_are_judged(routed: Routed) -> None:
    parts = chunk({"tool_calls": calls('{"city": ')}) + chunk(
        {"tool_calls": [{"index": 0, "function": {"arguments": '"x"}'}}]}
    )
    end = chunk({}, "tool_calls", usage=usage()) + b"data: [DONE]\n\n"
    settings = {"endpoint": {"supports": ["tools"]}}
    async with ScriptedHost(says(parts + end)) as host, routed(host, settings=settings) as running:
        assert content((await running.chat(stream=True, tools=TOOLS)).text) == ""
        assert rows(running)[0].tools == "ok"
