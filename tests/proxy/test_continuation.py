"""A streamed answer that breaks in its text, and the host that goes on with it."""

from typing import Any

import pytest

from gateway.proxy.continuation import LARGEST, Continuation
from gateway.types import Request
from tests.proxy.routed import DONE, ROLE, STOP, WORD, Routed, broken, chunk, content, outcomes, payloads, rows, says
from tests.support.host import Script, ScriptedHost, answers, streams
from tests.support.host import chunks as chunks_of
from tests.support.host import usage as used

CONTINUE: dict[str, Any] = {"resume": "continue", "timeouts": {"gap": "200ms"}}
ABLE = {"endpoint": {"supports": ["tools", "json_object", "logprobs", "prefix"]}}
THERE = says(ROLE, chunk({"content": " there"}), STOP, chunk({}, usage=used(30, 2)), DONE)
BREAKS = pytest.mark.parametrize("then", ["cut", "reset", "stall"])


@BREAKS
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions"])
async def test_another_host_goes_on_with_the_text(then: str, path: str, routed: Routed) -> None:
    bad = says(ROLE, WORD, then=then)
    async with (
        ScriptedHost(bad) as first,
        ScriptedHost(THERE) as second,
        routed(first, second, settings=ABLE, **CONTINUE) as running,
    ):
        body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        response = await running.client.post(path, json=body | {"stream_options": {"include_usage": True}})
        assert content(response.text) == "Hello there"
        assert response.text.count("[DONE]") == 1
        assert ": continued by b/fp8, attempts 2" in response.text
        assert len({one["id"] for one in payloads(response.text)}) == 1, "one answer, one id"
        asked = second.requests[0].json()
        assert asked["messages"][-1] == {"role": "assistant", "content": "Hello", "prefix": True}
        assert asked["messages"][:-1] == body["messages"]
        one, two = rows(running)
        assert (one.continues, two.continues, two.outcome, two.last) == (False, True, "ok", True)
        total = payloads(response.text)[-1]["usage"]
        assert total["prompt_tokens"] == one.prompt_tokens
        assert total["completion_tokens"] == one.completion_tokens + two.completion_tokens
        assert total["cost"] == pytest.approx((one.cost + two.cost) / 1e12)


async def test_an_error_after_two_hosts_has_the_id_of_the_first(routed: Routed) -> None:
    async with (
        ScriptedHost(says(ROLE, WORD, then="cut")) as first,
        ScriptedHost(says(chunk({"content": " there"}, id="y", model="other"), then="cut")) as second,
        routed(first, second, settings=ABLE, **CONTINUE) as running,
    ):
        response = await running.chat(stream=True)
        assert content(response.text) == "Hello there"
        assert broken(response.text)["code"] == "cut"
        assert {one["id"] for one in payloads(response.text)} == {"x"}


async def test_a_text_that_was_whole_needs_nothing_more(routed: Routed) -> None:
    """The host lost only its end: the next one stops at once."""
    async with (
        ScriptedHost(says(ROLE, WORD, then="cut")) as first,
        ScriptedHost(says(ROLE, STOP, chunk({}, usage=used(30, 0)), DONE)) as second,
        routed(first, second, settings=ABLE, **CONTINUE) as running,
    ):
        response = await running.chat(stream=True)
        assert content(response.text) == "Hello"
        assert payloads(response.text)[-1].get("error") is None
        assert response.text.endswith("data: [DONE]\n\n")
        assert [outcome for _, outcome in outcomes(running)] == ["cut", "ok"]


async def test_limits_count_what_was_written(routed: Routed) -> None:
    bad = says(ROLE, WORD, WORD, then="cut")
    async with (
        ScriptedHost(bad) as first,
        ScriptedHost(THERE) as second,
        routed(first, second, settings=ABLE, **CONTINUE) as running,
    ):
        await running.chat(stream=True, max_tokens=20)
        assert second.requests[0].json()["max_tokens"] < 20


