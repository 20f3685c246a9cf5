"""Chat completions as Anthropic messages: whole, and as events however the stream is cut."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.surface.anthropic.encode import MessageAnswer
from gateway.surface.translated import TranslatedSink
from gateway.types import Failure, Request
from gateway.upstream.normaliser import Normaliser
from tests.api.kept import Kept
from tests.support.host import chunks, completion, usage
from tests.upstream.recordings import DONE, RECORDINGS, TOOLS, Recording, chunk, event

Json = dict[str, Any]
Said = list[tuple[str, Json]]
NAME = "msg_17-abc"
STOP: Json = {"stop_sequence": None, "stop_details": None, "container": None}
DIRECT: Json = {"caller": {"type": "direct"}}
BODY: Json = {"model": "deepseek-v3.2", "messages": [], "stop": ["END"]}


def answer() -> MessageAnswer:
    made = MessageAnswer()
    made.to(Request(id="gen-17-abc", body=BODY, model="m", policy="balanced", stream=True, prompt_tokens=9))
    return made


def told(parts: Sequence[bytes]) -> Said:
    """The events that come of a stream which comes in these parts."""
    kept = Kept()
    sink = TranslatedSink(kept, answer())
    sink.start(200, [(b"content-type", b"text/event-stream; charset=utf-8")])
    for part in parts:
        sink.write(part)
    sink.end()
    assert kept.ended
    return [_event(block) for block in kept.data.decode().split("\n\n")[:-1]]


def _event(block: str) -> tuple[str, Json]:
    first, second = block.split("\n")
    kind, data = first.removeprefix("event: "), json.loads(second.removeprefix("data: "))
    assert data.pop("type") == kind
    return kind, data


def without_pings(events: Said) -> Said:
    return [one for one in events if one[0] != "ping"]


def content(events: Said) -> list[Json]:
    """The blocks that a client puts together. Raises AssertionError for a stream that is not well-formed."""
    kinds = [kind for kind, _ in events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_start") == kinds.count("message_delta") == kinds.count("message_stop") == 1
    blocks: list[Json] = []
    is_open = False
    for kind, data in events[1:-2]:
        if kind == "content_block_start":
            assert not is_open
            assert data["index"] == len(blocks)
            blocks.append({**data["content_block"], "said": ""})
            is_open = True
        else:
            assert is_open
            assert data["index"] == len(blocks) - 1
            is_open = kind != "content_block_stop"
        if kind == "content_block_delta":
            _add(blocks[-1], data["delta"])
    assert not is_open
    assert all(block["said"] or block["type"] == "tool_use" for block in blocks)
    return blocks


def _add(block: Json, delta: Json) -> None:
    kind = delta.pop("type")
    if kind == "signature_delta":
        block |= delta
        return
    assert kind == {"thinking": "thinking_delta", "text": "text_delta", "tool_use": "input_json_delta"}[block["type"]]
    (said,) = delta.values()
    assert said
    block["said"] += said


def stop(events: Said) -> Json:
    return dict(events)["message_delta"]


def stream(*payloads: Json) -> list[bytes]:
    return [*map(event, payloads), DONE]


def call(index: int, arguments: str, name: str | None = None, identity: str | None = None) -> Json:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": identity} if identity else {})


def normalised(*payloads: Json) -> list[Json]:
    """What stands between a host's chunks and the answer."""
    normaliser = Normaliser(tools=True)
    found = [normaliser.chunk(json.dumps(payload).encode()) for payload in payloads]
    return [one for one in found if not isinstance(one, Failure)]


def calls(*pieces: Json) -> Json:
    return chunk({"tool_calls": list(pieces)})


# --- streamed


