"""What a translated answer is to the sink behind it: one head, one body, one end."""

import json
from typing import Any, cast

import pytest

from gateway.surface.openai.completions import Text
from gateway.surface.translated import TranslatedSink, Translation
from gateway.types.sink import Headers, Source
from tests.support.host import completion

STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
JSON = (b"content-type", b"application/json")


class Calls:
    """A sink that writes down each call."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, ...]] = []
        self.has_next = False

    def start(self, status: int, headers: Headers) -> None:
        self.made.append(("start", status, headers))

    def write(self, data: bytes) -> None:
        self.made.append(("write", data))

    def end(self) -> None:
        self.made.append(("end",))

    def abort(self) -> None:
        self.made.append(("abort",))

    def attach(self, source: Source) -> None:
        self.made.append(("attach", source))

    def moves_on(self) -> bool:
        return self.has_next


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def sink(calls: Calls) -> TranslatedSink:
    return TranslatedSink(calls, Text())


def test_a_whole_answer_has_one_head_with_its_own_length(calls: Calls, sink: TranslatedSink) -> None:
    body = json.dumps(completion("Hello")).encode()
    sink.start(200, [JSON, (b"content-length", b"7"), (b"x-generation-id", b"gen-1")])
    for part in (body[:10], b" " + body[10:]):
        sink.write(part)
    assert calls.made == [], "it is translated as a whole"
    sink.end()
    (_, status, headers), (_, written), end = calls.made
    assert (status, end) == (200, ("end",))
    assert headers == [JSON, (b"x-generation-id", b"gen-1"), (b"content-length", b"%d" % len(written))]
    assert json.loads(written)["choices"][0]["text"] == "Hello"


def test_white_space_before_it_is_sent_at_once_behind_the_head(calls: Calls, sink: TranslatedSink) -> None:
    sink.start(200, [JSON])
    sink.write(b"\n")
    sink.write(b"\n")
    assert calls.made == [("start", 200, [JSON]), ("write", b"\n"), ("write", b"\n")]
    body = json.dumps(completion("Hello")).encode()
    sink.write(body[:20])
    sink.write(b" ")
    sink.write(body[20:])
    sink.end()
    assert [call[0] for call in calls.made[3:]] == ["write", "end"]


def test_an_error_keeps_its_status(calls: Calls, sink: TranslatedSink) -> None:
    sink.start(429, [JSON])
    sink.write(b'{"error": {"message": "slow down"}}')
    sink.end()
    assert calls.made[0][:2] == ("start", 429)
    assert json.loads(calls.made[1][1]) == {"error": {"message": "slow down"}}


@pytest.mark.parametrize(
    ("headers", "streams"),
    [
        ([STREAM], True),
        ([JSON, STREAM], True),
        ([JSON], False),
        ([(b"x-note", b"text/event-stream")], False),
        ([], False),
    ],
)
def test_the_content_type_says_whether_it_is_a_stream(
    headers: Headers, streams: bool, calls: Calls, sink: TranslatedSink
) -> None:
    sink.start(200, headers)
    assert calls.made == ([("start", 200, headers)] if streams else [])


def test_an_event_is_written_when_it_is_whole(calls: Calls, sink: TranslatedSink) -> None:
    sink.start(200, [STREAM])
    sink.write(b'data: {"choices": [{"delta": {"content": "Hi"}}]}')
    assert len(calls.made) == 1
    sink.write(b"\n\n: waiting\n\ndata: [DO")
    sink.write(b"NE]\n\n")
    sink.end()
    (text, waiting), done = calls.made[1][1].split(b"\n\n", 1), calls.made[2][1]
    assert json.loads(text.removeprefix(b"data: "))["choices"][0]["text"] == "Hi"
    assert (waiting, done, calls.made[3]) == (b": keep-alive\n\n", b"data: [DONE]\n\n", ("end",))


def test_nothing_follows_an_event_that_cannot_be_read(calls: Calls, sink: TranslatedSink) -> None:
    sink.start(200, [STREAM])
    sink.write(b"data: {no json\n\n")
    error = json.loads(calls.made[1][1].removeprefix(b"data: "))["error"]
    assert (error["status"], error["code"]) == (502, "garbage")
    assert error["message"].startswith("the host's answer cannot be read: ")
    sink.write(b"data: [DONE]\n\n")
    sink.end()
    assert [call[0] for call in calls.made] == ["start", "write", "end"]


def test_what_the_proxy_asks_of_its_sink_reaches_the_clients(calls: Calls, sink: TranslatedSink) -> None:
    source = cast(Source, object())
    sink.attach(source)
    sink.abort()
    assert calls.made == [("attach", source), ("abort",)]
    assert not sink.moves_on()
    calls.has_next = True
    assert sink.moves_on()


class Breaks(Text):
    """A translation that fails at every whole answer."""

    __slots__ = ()

    def whole(self, completion: dict[str, Any]) -> dict[str, Any]:
        raise LookupError("no choices")


def test_a_whole_answer_that_cannot_be_translated_is_a_502(calls: Calls) -> None:
    sink = TranslatedSink(calls, cast(Translation, Breaks()))
    sink.start(200, [JSON])
    sink.write(b"{}")
    sink.end()
    assert calls.made[0][1] == 502
    assert json.loads(calls.made[1][1])["error"]["code"] == "garbage"