async def test_a_text_that_continues_the_clients_own_is_one_message(routed: Routed) -> None:
    asked = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well. ", "prefix": True}]
    async with (
        ScriptedHost(says(ROLE, WORD, then="cut")) as first,
        ScriptedHost(THERE) as second,
        routed(first, second, settings=ABLE, **CONTINUE) as running,
    ):
        response = await running.chat(stream=True, messages=asked)
        assert content(response.text) == "Hello there"
        assert second.requests[0].json()["messages"] == [asked[0], {**asked[1], "content": "Well. Hello"}]


@pytest.mark.parametrize(("limit", "left"), [(20, 18), (3, 1), (2, 1), (1, 1)])
async def test_a_continuation_requests_at_least_one_token(limit: int, left: int, routed: Routed) -> None:
    """Two words were written, each of which is counted as a token."""
    async with (
        ScriptedHost(says(ROLE, WORD, WORD, then="cut")) as first,
        ScriptedHost(THERE) as second,
        routed(first, second, settings=ABLE, **CONTINUE) as running,
    ):
        await running.chat(stream=True, max_tokens=limit)
        assert second.requests[0].json()["max_tokens"] == left


def test_what_cannot_be_put_together_is_not_continued() -> None:
    continuation = Continuation(Request("gen-1", {}, "m", "p"))
    continuation.tee(lambda _: None)(WORD)
    assert continuation.possible
    continuation.tee(lambda _: None)(b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\n')
    assert not continuation.possible


CALL = chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]})


@pytest.mark.parametrize(
    ("bad", "asked"),
    [
        (says(ROLE, WORD, CALL, then="cut"), {"tools": [{"type": "function", "function": {"name": "f"}}]}),
        (says(ROLE, chunk({"reasoning_content": "Hm"}), then="cut"), {}),
        (says(ROLE, WORD, then="cut"), {"n": 2}),
        (says(ROLE, WORD, then="cut"), {"response_format": {"type": "json_object"}}),
        (says(ROLE, WORD, then="cut"), {"logprobs": True}),
        (says(ROLE, WORD, then="cut"), {"reasoning": {"enabled": True}}),
    ],
    ids=["a call", "a thought", "two choices", "JSON", "logprobs", "thinking"],
)
async def test_what_is_not_text_alone_ends_loudly(bad: Script, asked: Any, routed: Routed) -> None:
    async with (
        ScriptedHost(bad) as first,
        ScriptedHost(THERE) as second,
        routed(first, second, settings=ABLE, **CONTINUE) as running,
    ):
        broken((await running.chat(stream=True, **asked)).text)
        assert not second.requests


async def test_a_host_that_refuses_to_go_on_does_not_hide_what_happened(routed: Routed) -> None:
    async with (
        ScriptedHost(says(ROLE, WORD, then="cut")) as first,
        ScriptedHost(answers(400, {"error": {"message": "a last assistant message is not supported"}})) as second,
        routed(first, second, settings=ABLE, **CONTINUE) as running,
    ):
        error = broken((await running.chat(stream=True)).text)
        assert "a/fp8" in error["message"]
        assert [outcome for _, outcome in outcomes(running)] == ["cut", "rejected"]


async def test_without_the_field_a_broken_answer_ends_loudly(routed: Routed) -> None:
    async with (
        ScriptedHost(says(ROLE, WORD, then="cut")) as first,
        ScriptedHost(streams(chunks_of("no"))) as second,
        routed(first, second, settings=ABLE) as running,
    ):
        broken((await running.chat(stream=True)).text)
        assert not second.requests


@pytest.mark.parametrize(("more", "possible"), [(0, True), (1, False)])
def test_a_text_is_continued_as_far_as_all_of_it_is_kept(more: int, possible: bool) -> None:
    written: list[bytes] = []
    continuation = Continuation(Request("gen-1", {}, "m", "p"))
    take = continuation.tee(written.append)
    take(WORD)
    take(b":".ljust(LARGEST - len(WORD) + more - 2, b"-") + b"\n\n")
    assert continuation.possible is possible
    take(WORD)
    assert not continuation.possible
    assert len(written) == 3, "the client has it all the same"