def as_client_sees(recording: Recording) -> bytes:
    """The proxy ends every good stream with [DONE] and a blank line, and passes nothing on that comes after it."""
    before, done, _ = recording.stream.rpartition(b"data: [DONE]")
    return (before if done else recording.stream).rstrip() + b"\n\n" + DONE


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda one: one.name)
@given(data=st.data())
def test_any_cut_of_a_stream_gives_the_same_events(recording: Recording, data: st.DataObject) -> None:
    whole = as_client_sees(recording)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=8)))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    events = without_pings(told(parts))
    assert events == without_pings(told([whole]))
    blocks = content(events)
    assert "".join(block["said"] for block in blocks if block["type"] == "text") == recording_text(recording)
    assert "".join(block["said"] for block in blocks if block["type"] == "thinking") == recording.thought
    wanted = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[recording.finish]
    assert stop(events)["delta"] == STOP | {"stop_reason": wanted}
    assert stop(events)["usage"]["output_tokens"] == recording.usage.completion


def recording_text(recording: Recording) -> str:
    return "Hi" if recording.choices > 1 else recording.text  # the first choice's: a message has one


TEXTS = st.sampled_from(["", " ", "\n\n", "Hi", " there"])
DELTAS = st.fixed_dictionaries(
    {}, optional={"content": TEXTS | st.none(), "reasoning_content": TEXTS, "calls": st.just(1)}
)


def numbered(deltas: list[Json]) -> list[Json]:
    """Each `calls` as the pieces of a call with an index of its own."""
    made = []
    for index, delta in enumerate(deltas):
        pieces = [call(index, "", "f", f"call_{index}"), call(index, '{"a":'), call(index, "1}")]
        made.append({**delta, "tool_calls": pieces} if delta.pop("calls", None) else delta)
    return made


@given(st.lists(DELTAS, max_size=12), st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
def test_every_stream_is_well_formed(deltas: list[Json], finish: str) -> None:
    blocks = content(told(stream(*map(chunk, numbered(deltas)), chunk({}, finish))))
    for block in blocks:
        if block["type"] == "tool_use":
            assert json.loads(block["said"]) == {"a": 1}
        if block["type"] == "thinking":
            assert block["signature"] == NAME
    said = "".join(delta.get("content") or "" for delta in deltas)
    heard = "".join(block["said"] for block in blocks if block["type"] == "text")
    assert "".join(heard.split()) == "".join(said.split()), "white space alone is no block"


def test_a_message_that_thinks_speaks_and_calls() -> None:
    used = usage(prompt=20, completion=8, cached=12, reasoning=3)
    events = told(
        stream(
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "Two "}),
            chunk({"reasoning_content": "cities."}),
            chunk({"content": "\n\n"}),
            chunk({"content": "Let me look."}),
            calls(call(0, "", "weather", "call_0"), call(0, '{"city":"Paris"}')),
            calls(call(1, '{"city":', "weather", "call_1")),
            calls(call(1, '"Rome"}')),
            chunk({}, "tool_calls"),
            chunk(None, usage={**used, "cost": 0.25}),
        )
    )
    start = dict(events)["message_start"]["message"]
    assert (start["id"], start["role"], start["content"], start["model"]) == (NAME, "assistant", [], "deepseek-v3.2")
    assert (start["usage"]["input_tokens"], start["stop_reason"]) == (9, None)
    assert content(events) == [
        {"type": "thinking", "thinking": "", "said": "Two cities.", "signature": NAME},
        {"type": "text", "text": "", "citations": None, "said": "\n\nLet me look."},
        {"type": "tool_use", "id": "call_0", "name": "weather", "input": {}, "said": '{"city":"Paris"}', **DIRECT},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}, "said": '{"city":"Rome"}', **DIRECT},
    ]
    assert stop(events) == {
        "delta": STOP | {"stop_reason": "tool_use"},
        "usage": {
            "input_tokens": 8,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 12,
            "output_tokens": 8,
            "output_tokens_details": {"thinking_tokens": 3},
            "server_tool_use": None,
            "cost": 0.25,
        },
    }


@pytest.mark.parametrize("indexes", [(0, 0), (0, 1), (3, 1), (None, None)])
def test_calls_are_separated_however_the_host_numbers_them(indexes: tuple[int | None, int | None]) -> None:
    first, second = (call(index, "{}", name, name) for index, name in zip(indexes, "fg", strict=True))
    found = normalised(calls(first), calls(second), chunk({}, "stop"))
    blocks = content(told(stream(*found)))
    assert [(block["id"], block["name"], block["said"]) for block in blocks] == [("f", "f", "{}"), ("g", "g", "{}")]


