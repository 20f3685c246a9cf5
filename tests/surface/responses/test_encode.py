"""Chat completions as responses: the events of a stream, and the whole that they come to."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.surface.responses.encode import ResponseAnswer
from gateway.surface.responses.tools import read_tools
from gateway.surface.translated import TranslatedSink
from tests.api.kept import Kept

Json = dict[str, Any]
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 7,
    "total_tokens": 16,
    "cost": 0.25,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
FIELDS = {"reasoning_content": "reasoning_text", "content": "output_text", "refusal": "refusal"}


def answer(**body: Any) -> ResponseAnswer:
    return ResponseAnswer(body, "abc", lambda: 1_700_000_000.9)


def chunk(delta: Json, finish: str | None = None, usage: Json | None = None) -> Json:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "x", "model": "m", "choices": choices} | ({"usage": usage} if usage else {})


def end(finish: str = "stop") -> Json:
    return chunk({}, finish, USAGE)


def call(index: int, arguments: str, name: str = "") -> Json:
    first: Json = {"id": f"call_{index}", "type": "function"} if name else {}
    function = {"name": name} if name else {}
    return {"tool_calls": [{"index": index, **first, "function": {**function, "arguments": arguments}}]}


def completion(message: Json, finish: str = "stop") -> Json:
    return {
        "id": "x",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": USAGE,
    }


def events(sent: bytes) -> list[Json]:
    """The events, each of which has a name that is its type."""
    found = []
    for block in sent.decode().split("\n\n")[:-1]:
        name, data = re.fullmatch(r"event: (.*)\ndata: (.*)", block).groups()  # type: ignore[union-attr]
        found.append(orjson.loads(data))
        assert found[-1]["type"] == name
    return found


def stream(to: ResponseAnswer, *chunks: Json) -> list[Json]:
    return events(b"".join([*map(to.chunk, chunks), to.done()]))


def names(found: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


def whole(to: ResponseAnswer, message: Json, finish: str = "stop") -> Json:
    told: Json = orjson.loads(orjson.dumps(to.whole(completion(message, finish))))
    return told


# --- one stream, read as a script


def test_a_text_is_one_message() -> None:
    found = stream(
        answer(),
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        end(),
    )
    assert names(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert found[0]["response"]["status"] == "in_progress"
    part = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    message = {"id": "msg_abc_0", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    assert found[-2]["item"] == message
    assert found[-1]["response"]["output"] == [message]


def test_reasoning_ends_where_the_text_begins() -> None:
    found = stream(answer(), chunk({"reasoning_content": "Hm"}), chunk({"content": "Hello"}), end())
    told = names(found)
    assert told.index("reasoning_text.done") < told.index("output_text.delta")
    item = next(event["item"] for event in found if event["type"] == "response.output_item.done")
    assert item == {
        "id": "rs_abc_0",
        "type": "reasoning",
        "status": "completed",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Hm"}],
    }


def test_a_client_that_asks_for_a_summary_reads_the_reasoning_there() -> None:
    to = answer(reasoning={"effort": "high", "summary": "auto"})
    found = stream(to, chunk({"reasoning_content": "Hm"}), chunk({"content": "Hello"}), end())
    assert names(found)[2:8] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert found[4]["summary_index"] == 0
    item = found[-1]["response"]["output"][0]
    assert (item["summary"], item["content"]) == ([{"type": "summary_text", "text": "Hm"}], [])


def test_calls_whose_pieces_mix_are_kept_apart() -> None:
    pieces = (call(0, "", "f"), call(1, "[", "g"), call(0, "{"), call(1, "]"), call(0, "}"))
    found = stream(answer(), *map(chunk, pieces), end("tool_calls"))
    items = found[-1]["response"]["output"]
    assert [(item["name"], item["call_id"], item["arguments"]) for item in items] == [
        ("f", "call_0", "{}"),
        ("g", "call_1", "[]"),
    ]
    assert found[-1]["type"] == "response.completed"


def test_a_call_without_an_id_gets_one() -> None:
    nameless = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]}
    assert stream(answer(), chunk(nameless), end())[-1]["response"]["output"][0]["call_id"] == "call_abc_0"


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_cut_short_is_incomplete(finish: str, reason: str) -> None:
    found = stream(answer(), chunk({"reasoning_content": "Hm"}), chunk({"content": "Hel"}), end(finish))
    assert found[-1]["type"] == "response.incomplete"
    response = found[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert response["completed_at"] is None
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]


def test_a_break_is_an_error_and_never_an_end() -> None:
    told = {"message": "a/fp8 broke", "type": "upstream_error", "param": None, "code": "cut", "status": 502}
    to = answer()
    broken = {**chunk({"content": ""}, "error"), "error": told}
    found = events(to.chunk(chunk({"content": "Hel"})) + to.chunk(broken))
    assert names(found)[-2:] == ["error", "failed"]
    assert found[-2]["error"] == {"type": "upstream_error", "code": "cut", "message": "a/fp8 broke", "param": None}
    assert (found[-2]["code"], found[-2]["message"]) == ("cut", "a/fp8 broke")
    response = found[-1]["response"]
    assert (response["status"], response["error"]) == ("failed", {"code": "server_error", "message": "a/fp8 broke"})
    assert response["output"][0]["status"] == "incomplete"
    assert numbered(found)


def test_an_error_before_anything_was_said() -> None:
    told = {
        "message": "all are busy",
        "type": "upstream_error",
        "param": None,
        "code": "rate_limit_exceeded",
        "status": 429,
    }
    found = events(answer().chunk({**chunk({"content": ""}, "error"), "error": told}))
    assert names(found) == ["created", "in_progress", "error", "failed"]
    assert found[-1]["response"]["error"]["code"] == "rate_limit_exceeded"


def test_null_is_nothing() -> None:
    nothing = (
        {"model": "m", "choices": None, "usage": None, "error": None},
        chunk({**dict.fromkeys(FIELDS), "tool_calls": None}),
    )
    found = stream(answer(), *nothing, {"choices": [{"delta": None}]}, chunk({"content": "Hello"}), end())
    assert names(found).count("output_item.added") == 1
    assert found[-1]["type"] == "response.completed"


UNREADABLE: list[bytes] = [
    b"{broken",
    b"7",
    b"[]",
    *(
        orjson.dumps(one)
        for one in (
            {"choices": 7},
            {"choices": [7]},
            {"choices": [{"delta": "x"}]},
            chunk({"content": ["x"]}),
            chunk({"reasoning_content": 7}),
            chunk({"tool_calls": [7]}),
            chunk({"tool_calls": [{"index": [1], "function": {"name": "f"}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": {"a": 1}}}]}),
        )
    ),
]


@pytest.mark.parametrize("garbage", UNREADABLE)
def test_what_cannot_be_read_breaks_the_stream(garbage: bytes) -> None:
    """No host's event comes here unread; a fault of ours would."""
    good = b"data: " + orjson.dumps(chunk({"content": "Hel"})) + b"\n\n"
    found = events(through_a_sink([good, b"data: " + garbage + b"\n\n", good, b"data: [DONE]\n\n"]))
    assert names(found)[-2:] == ["error", "failed"]
    assert names(found).count("output_text.delta") == 1
    assert numbered(found)


