"""What is read beside litellm, and what its chunks become."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.litellm_answer import HIGH, Body, HostFacts, chunk, completion
from tests.support.eventstream import frame, text
from tests.upstream.listener import cut


def heard(data: bytes, places: list[int], streamed: bool = True) -> HostFacts:
    """The words of an answer that came in pieces."""
    words = HostFacts()
    words.streamed = streamed
    for piece in cut(data, places):
        words.feed(piece)
    words.end()
    return words


splits = st.lists(st.integers(0, 2000), max_size=6)


@given(splits)
def test_a_streamed_reason_is_found_however_it_is_cut(places: list[int]) -> None:
    words = heard(b"".join(text("Hel", "lo", stop="malformed_model_output")), places)
    assert words.reason == "malformed_model_output"
    assert words.has_usage
    assert words.problem is None


@given(splits)
def test_an_exception_is_found_however_it_is_cut(places: list[int]) -> None:
    failed = frame("throttlingException", {"message": "slow down"}, exception=True)
    words = heard(b"".join(text("Hel", stop=None)[:2]) + failed, places)
    assert words.reason is None
    assert not words.has_usage
    assert words.problem == ("throttlingException", '{"message": "slow down"}')


@given(splits)
def test_what_the_model_writes_is_no_reason(places: list[int]) -> None:
    said = 'Look: {"stopReason": "end_turn", "usage": {}, "finish_reason": "stop"}'
    words = heard(b"".join(text(said, stop=None)[:2]), places)
    assert words.reason is None
    assert not words.has_usage


@pytest.mark.parametrize(
    ("payload", "reason", "counted"),
    [
        ({"stopReason": "end_turn", "usage": {"inputTokens": 1}}, "end_turn", True),
        ({"choices": [{"finish_reason": "abort"}], "usage": None}, "abort", False),
        ({"output": {"toolUse": {"input": {"stopReason": "end_turn"}}}}, None, False),
        ({"choices": [{}]}, None, False),
        ({"choices": "none"}, None, False),
        ({"choices": []}, None, False),
        ([], None, False),
    ],
)
def test_a_whole_answers_reason_is_its_own_and_not_an_arguments(
    payload: object, reason: str | None, counted: bool
) -> None:
    words = heard(json.dumps(payload).encode(), [7], streamed=False)
    assert words.reason == reason
    assert words.has_usage == counted


@pytest.mark.parametrize(
    ("host", "mapped", "told"),
    [
        ("end_turn", "stop", "stop"),
        ("tool_use", "tool_calls", "tool_calls"),
        ("tool_use", "stop", "stop"),  # a JSON schema by way of a tool
        ("guardrail_intervened", "content_filter", "content_filter"),
        ("malformed_model_output", "stop", "malformed_model_output"),
        ("insufficient_system_resource", "stop", "insufficient_system_resource"),
        ("MALFORMED_FUNCTION_CALL", "stop", "MALFORMED_FUNCTION_CALL"),
        (None, "stop", None),  # litellm made it up
        ("end_turn", None, None),  # a chunk in between
    ],
)
def test_litellms_reason_counts_only_where_the_hosts_is_known(
    host: str | None, mapped: str | None, told: str | None
) -> None:
    words = HostFacts()
    words.reason = host
    assert chunk({"choices": [{"finish_reason": mapped}]}, words)["choices"][0]["finish_reason"] == told
    assert completion({"choices": [{"finish_reason": mapped}]}, words)["choices"][0]["finish_reason"] == told


def test_a_chunk_is_openais() -> None:
    call = {"id": None, "type": "function", "index": 0, "function": {"name": None, "arguments": "{"}}
    delta = {"role": None, "content": None, "tool_calls": [call], "thinking_blocks": None, "audio": None}
    said = {"id": "x", "model": "m", "usage": None, "citations": None, "choices": [{"index": 0, "delta": delta}]}
    assert chunk(said, HostFacts()) == {
        "id": "x",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "delta": {"tool_calls": [{"type": "function", "index": 0, "function": {"arguments": "{"}}]},
                "finish_reason": None,
            }
        ],
    }


@pytest.mark.parametrize(("given", "index"), [({"index": 1}, 1), ({}, 0)])
def test_a_choice_keeps_its_index(given: dict[str, int], index: int) -> None:
    for read in (chunk, completion):
        assert read({"choices": [given]}, HostFacts())["choices"][0]["index"] == index


def test_usage_is_the_hosts_or_none() -> None:
    payload = {"choices": [], "usage": {"prompt_tokens": 3, "prompt_tokens_details": {"audio_tokens": None}}}
    words = HostFacts()
    assert "usage" not in chunk(payload, words)
    words.has_usage = True
    assert chunk(payload, words)["usage"] == {"prompt_tokens": 3, "prompt_tokens_details": {}}


async def test_the_host_is_held_back_while_litellm_has_enough_to_read() -> None:
    held: list[bool] = []
    body = Body(held.append)
    body.feed(b"x" * HIGH)
    assert held == []
    body.feed(b"y")
    assert held == [True]
    assert len(await anext(body)) == HIGH + 1
    assert held == [True, False]


async def test_what_came_is_read_before_how_it_ended() -> None:
    body = Body(lambda _: None)
    reading = asyncio.ensure_future(anext(body))
    await asyncio.sleep(0)
    body.feed(b"a")
    body.feed(b"b")
    body.end(ConnectionError("cut"))
    assert await reading == b"ab"
    with pytest.raises(ConnectionError, match="cut"):
        await anext(body)