def test_a_call_of_a_host_that_gives_no_id_has_one() -> None:
    pieces = calls(call(0, "{", "f")), calls(call(0, "}")), chunk({}, "tool_calls")
    (block,) = content(told(stream(*normalised(*pieces))))
    assert (block["id"][:5], block["said"]) == ("call_", "{}")


def test_pieces_of_two_calls_in_turns_end_loudly() -> None:
    """A block that has ended cannot go on."""
    pieces = [call(0, "", "f", "a"), call(1, "", "g", "b"), call(0, "{}"), call(1, "{}")]
    assert told(stream(*normalised(*map(calls, pieces))))[-1][0] == "error"


def test_calls_that_end_with_stop_are_still_calls() -> None:
    assert stop(told(stream(calls(call(0, "{}", "f", "a")), chunk({}, "stop"))))["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize("key", ["stop_reason", "matched_stop"])
def test_a_stop_sequence_is_sent_where_the_host_sends_it(key: str) -> None:
    finish = chunk({}, "stop")
    finish["choices"][0][key] = "END"
    met = {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    assert stop(told(stream(chunk({"content": "Hi"}), finish)))["delta"] == STOP | met
    finish["choices"][0][key] = 128_001  # the end-of-text token
    assert stop(told(stream(chunk({"content": "Hi"}), finish)))["delta"]["stop_reason"] == "end_turn"


def test_comments_are_pings_and_start_the_message() -> None:
    kinds = [kind for kind, _ in told([b": keep-alive\n\n"])]
    assert kinds == ["message_start", "ping"]


def test_an_error_in_the_stream_ends_it_loudly() -> None:
    broken = {
        **chunk({"content": ""}, "error"),
        "error": {"message": "a: it broke", "type": "upstream_error", "code": "cut", "status": 502},
    }
    events = told([event(chunk({"content": "Hi"})), event(broken)])
    assert [kind for kind, _ in events] == ["message_start", "content_block_start", "content_block_delta", "error"]
    assert events[-1][1] == {"error": {"type": "api_error", "message": "a: it broke"}, "request_id": "gen-17-abc"}


@pytest.mark.parametrize(
    "garbage",
    [
        b"data: {no json\n\n",
        b"data: []\n\n",
        b'data: {"choices":7}\n\n',
        b'data: {"choices":[{"delta":"Hi"}]}\n\n',
        event(chunk({"tool_calls": 7})),
        event(chunk({"tool_calls": ["f"]})),
        event(calls({"index": 0, "function": {"name": "f", "arguments": {"a": 1}}})),
        event(calls(call(0, '{"late":1}'))),
    ],
)
def test_what_cannot_be_read_is_an_error_and_nothing_follows(garbage: bytes) -> None:
    events = told([event(chunk({"content": "Hi"})), garbage, event(chunk({"content": "more"})), DONE])
    assert [kind for kind, _ in events] == ["message_start", "content_block_start", "content_block_delta", "error"]
    assert events[-1][1]["error"]["type"] == "api_error"


# --- whole


def whole(payload: Json) -> tuple[int, Json]:
    kept = Kept()
    sink = TranslatedSink(kept, answer())
    sink.start(200, [(b"content-type", b"application/json"), (b"content-length", b"7")])
    sink.write(json.dumps(payload).encode())
    sink.end()
    return kept.status, json.loads(kept.data)


def test_a_whole_message() -> None:
    payload = completion("Hi there", reasoning="So", used={**usage(prompt=20, cached=12), "cost": 0.5})
    status, message = whole(payload)
    assert status == 200
    assert message.pop("usage") == {
        "input_tokens": 8,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 12,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 0},
        "server_tool_use": None,
        "cache_creation": None,
        "inference_geo": None,
        "service_tier": "standard",
        "cost": 0.5,
    }
    assert message == {
        "id": NAME,
        "type": "message",
        "role": "assistant",
        "model": "deepseek-v3.2",
        "content": [
            {"type": "thinking", "thinking": "So", "signature": NAME},
            {"type": "text", "text": "Hi there", "citations": None},
        ],
        "stop_reason": "end_turn",
        **STOP,
    }


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ('{"city":"Paris"}', {"city": "Paris"}),
        ("", {}),
        (None, {}),
        ('{"city":', {"unparsed_arguments": '{"city":'}),
        ("[1]", {"unparsed_arguments": "[1]"}),
    ],
)
def test_whole_calls(arguments: str | None, wanted: Json) -> None:
    payload = completion("\n", finish="tool_calls")
    function = {"name": "weather", "arguments": arguments}
    payload["choices"][0]["message"]["tool_calls"] = [{"id": "call_0", "type": "function", "function": function}]
    _, message = whole(payload)
    called = {"type": "tool_use", "id": "call_0", "name": "weather", "input": wanted}
    assert message["content"] == [called | DIRECT]
    assert message["stop_reason"] == "tool_use"


