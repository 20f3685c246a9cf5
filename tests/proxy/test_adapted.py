"""An endpoint behind a translator is one among others: the exchange, the ledger and the client see no difference."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from gateway.types import Endpoint
from gateway.upstream.litellm_adapter import Adapted
from gateway.upstream.litellm_call import Send
from gateway.upstream.litellm_request import HostRequest
from tests.proxy.world import Make, World
from tests.support.host import Out, Received, ScriptedHost, answers, completion

WHOLE = {"stopReason": "end_turn", "usage": {"inputTokens": 1}}


def adapt(world: World, host: ScriptedHost) -> None:
    """Puts a translator before endpoint `a`: it says `Hello` and `stop`, whatever the host says."""

    async def translate(question: Mapping[str, Any], ask: Send) -> AsyncIterator[dict[str, Any]]:
        answer = await ask(HostRequest("POST", f"{host.url}/converse", [], json.dumps(question["messages"]).encode()))
        async for _ in answer.body:
            part = {"role": "assistant", "content": "Hello"}
            used = {"prompt_tokens": 7, "completion_tokens": 2}
            choice = {"index": 0, "delta": part, "message": part}
            if question.get("stream"):
                yield {"id": "x", "choices": [choice]}
                choice = {"index": 0, "delta": {}}
            yield {"id": "x", "choices": [{**choice, "finish_reason": "stop"}], "usage": used}

    endpoint = Endpoint("a", "a", host.url, "bedrock/m", adapter="litellm")
    adapted = Adapted(endpoint, None, lambda _, __: translate, world.transport)
    world.destinations["a"] = adapted


@pytest.mark.parametrize("stream", [True, False])
async def test_a_clean_answer_is_booked_with_the_hosts_usage(make: Make, stream: bool) -> None:
    async with ScriptedHost(answers(200, WHOLE)) as host:
        world = make(host)
        adapt(world, host)
        sink = await world.ask(stream)
        assert sink.status == 200
        assert b"Hello" in sink.body
        (row,) = world.rows()
        assert (row.outcome, row.finish_reason, row.usage_source) == ("ok", "stop", "host")
        assert (row.prompt_tokens, row.completion_tokens) == (7, 2)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_is_judged_by_its_own_words_and_the_next_endpoint_is_tried(make: Make, stream: bool) -> None:
    async with ScriptedHost(answers(429, {"message": "slow"})) as first, ScriptedHost(_either) as second:
        world = make(first, second)
        adapt(world, first)
        sink = await world.ask(stream)
        assert sink.status == 200
        assert [row.outcome for row in world.rows()] == ["rate_limited", "ok"]


async def test_a_whole_answer_with_an_unclean_end_is_never_sent(make: Make) -> None:
    bad = answers(200, WHOLE | {"stopReason": "malformed_model_output"})
    async with ScriptedHost(bad) as first, ScriptedHost(_either) as second:
        world = make(first, second)
        adapt(world, first)
        sink = await world.ask()
        assert sink.status == 200
        row, _ = world.rows()
        assert (row.outcome, row.endpoint) == ("unclean", "a")
        assert "malformed_model_output" in row.error


async def test_a_stream_with_an_unclean_end_breaks_loudly(make: Make) -> None:
    async with ScriptedHost(answers(200, WHOLE | {"stopReason": "malformed_model_output"})) as host:
        world = make(host)
        adapt(world, host)
        sink = await world.ask(stream=True)
        assert b'"error"' in sink.body
        assert b'"finish_reason":"stop"' not in sink.body
        (row,) = world.rows()
        assert row.outcome == "unclean"


async def test_the_client_leaves_and_the_host_sees_it(make: Make) -> None:
    async def stalls(_: Received, out: Out) -> None:
        await out.stall()

    async with ScriptedHost(stalls) as host:
        world = make(host)
        adapt(world, host)
        sink = world.send(stream=True)
        await host.until(lambda: len(host.requests) == 1)
        assert sink.source is not None
        sink.source.gone()
        await host.until(lambda: host.gone == 1)
        (row,) = world.rows()
        assert row.outcome == "cancelled"


async def _either(request: Received, out: Out) -> None:
    await answers(200, completion("Hello"))(request, out) if not request.json().get("stream") else await _stream(out)


async def _stream(out: Out) -> None:
    await out.head(200, {"content-type": "text/event-stream"})
    for delta, reason in (({"content": "Hello"}, None), ({}, "stop")):
        chunk = {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        await out.send(f"data: {json.dumps(chunk)}\n\n".encode())
    await out.send(b"data: [DONE]\n\n")
    await out.end()
