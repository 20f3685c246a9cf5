"""An answer without a word: given where it may be the answer, else another host is asked, and believed."""

from typing import Any

import pytest

from tests.proxy.routed import DONE, ROLE, STOP, Routed, content, error, outcomes, says
from tests.support.gateway import Running
from tests.support.host import Script, ScriptedHost, answers, chunks, completion, streams

Json = dict[str, Any]
HI = {"role": "user", "content": "Hi"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = [HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
RESULT = {"role": "tool", "tool_call_id": "c", "content": "done"}
MAY_BE_EMPTY: dict[str, Json] = {
    "stop": {"stop": ["\n"]},
    "stop, a text": {"stop": "END"},
    "prefix": {"messages": [HI, {"role": "assistant", "content": "All of it.", "prefix": True}]},
    "tool result": {"messages": [*CALLED, RESULT]},
    "tool results": {"messages": [*CALLED, RESULT, RESULT]},
    "few tokens": {"max_tokens": 1},
    "few tokens, by the newer name": {"max_completion_tokens": 2},
}
MUST_SAY: dict[str, Json] = {
    "plain": {},
    "no stop": {"stop": []},
    "null stop": {"stop": None},
    "a question after a result": {"messages": [*CALLED, RESULT, {"role": "assistant", "content": "."}, HI]},
    "many tokens": {"max_tokens": 500},
}


def empty(stream: bool) -> Script:
    return says(ROLE, STOP, DONE) if stream else answers(200, completion(""))


def full(stream: bool) -> Script:
    return streams(chunks("Hello")) if stream else answers(200, completion("Hello"))


async def ask(running: Running, stream: bool, fields: Json) -> str:
    """The text of a good answer."""
    body = {"model": "deepseek-v3.2", "messages": [HI], "stream": stream} | fields
    response = await running.client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    if not stream:
        return str(response.json()["choices"][0]["message"]["content"])
    assert "[DONE]" in response.text
    assert '"finish_reason":"stop"' in response.text
    return content(response.text)


async def opened(running: Running) -> list[str]:
    found: list[str] = (await running.client.get("/health/ready")).json()["breakers_open"]
    return found


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fields", MAY_BE_EMPTY.values(), ids=MAY_BE_EMPTY)
async def test_where_it_may_be_the_answer_it_is_given(stream: bool, fields: Json, routed: Routed) -> None:
    supports = {"endpoint": {"supports": ["prefix"]}}
    async with (
        ScriptedHost(empty(stream)) as first,
        ScriptedHost([]) as second,
        routed(first, second, settings=supports) as running,
    ):
        assert await ask(running, stream, fields) == ""
        assert outcomes(running) == [("a/fp8", "ok")]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fields", MUST_SAY.values(), ids=MUST_SAY)
async def test_else_another_host_is_tried(stream: bool, fields: Json, routed: Routed) -> None:
    async with (
        ScriptedHost(empty(stream)) as first,
        ScriptedHost(full(stream)) as second,
        routed(first, second) as running,
    ):
        assert await ask(running, stream, fields) == "Hello"
        assert outcomes(running) == [("a/fp8", "empty"), ("b/fp8", "ok")]


@pytest.mark.parametrize("stream", [True, False])
async def test_two_hosts_that_agree_are_believed_and_not_blamed(stream: bool, routed: Routed) -> None:
    script = empty(stream)
    async with (
        ScriptedHost(script) as first,
        ScriptedHost(script) as second,
        ScriptedHost([]) as third,
        routed(first, second, third) as running,
    ):
        for _ in range(8):
            assert await ask(running, stream, {}) == ""
        assert outcomes(running) == [("a/fp8", "empty"), ("b/fp8", "ok")] * 8
        assert not await opened(running)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_host_that_another_contradicts_is_blamed(stream: bool, routed: Routed) -> None:
    async with (
        ScriptedHost(empty(stream)) as first,
        ScriptedHost(full(stream)) as second,
        routed(first, second) as running,
    ):
        for _ in range(5):
            assert await ask(running, stream, {}) == "Hello"
        assert await opened(running) == ["a/fp8"]


async def test_where_no_other_answers_the_client_gets_an_error(routed: Routed) -> None:
    async with ScriptedHost(empty(False)) as first, ScriptedHost(answers(503, {})) as second:
        policy: Json = {"attempts": {"max": 2}}
        async with routed(first, second, **policy) as running:
            response = await running.chat()
            assert response.status_code == 502
            assert [one["fault"] for one in error(response)["metadata"]["attempts"]] == ["empty", "server"]
            assert not await opened(running)
