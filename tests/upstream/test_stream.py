"""Streamed answers: the same whatever the splits, byte-exact where nothing must change, and never a false good end."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.types import Usage
from gateway.upstream import sse
from gateway.upstream.reader import MOST_NOISE
from gateway.upstream.stream import StreamReader
from tests.support.counted import counted_parses
from tests.upstream.listener import Listener, cut, feed
from tests.upstream.recordings import (
    ALL_AT_ONCE,
    COMMENT,
    DONE,
    OPENAI,
    RECORDINGS,
    TWO_CHOICES,
    USED,
    Recording,
    chunk,
    event,
    events,
)

recordings = st.sampled_from(RECORDINGS)
splits = st.lists(st.integers(0, 10_000), max_size=40)
keys = st.sampled_from(["choices", "delta", "usage", "finish_reason", "error", "index", "content", "message"])
odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner),
    max_leaves=12,
)
PAID: dict[str, Any] = {"prompt_tokens": 12, "cost": 0.5}


def read(
    pieces: list[bytes], rewrite: bool = False, choices: int = 1, lost: bool = False
) -> tuple[Listener, StreamReader]:
    listener = Listener()
    reader = StreamReader(listener, 0.0, rewrite=rewrite, choices=choices)
    return feed(reader, listener, pieces, lost), reader


def read_recording(one: Recording, pieces: list[bytes]) -> tuple[Listener, StreamReader]:
    return read(pieces, rewrite=not one.relays, choices=one.choices)


def without_comments(text: bytes) -> list[bytes]:
    """All but comments, of which there is one where a read brought nothing else."""
    return [event for event in text.split(b"\n\n") if not event.startswith(b":")]


def said(block: bytes, part: str) -> str:
    """All text in a stream, of whichever choice."""
    deltas = [choice["delta"] for payload in sse.payloads(block) for choice in payload["choices"]]
    return "".join(delta.get(part) or "" for delta in deltas)


@given(recordings, splits)
def test_any_split_gives_the_same_answer(one: Recording, places: list[int]) -> None:
    listener, reader = read_recording(one, cut(one.stream, places))
    tail = reader.tail(PAID, include_usage=False)
    assert listener.failure is None
    assert reader.finish_reason == one.finish
    assert reader.usage == one.usage
    assert said(listener.text + tail, "content") == one.text
    assert said(listener.text + tail, "reasoning_content") == one.thought
    whole, _ = read_recording(one, [one.stream])
    assert without_comments(listener.text) == without_comments(whole.text)


@given(recordings, splits)
def test_the_first_token_comes_with_the_byte_that_completes_its_event(one: Recording, places: list[int]) -> None:
    pieces = cut(one.stream, places)
    listener, _ = read_recording(one, pieces)
    complete = len(b"".join((*one.start, *(*one.body, *one.end)[:1])))
    assert listener.first_after is not None
    assert sum(map(len, pieces[: listener.first_after])) >= complete
    assert sum(map(len, pieces[: listener.first_after - 1])) < complete


@pytest.mark.parametrize("words", [5, 60])
def test_a_burst_is_parsed_at_its_ends_only(words: int) -> None:
    stream = b"".join((*OPENAI.start, OPENAI.body[0] * words, *OPENAI.end))
    with counted_parses() as made:
        listener, _ = read([stream])
    assert listener.failure is None
    assert len(made) == len(OPENAI.start) + 1 + len(OPENAI.end) - 1, made  # [DONE] is no JSON


@given(st.sampled_from([one for one in RECORDINGS if one.relays and one.choices == 1 and one.body]), splits)
def test_bytes_are_untouched_up_to_the_finish_chunk(one: Recording, places: list[int]) -> None:
    listener, _ = read_recording(one, cut(one.stream, places))
    assert listener.text.replace(COMMENT, b"") == one.relayed


USUAL = OPENAI.body[0]
odd_events = st.sampled_from(
    [
        event(chunk({"content": ""})),
        event(chunk({"content": "Hi", "tool_calls": None})),
        event(chunk({"reasoning_content": "Hm"})),
        event(chunk({"content": ["Hi"]})),
        event(chunk({}, "stop")),
        event(chunk({}, "odd")),
        event({"error": {"message": "overloaded"}}),
        USUAL.replace(b"Hi", b"\\ud83d"),
        USUAL.replace(b"Hi", b"H\ti"),
        USUAL.replace(b"Hi", b"\\q"),
        USUAL.replace(b"Hi", b"\xff"),
        USUAL[:40] + b"\n\n",
        DONE,
    ]
)
usual_events = st.text(min_size=1).map(lambda text: event(chunk({"content": text})))


@given(st.lists(usual_events | odd_events, max_size=20), splits)
def test_any_split_says_the_same_as_its_events_one_by_one(body: list[bytes], places: list[int]) -> None:
    alone, slowly = read([*OPENAI.start, USUAL, *body])
    split, reader = read(cut(b"".join((*OPENAI.start, USUAL, *body)), places))
    assert (split.text, split.failure) == (alone.text, alone.failure)
    assert reader.deltas == slowly.deltas
    assert reader.finish_reason == slowly.finish_reason


@given(recordings, splits)
def test_rewritten_chunks_have_no_null_that_clients_refuse(one: Recording, places: list[int]) -> None:
    listener, reader = read(cut(one.stream, places), rewrite=True, choices=one.choices)
    for payload in sse.payloads(listener.text + reader.tail(PAID, include_usage=True)):
        assert payload.get("usage", 1) is not None
        assert payload.get("system_fingerprint", 1) is not None
        for choice in payload["choices"]:
            assert "reasoning" not in choice["delta"]
            assert choice["delta"].get("tool_calls", 1) is not None


@given(recordings, splits)
def test_deltas_are_counted_whatever_the_splits(one: Recording, places: list[int]) -> None:
    _, reader = read(cut(one.stream, places), rewrite=False, choices=one.choices)
    _, rewriting = read([one.stream], rewrite=True, choices=one.choices)
    assert reader.deltas == rewriting.deltas


@given(recordings, splits, st.integers(0, 10_000), st.booleans())
def test_no_beginning_of_a_stream_is_a_good_end(one: Recording, places: list[int], length: int, lost: bool) -> None:
    """Cut anywhere before the finish chunk is whole, in order or not: a failure, and nothing after it."""
    finishes = one.end[: 3 if one is TWO_CHOICES else 1 + one.end[0].startswith(b":")]
    needed = len(b"".join((*one.start, *one.body, *finishes))) - 4  # the finish chunk may lack its blank line
    start = one.stream[: length % needed]
    listener, _ = read(cut(start, places), rewrite=not one.relays, choices=one.choices, lost=lost)
    assert listener.fault in ("cut", "unclean", "empty", "garbage")


@pytest.mark.parametrize("rest", [b"", b'data: {"error": {"message": "late"}}\n\n', b"data: {nonsense\n\n", b"data: {"])
@pytest.mark.parametrize("lost", [True, False])
def test_what_goes_wrong_after_the_finish_chunk_does_not_matter(rest: bytes, lost: bool) -> None:
    listener, reader = read([*OPENAI.start, *OPENAI.body, OPENAI.end[0], rest], lost=lost)
    assert listener.failure is None
    assert reader.finish_reason == "stop"


def test_a_cut_before_the_last_choice_has_ended_is_a_failure() -> None:
    first_ended = [*TWO_CHOICES.start, *TWO_CHOICES.body, TWO_CHOICES.end[0]]
    assert read(first_ended, choices=2, lost=True)[0].fault == "cut"
    assert read(first_ended, choices=2)[0].fault == "unclean"
    assert read([*first_ended, DONE], choices=2)[0].failure is None  # the host says that this is all


def test_content_on_a_finish_chunk_is_sent_at_once_and_only_once() -> None:
    last = chunk({"content": "Bye"}, "stop")
    last["choices"][0]["logprobs"] = {"content": [{"token": "Bye"}]}
    listener, reader = read([*OPENAI.start, *OPENAI.body, event(last)])
    (sent,) = [one for one in sse.payloads(listener.text) if one["choices"][0]["delta"].get("content") == "Bye"]
    assert sent["choices"][0]["finish_reason"] is None
    assert sent["choices"][0]["logprobs"]["content"] == [{"token": "Bye"}]
    (end,) = sse.payloads(reader.tail({}, include_usage=False))
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop", "logprobs": None}]


def test_a_choice_that_goes_on_beside_one_that_ends_is_sent() -> None:
    both = chunk({}, "stop")
    both["choices"].append({"index": 1, "delta": {"content": "more"}, "finish_reason": None})
    listener, reader = read([*OPENAI.start, *OPENAI.body, event(both), event(both)], choices=2)
    assert listener.text.count(b'"more"') == 2
    assert [one["choices"][0]["index"] for one in sse.payloads(reader.tail({}, include_usage=False))] == [0]
    assert not reader.finished


def test_usage_goes_on_the_finish_chunk() -> None:
    _, reader = read([OPENAI.stream])
    last, end = reader.tail(PAID, include_usage=False).strip().split(b"\n\n")
    payload = json.loads(last.removeprefix(b"data: "))
    assert payload["choices"][0]["finish_reason"] == "stop"
    assert payload["usage"] == PAID
    assert end == b"data: [DONE]"


def test_usage_goes_in_a_chunk_of_its_own_with_include_usage() -> None:
    _, reader = read([ALL_AT_ONCE.stream])
    finish, extra = sse.payloads(reader.tail(PAID, include_usage=True))
    assert "usage" not in finish
    assert extra["choices"] == []
    assert extra["usage"] == PAID
    assert extra["id"] == finish["id"]
    assert extra["object"] == "chat.completion.chunk"


def test_of_two_finish_chunks_only_the_last_has_usage() -> None:
    _, reader = read([TWO_CHOICES.stream], choices=2)
    first, second = sse.payloads(reader.tail(PAID, include_usage=False))
    assert "usage" not in first
    assert second["usage"] == PAID


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "error", "abort", "", "network_error"])
def test_an_unclean_finish_reason_before_any_token_is_no_answer(reason: str) -> None:
    listener, _ = read([event(chunk({"content": ""}, reason)), DONE])
    assert listener.first_after is None
    assert listener.fault == "unclean"


def test_an_unclean_finish_reason_beside_the_first_token_is_no_answer() -> None:
    listener, _ = read([event(chunk({"content": "Sor"}, "insufficient_system_resource")), DONE])
    assert listener.first_after is None
    assert listener.failure is not None
    assert listener.failure.code == "insufficient_system_resource"


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("reason", ["insufficient_system_resource", "error", 7, {"a": 1}])
def test_an_unclean_finish_reason_after_tokens_is_a_failure(reason: object, rewrite: bool) -> None:
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    pieces = [*OPENAI.start, *OPENAI.body, event(end), DONE]
    listener, _ = read(pieces, rewrite)
    assert listener.fault == "unclean"


@pytest.mark.parametrize("ending", [(DONE,), (OPENAI.end[1], DONE), ()])
def test_a_stop_without_content_is_an_empty_answer(ending: tuple[bytes, ...]) -> None:
    listener, _ = read([*OPENAI.start, OPENAI.end[0], *ending])
    assert listener.first_after is None
    assert listener.fault == "empty"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_thinking_may_eat_the_whole_budget(reason: str) -> None:
    listener, reader = read([*OPENAI.start, event(chunk({"content": ""}, reason)), OPENAI.end[1], DONE])
    assert listener.failure is None
    assert reader.finish_reason == reason
    assert reader.usage.completion == 3


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ({"error": {"message": "overloaded", "code": 503}}, "in_band"),
        ({"object": "error", "message": "overloaded", "code": 500}, "in_band"),
        ({"error": {"message": "overloaded", "code": 429}}, "rate_limited"),
        (chunk({"content": ""}, "error", error={"message": "overloaded"}), "in_band"),
    ],
)
@pytest.mark.parametrize("rewrite", [True, False])
def test_errors_inside_a_200_are_failures_in_the_hosts_words(error: dict[str, Any], fault: str, rewrite: bool) -> None:
    before, _ = read([*OPENAI.start, event(error), DONE], rewrite)
    after, _ = read([*OPENAI.start, *OPENAI.body, event(error), DONE], rewrite)
    for listener in (before, after):
        assert listener.failure is not None
        assert (listener.fault, listener.failure.message) == (fault, "overloaded")
    assert before.first_after is None
    assert after.text == b"".join((*OPENAI.start, *OPENAI.body))


def test_a_json_error_instead_of_a_stream_is_reported_in_the_hosts_words() -> None:
    listener, _ = read([b"\n\n\n", b'{"error": {"message": "overloaded"}}'])
    assert listener.failure is not None
    assert (listener.fault, listener.failure.message) == ("in_band", "overloaded")


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("before", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_json_answer_instead_of_a_stream_is_streamed(before: bytes, rewrite: bool) -> None:
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in "fg"]
    message = {"role": "assistant", "content": "Hi there", "tool_calls": calls}
    whole = chunk(None, usage=USED) | {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    listener, reader = read([before + json.dumps(whole, indent=1).encode()], rewrite)
    assert listener.failure is None
    (said_at_once,) = sse.payloads(listener.text)
    assert said_at_once["object"] == "chat.completion.chunk"
    delta = said_at_once["choices"][0]["delta"]
    assert delta == message | {"tool_calls": [{"index": at, **call} for at, call in enumerate(calls)]}
    assert reader.usage == OPENAI.usage
    (end,) = sse.payloads(reader.tail(PAID, include_usage=False))
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]


@pytest.mark.parametrize("answer", [b'{"choices": []}', b"{}", b"[]", b"Internal Server Error", b"<html></html>", b""])
def test_what_is_neither_a_stream_nor_an_answer_is_a_failure(answer: bytes) -> None:
    assert read([answer])[0].fault in ("garbage", "unclean")


SHAPES: list[Any] = [
    {"choices": "abc"},
    {"choices": {"a": 1}},
    {"choices": [None]},
    {"choices": [["a"]]},
    {"choices": [{"delta": "text"}]},
    {"choices": [{"delta": [1]}]},
    {"choices": [{"index": [1], "delta": {}}]},
    [1, 2],
    7,
    None,
]


@pytest.mark.parametrize("shape", SHAPES)
def test_events_of_another_shape_are_garbage(shape: Any) -> None:
    odd = b"data: " + json.dumps(shape).encode() + b"\n\n"
    assert read([odd, DONE])[0].fault == "garbage"
    assert read([*OPENAI.start, *OPENAI.body, odd, DONE], rewrite=True)[0].fault == "garbage"


def test_broken_json_in_a_rewritten_stream_is_garbage_after_what_came_before() -> None:
    listener, _ = read([b"".join((*OPENAI.start, *OPENAI.body)) + b'data: {"choi\n\n'], rewrite=True)
    assert listener.fault == "garbage"
    assert said(listener.text, "content") == "Hi there"


@given(st.binary(max_size=300), splits, st.booleans())
def test_random_bytes_are_a_failure_and_never_an_exception(noise: bytes, places: list[int], rewrite: bool) -> None:
    assert read(cut(noise, places) if noise else [], rewrite)[0].failure is not None


@given(odd_json, st.booleans())
def test_random_json_never_raises(payload: Any, rewrite: bool) -> None:
    odd = b"data: " + json.dumps(payload).encode() + b"\n\n"
    read([odd, DONE], rewrite)
    read([*OPENAI.start, *OPENAI.body, odd, DONE], rewrite)


def test_usage_of_another_shape_leaves_what_was_counted() -> None:
    _, reader = read([*OPENAI.start, *OPENAI.body, *OPENAI.end[:2], event(chunk(None, usage="much")), DONE])
    assert reader.usage == Usage(12, 4, 3, 0, source="host")


def test_empty_deltas_without_end_are_garbage() -> None:
    empty = event(chunk({"content": ""}))
    listener, _ = read([empty * 1000] * (MOST_NOISE // (len(empty) * 1000) + 1))
    assert listener.fault == "garbage"
    assert listener.first_after is None


@pytest.mark.parametrize("nothing", [COMMENT, b":\n\n", b"\n\n", b"data:\n\n", b"event: ping\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("rewrite", [False, True])
def test_a_flood_of_nothing_is_garbage_before_and_after_the_first_token(nothing: bytes, rewrite: bool) -> None:
    block = nothing * (8192 // len(nothing))
    flood = [block] * (MOST_NOISE // len(block) + 1)
    before, _ = read(flood, rewrite)
    after, _ = read([*OPENAI.start, *OPENAI.body, *flood], rewrite)
    assert (before.fault, before.first_after) == ("garbage", None)
    assert after.fault == "garbage"
    assert len(after.text) < 2 * MOST_NOISE


@pytest.mark.parametrize(("more", "fault"), [(0, "unclean"), (1, "garbage")])
def test_the_room_of_comments_begins_anew_with_each_relayed_read(more: int, fault: str) -> None:
    comment = b":" + b" " * 4_093 + b"\n\n"
    comments = [comment] * (MOST_NOISE // len(comment) - 1)
    listener, _ = read([*OPENAI.start, USUAL, USUAL, *comments, b" " * more + comment])
    assert listener.failure is not None
    assert listener.failure.fault == fault


def test_comments_between_chunks_have_their_room_each_time() -> None:
    block = COMMENT * (MOST_NOISE * 2 // 3 // len(COMMENT))
    start, first, second, *_ = [*OPENAI.start, *OPENAI.body]
    listener, _ = read([start, first, block, second, block, *OPENAI.body, *OPENAI.end])
    assert listener.failure is None


def test_a_flood_after_the_finish_chunk_leaves_a_good_answer() -> None:
    finish = OPENAI.end[0]
    listener, _ = read([*OPENAI.start, *OPENAI.body, finish, *[COMMENT * 1_000] * (MOST_NOISE // 1_000)])
    assert listener.failure is None


def test_an_event_without_end_is_garbage() -> None:
    mebibyte = b"x" * 2**20
    assert read([b"data: ", *[mebibyte] * 9])[0].fault == "garbage"


def test_comments_and_empty_deltas_are_no_first_token() -> None:
    listener, _ = read([COMMENT, *OPENAI.start, COMMENT, b"\n\n"], lost=True)
    assert listener.first_after is None
    assert listener.fault == "cut"


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "a"},
        {"reasoning_content": "a"},
        {"reasoning": "a"},
        {"refusal": "a"},
        {"tool_calls": [{"index": 0, "function": {"name": "f"}}]},
    ],
)
def test_text_reasoning_refusal_and_tool_calls_are_first_tokens(delta: dict[str, Any]) -> None:
    listener, _ = read([*OPENAI.start, *events([chunk(delta)])], lost=True)
    assert listener.first_after == 2