# --- the response object


def test_what_was_requested_comes_back() -> None:
    tool = {"type": "function", "name": "f", "parameters": {}, "strict": True}
    asked = {
        "instructions": "Be brief.",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "text": {"format": {"type": "json_object"}},
        "tool_choice": "required",
        "tools": [tool],
        "top_p": 0.9,
        "user": "u",
    }
    told = whole(answer(**asked, reasoning={"effort": "low"}, store=True), {"content": "Hello"})
    assert told.items() >= asked.items()
    assert told["reasoning"] == {"effort": "low", "summary": None}
    assert told["store"] is False


def test_what_was_not_requested_has_its_default() -> None:
    told = whole(answer(), {"content": "Hello"})
    assert told.items() >= {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "metadata": {}}.items()
    assert told["text"] == {"format": {"type": "text"}}
    assert told["previous_response_id"] is told["error"] is told["incomplete_details"] is None
    assert (told["object"], told["id"], told["created_at"]) == ("response", "resp_abc", 1_700_000_000)


def test_usage_by_its_names_here() -> None:
    assert whole(answer(), {"content": "Hello"})["usage"] == {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 16,
        "cost": 0.25,
    }


def test_usage_may_come_in_a_chunk_of_its_own() -> None:
    own = {"id": "x", "model": "m", "choices": [], "usage": USAGE}
    found = stream(answer(), chunk({"content": "Hello"}), chunk({}, "stop"), own)
    assert found[-1]["response"]["usage"]["input_tokens"] == 9