@pytest.mark.parametrize("recording", [one for one in RECORDINGS if one is not TOOLS], ids=lambda one: one.name)
def test_whole_and_streamed_say_the_same(recording: Recording) -> None:
    text = recording_text(recording)
    events = told([as_client_sees(recording)])
    _, message = whole(completion(text, reasoning=recording.thought, finish=recording.finish))
    blocks = content(without_pings(events))
    assert [block["said"] for block in blocks] == [one.get("text") or one["thinking"] for one in message["content"]]
    assert message["stop_reason"] == stop(events)["delta"]["stop_reason"]


def test_a_whole_answer_that_cannot_be_read_is_an_error() -> None:
    payload = completion("Hi")
    payload["choices"][0]["message"]["tool_calls"] = [{"id": "call_0"}]
    status, told = whole(payload)
    assert (status, told["type"], told["error"]["type"]) == (502, "error", "api_error")


def test_the_words_that_agents_shorten_their_conversation_at() -> None:
    error = {"message": "too long by 9 tokens", "type": "invalid_request_error", "code": "context_length_exceeded"}
    assert answer().error(400, {"error": error}) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "prompt is too long: too long by 9 tokens"},
        "request_id": "gen-17-abc",
    }


FIGURES: Json = {"prompt_tokens": 8_000, "max_tokens": 2_000, "largest_context": 9_000}


def test_an_answer_that_would_not_fit_behind_the_prompt_may_be_shorter() -> None:
    said = {"message": "no", "code": "context_length_exceeded", "param": "max_tokens", "metadata": FIGURES}
    words = (
        "input length and `max_tokens` exceed context limit: 8000 + 2000 > 9000, decrease input length or `max_tokens`"
    )
    assert answer().error(400, {"error": said})["error"]["message"] == f"{words} and try again"
    streamed = {**chunk({"content": ""}, "error"), "error": {**said, "status": 400}}
    assert told([event(streamed)])[-1][1]["error"]["message"] == f"{words} and try again"


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (FIGURES | {"prompt_tokens": 9_100}, "prompt is too long: 9100 tokens > 9000 maximum; no"),
        (FIGURES | {"prompt_tokens": 9_100, "max_tokens": None}, "prompt is too long: 9100 tokens > 9000 maximum; no"),
        (None, "prompt is too long: no"),
        ({"attempts": []}, "prompt is too long: no"),
    ],
)
def test_a_prompt_that_does_not_fit_is_too_long_whatever_the_answer(figures: Json | None, words: str) -> None:
    said = {"message": "no", "code": "context_length_exceeded", "param": "messages", "metadata": figures}
    assert answer().error(400, {"error": said})["error"]["message"] == words


def test_chunks_of_the_scripted_host_are_a_message() -> None:
    blocks = content(told(stream(*chunks("Hello you", reasoning="So it is"))))
    assert [(block["type"], block["said"]) for block in blocks] == [("thinking", "Soitis"), ("text", "Hello you")]
