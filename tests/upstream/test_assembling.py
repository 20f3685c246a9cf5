"""A stream put together is the answer that the host would have given whole, with the clocks of a stream."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repair.tool_call_check import ToolCallCheck
from gateway.repair.tool_call_repair import Repairs, mender
from gateway.types import Usage
from gateway.upstream.assembling import AssemblingReader
from gateway.upstream.reader import LARGEST_ANSWER, MOST_NOISE
from tests.upstream.listener import Listener, cut, feed
from tests.upstream.markup import WEATHER, WEATHER_ARGUMENTS
from tests.upstream.recordings import (
    COMMENT,
    DONE,
    OPENAI,
    RECORDINGS,
    TOOLS,
    TWO_CHOICES,
    USED,
    Recording,
    chunk,
    event,
    events,
)

Json = dict[str, Any]
recordings = st.sampled_from(RECORDINGS)
splits = st.lists(st.integers(0, 10_000), max_size=40)


def read(pieces: list[bytes], choices: int = 1, lost: bool = False, **more: Any) -> tuple[Listener, AssemblingReader]:
    listener = Listener()
    reader = AssemblingReader(listener, 0.0, choices=choices, **more)
    return feed(reader, listener, pieces, lost), reader


def message(reader: AssemblingReader) -> Json:
    (choice,) = reader.completion["choices"]
    said: Json = choice["message"]
    return said


@given(recordings, splits)
def test_any_split_gives_the_same_completion(one: Recording, places: list[int]) -> None:
    listener, reader = read(cut(one.stream, places), one.choices)
    assert listener.failure is None
    assert reader.finish_reason == one.finish
    assert reader.usage == one.usage
    choices = reader.completion["choices"]
    assert "".join(choice["message"].get("content") or "" for choice in choices) == one.text
    assert [choice["index"] for choice in choices] == [*range(one.choices)]
    whole = read([one.stream], one.choices)[1]
    assert reader.completion == whole.completion


def test_it_is_the_answer_that_was_not_streamed() -> None:
    tokens: list[Json] = [{"token": "Hi", "logprob": -0.5}, {"token": "!", "logprob": -1.5}]
    chunks = [
        chunk({"role": "assistant", "content": ""}, system_fingerprint="fp"),
        chunk({"reasoning_content": "Hm"}, system_fingerprint="fp"),
        chunk({"content": "Hi", "reasoning_content": None}, system_fingerprint="fp"),
        chunk({"content": "!"}, system_fingerprint="fp"),
    ]
    for made, token in zip(chunks[2:], tokens, strict=True):
        made["choices"][0]["logprobs"] = {"content": [token]}
    listener, reader = read([*events([*chunks, chunk({}, "eos"), chunk(None, usage=USED)]), DONE])
    assert listener.failure is None
    assert reader.completion | {"usage": None} == {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi!", "reasoning_content": "Hm"},
                "logprobs": {"content": tokens},
                "finish_reason": "stop",
            }
        ],
        "usage": None,
    }


def test_tool_calls_are_put_together_judged_and_mended() -> None:
    calls = ToolCallCheck()
    _, reader = read([TOOLS.stream], calls=calls, mender=mender({"tools": [{"function": {"name": "f"}}]}))
    (call,) = message(reader)["tool_calls"]
    assert call == {"id": "call_00", "type": "function", "function": {"name": "f", "arguments": '{"error": 1}'}}
    assert message(reader)["content"] is None
    assert calls.verdict([{"function": {"name": "f"}}]) == "ok"


def test_a_call_in_the_text_becomes_a_call() -> None:
    mends = mender({"tools": [{"function": {"name": "weather"}}]})
    assert mends is not None
    pieces = [chunk({"content": WEATHER[at : at + 5]}) for at in range(0, len(WEATHER), 5)]
    _, reader = read([*events([*pieces, chunk({}, "stop")]), DONE], mender=mends)
    (call,) = message(reader)["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": WEATHER_ARGUMENTS}
    assert reader.finish_reason == "tool_calls"
    assert mends.repairs == Repairs(call=1)


@given(recordings, splits)
def test_the_first_token_comes_with_the_byte_that_completes_its_event(one: Recording, places: list[int]) -> None:
    pieces = cut(one.stream, places)
    listener, _ = read(pieces, one.choices)
    complete = len(b"".join((*one.start, *(*one.body, *one.end)[:1])))
    assert listener.first_after is not None
    assert sum(map(len, pieces[: listener.first_after])) >= complete
    assert sum(map(len, pieces[: listener.first_after - 1])) < complete


def test_only_events_that_bring_the_answer_further_are_progress() -> None:
    class Counting(Listener):
        comments = 0

        def on_comment(self, data: bytes) -> None:
            self.comments += 1

    listener = Counting()
    reader = AssemblingReader(listener, 0.0)
    feed(reader, listener, [*OPENAI.start, COMMENT, *OPENAI.body, COMMENT, *OPENAI.start, *OPENAI.end])
    assert len(listener.chunks) == 2
    assert listener.comments == 4, "none before the first token"
    assert listener.text == b""


def test_the_answer_is_there_with_its_last_finish_chunk() -> None:
    listener = Listener()
    reader = AssemblingReader(listener, 0.0)
    reader.on_response(200, [])
    for piece in (*OPENAI.start, *OPENAI.body):
        reader.on_data(piece)
    assert not reader.finished
    reader.on_data(OPENAI.end[0])
    assert reader.finished
    assert message(reader)["content"] == "Hi there"
    assert not listener.ended, "usage may still come"
    reader.on_data(OPENAI.end[1])
    assert reader.usage == Usage(12, 4, 3, 0, source="host")
    reader.on_data(DONE)
    assert listener.ended


@pytest.mark.parametrize("rest", [b"", b'data: {"error": {"message": "late"}}\n\n', b"data: {nonsense\n\n", b"data: {"])
@pytest.mark.parametrize("lost", [True, False])
def test_what_goes_wrong_after_the_finish_chunk_does_not_matter(rest: bytes, lost: bool) -> None:
    listener, reader = read([*OPENAI.start, *OPENAI.body, OPENAI.end[0], rest], lost=lost)
    assert listener.failure is None
    assert message(reader)["content"] == "Hi there"


@given(recordings, splits, st.integers(0, 10_000), st.booleans())
def test_no_beginning_of_a_stream_is_an_answer(one: Recording, places: list[int], length: int, lost: bool) -> None:
    finishes = one.end[: 3 if one is TWO_CHOICES else 1 + one.end[0].startswith(b":")]
    needed = len(b"".join((*one.start, *one.body, *finishes))) - 4
    start = one.stream[: length % needed]
    listener, reader = read(cut(start, places), one.choices, lost=lost)
    assert listener.fault in ("cut", "unclean", "empty", "garbage")
    assert not reader.completion


@pytest.mark.parametrize("end", [(DONE,), (event(chunk(None, usage=USED)), DONE), ()])
def test_a_stop_without_content_is_an_empty_answer(end: tuple[bytes, ...]) -> None:
    listener, reader = read([*OPENAI.start, OPENAI.end[0], *end])
    assert (listener.fault, reader.finished) == ("empty", False)


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "error", "abort"])
def test_an_unclean_end_is_no_answer(reason: str) -> None:
    listener, _ = read([*OPENAI.start, *OPENAI.body, event(chunk({}, reason)), DONE])
    assert listener.fault == "unclean"


def test_an_error_inside_the_stream_is_reported_in_the_hosts_words() -> None:
    listener, _ = read([*OPENAI.start, *OPENAI.body, event({"error": {"message": "overloaded"}})])
    assert listener.failure is not None
    assert (listener.fault, listener.failure.message) == ("in_band", "overloaded")


def test_one_json_document_is_read_as_well() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    whole = {"object": "chat.completion", "choices": [choice], "usage": USED}
    for blank in (b"", b"\n\n", b"  \n"):
        listener, reader = read([blank, json.dumps(whole).encode()])
        assert listener.failure is None
        assert reader.completion == whole
        assert reader.usage.completion == 3
        assert listener.first_after is None


@pytest.mark.parametrize("nothing", [b": wait\n\n", b"data:\n\n", b"\r\n\r\n"])
def test_a_flood_of_nothing_is_garbage_before_and_after_the_first_token(nothing: bytes) -> None:
    flood = [nothing * 1_000] * (MOST_NOISE // (1_000 * len(nothing)) + 1)
    assert read(flood)[0].fault == "garbage"
    assert read([*OPENAI.start, *OPENAI.body, *flood])[0].fault == "garbage"
    begun = [*OPENAI.start, *OPENAI.body, *flood[:-2], *OPENAI.body, *flood[:-2]]
    assert read([*begun, *OPENAI.end])[0].failure is None, "each chunk makes room anew"


def test_an_answer_without_end_is_garbage() -> None:
    part = event(chunk({"content": "x" * 2**20}))
    assert read([part] * (LARGEST_ANSWER // 2**20 + 1))[0].fault == "garbage"
    assert read([b"data: ", *[b"x" * 2**20] * 9])[0].fault == "garbage"


@given(st.binary(max_size=300), splits)
def test_random_bytes_are_a_failure_and_never_an_exception(noise: bytes, places: list[int]) -> None:
    assert read(cut(noise, places) if noise else [])[0].failure is not None
