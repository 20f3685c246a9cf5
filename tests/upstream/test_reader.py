"""Whole answers, and answers that are no 200."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.types import Fault, Usage
from gateway.upstream.reader import LARGEST_ANSWER, LARGEST_ERROR, MOST_NOISE
from gateway.upstream.stream import StreamReader
from gateway.upstream.whole_reader import WholeReader
from tests.support.host import completion, usage
from tests.upstream.listener import Listener, cut, feed
from tests.upstream.recordings import chunk, event


def read(pieces: list[bytes], lost: bool = False) -> tuple[Listener, WholeReader]:
    listener = Listener()
    reader = WholeReader(listener, 0.0)
    return feed(reader, listener, pieces, lost), reader


def read_json(payload: Any) -> Listener:
    return read([json.dumps(payload).encode()])[0]


@given(st.lists(st.integers(0, 10_000), max_size=20), st.sampled_from([b"", b"\n\n\n", b"\n         \n\n"]))
def test_any_split_with_blank_lines_before_gives_the_same_answer(places: list[int], blank: bytes) -> None:
    payload = completion("Hello", reasoning="Hm", used=usage(prompt=9, completion=2, cached=4, reasoning=1))
    listener, reader = read(cut(blank + json.dumps(payload).encode(), places))
    assert listener.failure is None
    assert reader.completion == payload
    assert reader.usage == Usage(9, 4, 2, 1, source="host")
    assert reader.finish_reason == "stop"


@given(st.integers(0, 10_000), st.booleans())
def test_no_beginning_of_an_answer_is_one(length: int, lost: bool) -> None:
    data = json.dumps(completion("Hello")).encode()
    listener, reader = read([data[: length % len(data)]], lost)
    assert listener.fault == ("cut" if lost else "garbage")
    assert not reader.completion


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "error", None, "", 7])
def test_an_unclean_finish_reason_is_no_answer(reason: Any) -> None:
    assert read_json(completion("Hello", finish=reason)).fault == "unclean"


@pytest.mark.parametrize(("raw", "canonical"), [("eos", "stop"), ("end_turn", "stop"), ("max_tokens", "length")])
def test_finish_reasons_get_their_canonical_name(raw: str, canonical: str) -> None:
    _, reader = read([json.dumps(completion("Hello", finish=raw)).encode()])
    assert reader.completion["choices"][0]["finish_reason"] == canonical


def test_a_stop_without_content_is_empty_and_a_length_is_not() -> None:
    assert read_json(completion("")).fault == "empty"
    assert read_json(completion("", finish="length")).failure is None
    assert read_json(completion("", reasoning="Hm")).failure is None


@pytest.mark.parametrize("error", [{"error": {"message": "busy"}}, {"object": "error", "message": "busy"}])
def test_errors_inside_a_200_are_failures_in_the_hosts_words(error: Any) -> None:
    listener = read_json(error)
    assert listener.failure is not None
    assert (listener.fault, listener.failure.message) == ("in_band", "busy")


@pytest.mark.parametrize(
    "payload",
    [
        *([], 7, None, "text"),
        *({"choices": {"a": 1}}, {"choices": [None]}, {"choices": [{"message": "text", "finish_reason": "stop"}]}),
    ],
)
def test_answers_of_another_shape_are_garbage(payload: Any) -> None:
    assert read_json(payload).fault == "garbage"


@pytest.mark.parametrize("payload", [{}, {"choices": []}, {"choices": None}])
def test_an_answer_without_choices_is_no_answer(payload: Any) -> None:
    assert read_json(payload).fault == "unclean"


@given(st.binary(max_size=200))
def test_random_bytes_are_a_failure_and_never_an_exception(noise: bytes) -> None:
    assert read([noise])[0].failure is not None


def test_an_answer_without_end_is_garbage() -> None:
    part = b" " * (LARGEST_ANSWER // 4)
    assert read([part] * 5)[0].fault == "garbage"


def test_white_space_is_waited_through_up_to_a_bound() -> None:
    answer = json.dumps(completion("Hello")).encode()
    some = [b" \r\n" * 1_000] * (MOST_NOISE // 3_000)
    assert read([*some, answer])[0].failure is None
    listener, reader = read([*some, b" " * 3_000, answer])
    assert listener.fault == "garbage"
    assert not reader._body, "none of it is kept"


def test_an_answer_may_be_as_large_as_the_limit() -> None:
    answer = json.dumps(completion("Hello")).encode()
    listener, reader = read([answer[:1] + b" " * (LARGEST_ANSWER - len(answer)), answer[1:]])
    assert listener.failure is None
    assert reader.completion["choices"][0]["message"]["content"] == "Hello"
    assert read([answer[:1] + b" " * (LARGEST_ANSWER - len(answer) + 1), answer[1:]])[0].fault == "garbage"


@pytest.mark.parametrize("spare", [0, 1])
def test_events_without_content_are_waited_through_up_to_a_bound(spare: int) -> None:
    """Text begins the count anew."""
    listener = Listener()
    reader = StreamReader(listener, 0.0, rewrite=False)
    reader.on_response(200, [])
    for content in ("Hi", " there"):
        reader.on_data(event(chunk({"content": content})))
        reader.on_data(b":" + b"x" * (MOST_NOISE // 2 - 3) + b"\n\n")
        reader.on_data(b":" + b"x" * (MOST_NOISE - MOST_NOISE // 2 - 3 + spare) + b"\n\n")
        assert listener.fault == ("garbage" if spare else None)


@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_another_status_is_judged_when_its_body_has_come(kind: str) -> None:
    listener = Listener()
    reader = WholeReader(listener, 0.0) if kind == "whole" else StreamReader(listener, 0.0, rewrite=False)
    reader.on_response(429, [(b"retry-after", b"7")])
    reader.on_data(b'{"error": {"mess')
    reader.on_data(b'age": "slow down"}}')
    assert not listener.ended
    reader.on_complete()
    assert listener.failure is not None
    assert (listener.fault, listener.failure.message, listener.failure.retry_after) == ("rate_limited", "slow down", 7)


def test_an_errors_body_is_read_to_a_bound() -> None:
    listener = Listener()
    reader = WholeReader(listener, 0.0)
    reader.on_response(500, [])
    for _ in range(2 * LARGEST_ERROR):
        reader.on_data(b"x")
    reader.on_complete()
    assert listener.fault == "server"


def test_only_an_answer_has_a_size() -> None:
    assert read([b'{"error": {"message": "busy"}}'])[1].answer_size == 0
    assert read([json.dumps(completion("Hello")).encode()])[1].answer_size > 0


def test_what_comes_after_the_end_is_not_read() -> None:
    listener, reader = read([json.dumps(completion("Hello")).encode()])
    reader.on_data(b"more")
    reader.on_complete()
    reader.on_lost(Fault.CUT, "late")
    assert listener.failure is None
