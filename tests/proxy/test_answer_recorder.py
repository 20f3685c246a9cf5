"""What is kept of a stream is put together after its client has the end."""

import json
import sys
from collections.abc import Callable

from gateway.cache.response_cache import CachedAnswer
from gateway.proxy import answer_recorder
from gateway.proxy.answer_recorder import AnswerRecorder, Hidden
from tests.support.host import chunks


def test_a_stream_is_put_together_later() -> None:
    saved: list[tuple[CachedAnswer, Hidden]] = []
    later: list[Callable[[], None]] = []
    sent: list[bytes] = []
    kept = AnswerRecorder(lambda *one: saved.append(one), later.append, lambda: 5.0)
    both = kept.tee(sent.append)
    *events, tail = [f"data: {json.dumps(one)}\n\n".encode() for one in chunks("Hello there")]
    for event in events:
        both(event)
    assert sent == events
    kept.stream(tail, "a/fp8", {0: "Hm"})
    assert not saved
    later.pop()()
    answer, hidden = saved[0]
    assert answer.completion["choices"][0]["message"]["content"] == "Hello there"
    assert (answer.endpoint, answer.at, hidden) == ("a/fp8", 5.0, {0: "Hm"})


def test_what_is_too_large_is_not_kept() -> None:
    later: list[Callable[[], None]] = []
    kept = AnswerRecorder(lambda *_: None, later.append, lambda: 5.0)
    kept.take(b": " + b"x" * answer_recorder.LARGEST_KEPT + b"\n\n")
    kept.stream(b"data: [DONE]\n\n", "a/fp8", {})
    assert not later


def test_what_is_too_large_is_let_go_while_it_streams() -> None:
    """A stream may go on for an hour; its first megabyte is not held that long."""
    kept = AnswerRecorder(lambda *_: None, lambda _: None, lambda: 5.0)
    piece = b"x" * answer_recorder.LARGEST_KEPT
    held = sys.getrefcount(piece)
    kept.take(piece)
    assert sys.getrefcount(piece) == held + 1
    kept.take(b"more")
    assert sys.getrefcount(piece) == held


def test_a_whole_answer_is_kept_later_too() -> None:
    """What goes wrong with keeping it is nothing to its client, who has the end by then."""
    later: list[Callable[[], None]] = []
    saved: list[tuple[CachedAnswer, Hidden]] = []
    kept = AnswerRecorder(lambda *one: saved.append(one), later.append, lambda: 5.0)
    kept.whole({"choices": []}, "a/fp8", {0: "Hm"})
    assert not saved
    later.pop()()
    assert saved == [(CachedAnswer({"choices": []}, "a/fp8", 5.0), {0: "Hm"})]