# --- any stream

texts = st.text(min_size=1, max_size=12)


@st.composite
def messages(draw: st.DrawFn) -> Json:
    """A whole message: thoughts, text, a refusal, calls, each of them or not."""
    message = {field: draw(texts) for field in FIELDS if draw(st.booleans())}
    arguments = draw(st.lists(st.text(max_size=12), max_size=3))
    functions = [{"name": f"f{index}", "arguments": text} for index, text in enumerate(arguments)]
    return message | {
        "tool_calls": [{"id": f"call_{i}", "type": "function", "function": f} for i, f in enumerate(functions)]
    }


@st.composite
def cuts(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)) | {0, len(text)})
    return [text[start:stop] for start, stop in pairwise(places)]


@st.composite
def streams(draw: st.DrawFn, message: Json) -> list[Json]:
    """The same as chunks, cut anywhere; some say nothing, and pieces of different calls may mix."""
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    for field in FIELDS:
        deltas += [{field: piece} for piece in draw(cuts(message.get(field, "")))]
    calls = [one["function"] for one in message["tool_calls"]]
    deltas += [call(index, "", function["name"]) for index, function in enumerate(calls)]
    queues = [[call(i, piece) for piece in draw(cuts(one["arguments"]))] for i, one in enumerate(calls)]
    while queues := [queue for queue in queues if queue]:
        deltas.append(draw(st.sampled_from(queues)).pop(0))
    finish = draw(st.sampled_from(["stop", "tool_calls", "length", "content_filter"]))
    return [*map(chunk, deltas), end(finish)]


def numbered(found: list[Json]) -> bool:
    return [event["sequence_number"] for event in found] == list(range(len(found)))


def replayed(found: list[Json]) -> list[Json]:
    """The output as a client builds it from the events, each of which must fit what came before."""
    items: list[Json] = []
    said: dict[int, str] = {}
    open_items: set[int] = set()
    for event in found:
        kind, index = event["type"].removeprefix("response."), event.get("output_index", -1)
        if kind == "output_item.added":
            assert index == len(items)
            items.append(event["item"])
            said[index] = ""
            open_items.add(index)
        elif kind.endswith(".delta"):
            assert index in open_items
            said[index] += event["delta"]
        elif kind.endswith(("_text.done", "arguments.done", "refusal.done")):
            assert said[index] == event.get("text", event.get("arguments", event.get("refusal")))
        elif kind == "custom_tool_call_input.done":
            assert said[index] == event["input"]
        elif kind == "output_item.done":
            open_items.remove(index)
            assert event["item"]["id"] == items[index]["id"]
            items[index] = event["item"]
        if "item_id" in event:
            assert event["item_id"] == items[index]["id"]
    assert not open_items
    assert names(found).count("content_part.added") == names(found).count("content_part.done")
    return items


INSIDE: Json = {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]}
TOOLS = read_tools({"tools": [{"type": "custom", "name": "f0"}, {"type": "function", "name": "f1"}, INSIDE]})


@given(st.data(), messages())
def test_a_stream_with_tools_of_every_kind_comes_to_the_whole(data: st.DataObject, message: Json) -> None:
    chunks = data.draw(streams(message))
    found = stream(ResponseAnswer({}, "abc", lambda: 1_700_000_000.9, TOOLS), *chunks)
    assert numbered(found)
    assert replayed(found) == found[-1]["response"]["output"]
    finish = chunks[-1]["choices"][0]["finish_reason"]
    assert found[-1]["response"] == whole(ResponseAnswer({}, "abc", lambda: 1_700_000_000.9, TOOLS), message, finish)


@given(st.data(), messages())
def test_a_stream_is_well_formed_and_comes_to_the_whole(data: st.DataObject, message: Json) -> None:
    chunks = data.draw(streams(message))
    found = stream(answer(), *chunks)
    last = found[-1]
    assert names(found)[:2] == ["created", "in_progress"]
    assert numbered(found)
    assert replayed(found) == last["response"]["output"]
    finish = chunks[-1]["choices"][0]["finish_reason"]
    assert last["response"] == whole(answer(), message, finish)
    assert last["type"] == f"response.{last['response']['status']}"


def through_a_sink(pieces: list[bytes]) -> bytes:
    kept = Kept()
    sink = TranslatedSink(kept, answer())
    sink.start(200, [(b"content-type", b"text/event-stream")])
    for piece in pieces:
        sink.write(piece)
    sink.end()
    assert kept.ended
    return kept.data


@given(st.data(), messages())
def test_any_reads_of_a_stream_give_the_same_events(data: st.DataObject, message: Json) -> None:
    sent = b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in data.draw(streams(message)))
    sent += b"data: [DONE]\n\n"
    places = sorted({0, len(sent), *data.draw(st.sets(st.integers(0, len(sent)), max_size=20))})
    pieces = [sent[start:stop] for start, stop in pairwise(places)]
    assert through_a_sink(pieces) == through_a_sink([sent])


def alternating(number: int) -> Json:
    return {"reasoning_content" if number % 2 else "content": "x"}


@pytest.mark.parametrize(
    "deltas",
    [
        lambda number: {"content": "x" * 500},
        lambda number: {"content": "x"},
        alternating,
        lambda number: call(0, "x" * 500, "f"),
        lambda number: call(number, "", "f"),
    ],
    ids=["long pieces", "short pieces", "items", "arguments", "calls"],
)
def test_a_response_that_is_kept_until_its_end_is_bounded(
    monkeypatch: pytest.MonkeyPatch, deltas: Callable[[int], Json]
) -> None:
    monkeypatch.setattr("gateway.surface.responses.encode.LARGEST_ANSWER", 10_000)
    sent = [b"data: " + orjson.dumps(chunk(deltas(number))) + b"\n\n" for number in range(1_000)]
    found = events(through_a_sink(sent))
    assert [one["type"] for one in found[-2:]] == ["error", "response.failed"]
    assert "more than 10000 bytes" in found[-2]["message"]
    assert len(found) < 400


def test_a_whole_answer_with_an_empty_error_is_none() -> None:
    """Some hosts send `error: null` with every answer."""
    kept = Kept()
    sink = TranslatedSink(kept, answer())
    sink.start(200, [(b"content-type", b"application/json")])
    sink.write(orjson.dumps({**completion({"content": "Hello"}), "error": None}))
    sink.end()
    assert orjson.loads(kept.data)["status"] == "completed"


def test_an_answer_without_a_count_used_nothing() -> None:
    choices = [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]
    told = ResponseAnswer({"input": "Hi"}, "x", lambda: 7.0).whole({"model": "m", "choices": choices})["usage"]
    assert told == {
        "input_tokens": 0,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 0,
    }
