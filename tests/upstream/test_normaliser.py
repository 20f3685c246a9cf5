"""Whatever a host sends, clients of every kind of answer get the same one, and nothing malformed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.document.assembly import Assembly
from gateway.repair.call_fragments import MOST_CALLS
from gateway.repair.lenient_json import loads
from gateway.repair.tool_call_check import ToolCallCheck
from gateway.repair.tool_call_repair import mender
from gateway.types import Failure, Usage
from gateway.upstream import sse
from gateway.upstream.assembling import AssemblingReader
from gateway.upstream.normaliser import MOST_CHOICES, Normaliser
from gateway.upstream.stream import StreamReader
from gateway.upstream.whole_reader import WholeReader
from tests.upstream.listener import Listener, cut, feed
from tests.upstream.recordings import COMMENT, COUNTED, DONE, OPENAI, USED, chunk, event

Json = dict[str, Any]
TOOLS = [{"type": "function", "function": {"name": name}} for name in "fg"]
STOP = event(chunk({}, "stop"))
COUNT = event(chunk(None, usage=USED))
HI, THERE = OPENAI.body
splits = st.lists(st.integers(0, 10_000), max_size=30)


def message_of(completion: Json) -> tuple[str, str, list[tuple[str, str]]]:
    """Content, reasoning and calls of the first choice."""
    said = completion["choices"][0]["message"]
    calls = [(one["function"]["name"], one["function"]["arguments"]) for one in said.get("tool_calls") or ()]
    assert all(isinstance(one["id"], str) and one["id"] for one in said.get("tool_calls") or ())
    thought = said.get("reasoning_content") or said.get("reasoning") or ""
    return said["content"] or "", thought, calls


def put_together(block: bytes) -> Json:
    """The completion that a strict client makes of a stream; each event is well formed."""
    assembly = Assembly()
    for one in block.split(b"\n\n")[:-1]:
        if one.startswith(b":") or one == b"data: [DONE]":
            continue
        assert one.startswith(b"data: {")
        assert len(one.splitlines()) == 1
        payload = json.loads(one[6:], parse_constant=pytest.fail)
        one[6:].decode()
        assert payload["object"] == "chat.completion.chunk"
        assert payload["choices"], "no chunk without choices but for usage that was asked for"
        for choice in payload["choices"]:
            assert type(choice["index"]) is int
            assert isinstance(choice["delta"], dict)
            for name in ("content", "reasoning_content", "reasoning", "refusal"):
                assert isinstance(choice["delta"].get(name), str | None)
            assert choice["finish_reason"] in (None, "stop", "length", "tool_calls", "content_filter")
        assembly.take(payload)
    return assembly.completion()


def streamed(pieces: list[bytes], rewrite: bool = False, choices: int = 1) -> tuple[Listener, StreamReader]:
    listener = Listener()
    tools, calls = mender({"tools": TOOLS}), ToolCallCheck()
    reader = StreamReader(listener, 0.0, rewrite=rewrite, choices=choices, mender=tools, calls=calls)
    return feed(reader, listener, pieces), reader


def all_readers(stream: bytes) -> list[tuple[Json, Usage]]:
    """The answer as clients of each kind get it."""
    found = []
    for rewrite in (False, True):
        listener, reader = streamed([stream], rewrite)
        assert listener.failure is None
        block = listener.text + reader.tail({"total_tokens": 1}, include_usage=False)
        assert b'"usage"' not in listener.text
        found.append((put_together(block), reader.usage))
    tools = mender({"tools": TOOLS})
    for whole in (AssemblingReader(Listener(), 0.0, mender=tools), WholeReader(Listener(), 0.0, mender=tools)):
        listener = Listener()
        whole._listener = listener
        feed(whole, listener, [stream])
        assert listener.failure is None
        found.append((whole.completion, whole.usage))
    return found


def delta(said: Any, finish: str | None = None, **more: Any) -> bytes:
    """An event, in JSON that need not be quite JSON."""
    return event({**chunk({}), **more, "choices": [{"index": 0, "delta": said, "finish_reason": finish}]})


def call(**more: Any) -> Json:
    return {"tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}, **more}]}


TEXT = ("Hi there", "", list[tuple[str, str]]())
ODD: dict[str, tuple[bytes, tuple[str, str, list[tuple[str, str]]]]] = {
    "content in parts": (
        delta({"content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]}),
        TEXT,
    ),
    "content as a list of texts": (delta({"content": ["Hi ", "there"]}), TEXT),
    "content as one part": (delta({"content": {"type": "text", "text": "Hi there"}}), TEXT),
    "content as an object": (delta({"content": {"a": 1}}), ('{"a":1}', "", [])),
    "content as a number": (delta({"content": 5}), ("5", "", [])),
    "thoughts as parts": (
        delta({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, "Hi there"]}),
        ("Hi there", "Hm", []),
    ),
    "reasoning in parts": (
        delta({"reasoning_content": [{"text": "Hm"}], "content": "Hi there"}),
        ("Hi there", "Hm", []),
    ),
    "a byte order mark": (b"\xef\xbb\xbf" + HI + THERE, TEXT),
    "a byte order mark in an event": (HI + THERE.replace(b"data: ", b"data: \xef\xbb\xbf"), TEXT),
    "heartbeats": (b'data: {}\n\ndata: {"type":"ping"}\n\n' + HI + b'data: {"ping":1,"created":2}\n\n' + THERE, TEXT),
    "heartbeats in words": (HI + b"data: ping\n\ndata: keep-alive\n\ndata: : processing\n\n" + THERE, TEXT),
    "empty data": (b"data:\n\n" + HI + b"data: \n\ndata\n\n" + THERE, TEXT),
    "empty choices": (event(chunk(None)) + HI + event({**chunk(None), "choices": None}) + THERE, TEXT),
    "delta null": (delta(None) + HI + delta(None) + THERE + delta(None), TEXT),
    "a delta that is empty": (delta("") + HI + delta([]) + THERE, TEXT),
    "no delta": (HI + event({**chunk({}), "choices": [{"index": 0}]}) + THERE, TEXT),
    "message for delta": (
        b"".join(
            event({**chunk({}), "choices": [{"index": 0, "message": {"content": one}}]}) for one in ("Hi", " there")
        ),
        TEXT,
    ),
    "all again in a message": (
        HI + THERE + event({**chunk({}), "choices": [{"index": 0, "delta": {}, "message": {"content": "Hi there"}}]}),
        TEXT,
    ),
    "text of a text completion": (
        event({"choices": [{"text": "Hi "}]}) + event({"choices": [{"text": "there"}]}),
        TEXT,
    ),
    "no index": (event({"choices": [{"delta": {"content": "Hi there"}}]}), TEXT),
    "an index as text": (event({"choices": [{"index": "0", "delta": {"content": "Hi there"}}]}), TEXT),
    "finish_reason as null in words": (delta({"content": "Hi "}, "null") + delta({"content": "there"}, ""), TEXT),
    "odd names": (delta({"content": "Hi there"}, id=7, model=None, created=1.5), TEXT),
    "an odd role": (delta({"role": 5, "content": "Hi there", "reasoning_details": "x"}), TEXT),
    "usage in each chunk": (delta({"content": "Hi "}, usage=USED) + delta({"content": "there"}, usage=USED), TEXT),
    "a lone half": (delta({"content": "Hi \ud83d"}) + delta({"content": "there"}), ("Hi \ufffdthere", "", [])),
    "halves of a character": (
        delta({"content": "Hi \ud83d"}) + delta({"content": "\ude00"}),
        ("Hi \U0001f600", "", []),
    ),
    "halves around a sign of life": (
        delta({"content": "Hi \ud83d"}) + COMMENT + delta({}) + delta({"content": "\ude00"}),
        ("Hi \U0001f600", "", []),
    ),
    "half a character at the end": (delta({"content": "Hi \ud83d"}), ("Hi \ufffd", "", [])),
    "bytes of a character": (HI.replace(b"Hi", b"\xe2\x82") + HI.replace(b"Hi", b"\xac"), ("\u20ac", "", [])),
    "names that are no text": (
        HI.replace(b'"id"', b'"\x80"') + THERE.replace(b'"index"', b'"\\udc00":1,"index"'),
        TEXT,
    ),
    "times that are too large": (
        HI.replace(b'"created":1', b'"created":18446744073709551616')
        + THERE.replace(b'"created":1', b'"created":1e400'),
        TEXT,
    ),
    "NaN": (HI + THERE.replace(b'"created":1', b'"created":1,"x":NaN'), TEXT),
    "a logprob of -Infinity": (
        HI + THERE.replace(b'"index":0', b'"index":0,"logprobs":{"content":[{"token":"a","logprob":-Infinity}]}'),
        TEXT,
    ),
    "a raw line break": (
        HI + b'data: {"choices":[{"index":0,"delta":{"content":"\r\n\r\n"}}]}\n\n'.replace(b"\r\n\r\n", b"\\n\t"),
        ("Hi\n\t", "", []),
    ),
    "commas before brackets": (HI.replace(b"]}", b",],}") + THERE, TEXT),
    "lines that end in CR": ((HI + THERE).replace(b"\n", b"\r"), TEXT),
    "data in lines": (HI.replace(b'"choices"', b'\ndata: "choices"') + THERE, TEXT),
    "no blank line between": (HI.replace(b"\n\n", b"\n") + THERE, TEXT),
    "event, id and retry": (b"event: message\nid: 1\nretry: 5\n" + HI + b": x\n" + THERE, TEXT),
    "no space": ((HI + THERE).replace(b"data: ", b"data:"), TEXT),
    "a call without index": (delta(call()), ("", "", [("f", "{}")])),
    "a call without id": (delta({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}), ("", "", [("f", "")])),
    "arguments as an object": (
        delta({"tool_calls": [{"function": {"name": "f", "arguments": {"a": "\ud83d\ude00"}}}]}),
        ("", "", [("f", '{"a":"\U0001f600"}')]),
    ),
    "one call, not in a list": (delta({"tool_calls": call()["tool_calls"][0]}), ("", "", [("f", "{}")])),
    "a legacy call": (
        delta({"function_call": {"name": "f", "arguments": '{"a'}}) + delta({"function_call": {"arguments": '":1}'}}),
        ("", "", [("f", '{"a":1}')]),
    ),
    "tool_calls that are none": (delta({"content": "Hi there", "tool_calls": "x", "function_call": None}), TEXT),
}


@pytest.mark.parametrize("name", ODD)
def test_every_client_gets_the_same_answer(name: str) -> None:
    events, said = ODD[name]
    for completion, usage in all_readers(events + STOP + COUNT + DONE):
        assert message_of(completion) == said
        assert completion["choices"][0]["finish_reason"] == "stop"
        assert usage == COUNTED


@given(st.sampled_from([*ODD]), splits, st.booleans())
def test_any_split_gives_the_same_answer(name: str, places: list[int], rewrite: bool) -> None:
    events, said = ODD[name]
    listener, reader = streamed(cut(events + STOP + COUNT + DONE, places), rewrite)
    assert listener.failure is None
    assert message_of(put_together(listener.text + reader.tail({}, include_usage=False))) == said


@given(st.lists(st.sampled_from([*ODD]), min_size=1, max_size=4), splits)
def test_relayed_and_rewritten_streams_say_the_same(names: list[str], places: list[int]) -> None:
    stream = HI + b"".join(ODD[name][0].removeprefix(b"\xef\xbb\xbf") for name in names) + THERE + STOP + DONE
    told = []
    for rewrite in (False, True):
        listener, reader = streamed(cut(stream, places), rewrite)
        failed = listener.failure is not None
        told.append((failed, not failed and put_together(listener.text + reader.tail({}, include_usage=False))))
    for _, completion in told:
        for one in completion["choices"][0]["message"].pop("tool_calls", ()) if completion else ():
            assert one["id"]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "order",
    [
        (HI, THERE, STOP, COUNT),
        (HI, THERE, COUNT, STOP),
        (HI, THERE, event(chunk({}, "stop", usage=USED))),
        (HI, delta({"content": " there"}, usage=USED), STOP),
        (delta({"content": "Hi"}, usage={"prompt_tokens": 12, "completion_tokens": 1}), THERE, COUNT, STOP, COUNT),
        (HI, THERE, COUNT, STOP, event(chunk(None, usage=None))),
        (HI, THERE, event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USED}]})),
        (HI, THERE, STOP, event({**chunk(None), "x_groq": {"usage": USED}})),
    ],
)
def test_the_last_usage_counts_wherever_it_comes(order: tuple[bytes, ...]) -> None:
    for end in (DONE, b""):
        for _, usage in all_readers(b"".join((*order, end))):
            assert usage == COUNTED


def test_what_comes_after_a_running_count_is_added_to_it() -> None:
    first = delta({"content": "Hi"}, usage={"prompt_tokens": 12, "completion_tokens": 1})
    for _, usage in all_readers(first + THERE + THERE + STOP + DONE):
        assert usage == Usage(12, 0, 3, 0, source="host")


def test_a_chunk_that_only_counts_is_relayed_at_the_end_and_on_request_only() -> None:
    listener, reader = streamed([HI, COUNT, THERE, STOP, COUNT, DONE])
    assert len(list(sse.payloads(listener.text))) == 2
    finish, counted = sse.payloads(reader.tail({"cost": 1}, include_usage=True))
    assert ("usage" in finish, counted["choices"], counted["usage"]) == (False, [], {"cost": 1})


def test_signs_of_life_are_no_progress() -> None:
    class Counting(Listener):
        progress = 0

        def on_chunk(self, data: bytes) -> None:
            self.progress += 1
            super().on_chunk(data)

        def on_comment(self, data: bytes) -> None:
            super().on_chunk(data)

    signs = [delta({}), delta({"content": ""}), delta({"content": None}), delta(None), COMMENT, b"data: {}\n\n", COUNT]
    for rewrite in (False, True):
        listener = Counting()
        reader = StreamReader(listener, 0.0, rewrite=rewrite)
        feed(reader, listener, [HI, *signs, *(sign * 3 for sign in signs), THERE, STOP, DONE])
        assert listener.progress == 2
        assert reader.deltas == 2
        assert listener.first_after == 1


MALFORMED = [
    b'data: {"id": "x", "choices": [{"delta": {"content": \n\n',
    b"data: {\n\n",
    b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]\n\n',
    b'data: "text"\n\n',
    b'data: {"choices": [{"index": 0, "delta": "text"}]}\n\n',
    b'data: {"choices": [{"index": -1, "delta": {}}]}\n\n',
    b'data: {"choices": "text"}\n\n',
    b'{"choices": []}\n\ndata: {"cho\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}, '
    b'"finish_reason": "stop"}]}\n\n',
]


@pytest.mark.parametrize("rewrite", [False, True])
@pytest.mark.parametrize("broken", MALFORMED[:7] + MALFORMED[8:])
@given(places=splits)
def test_a_malformed_event_is_a_failure_wherever_reads_end(broken: bytes, places: list[int], rewrite: bool) -> None:
    before, _ = streamed(cut(broken + HI + THERE + STOP + DONE, places), rewrite)
    assert (before.fault, before.first_after, before.text) == ("garbage", None, b"")
    after, _ = streamed(cut(HI * 3 + broken + THERE + STOP + DONE, places), rewrite)
    assert after.fault == "garbage"
    assert message_of(put_together(after.text)) == ("HiHiHi", "", [])


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "message": "overloaded"},
        {"detail": "overloaded"},
        {"msg": "overloaded", "code": 500},
        {"errors": ["overloaded"], "message": "overloaded"},
    ],
)
def test_an_error_that_is_not_called_error_is_one(error: Json) -> None:
    listener, _ = streamed([HI, b"event: error\n" + event(error)])
    assert listener.failure is not None
    assert (listener.fault, listener.failure.message) == ("in_band", "overloaded")


FIELDS = [
    *("content", "role", "tool_calls", "function_call", "reasoning_content", "refusal", "text", "type"),
    *("id", "index", "name", "arguments", "function", "logprobs", "delta", "message", "finish_reason", "usage"),
]
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(st.lists(odd, max_size=4), odd, splits, st.booleans())
def test_nothing_malformed_leaves(deltas: list[Any], other: Any, places: list[int], rewrite: bool) -> None:
    """Deltas, choices, chunks and messages of any shape."""
    payloads: list[Any] = [{**chunk({}), "choices": [{"index": 0, "delta": one}]} for one in deltas]
    payloads += [{**chunk({}), "choices": [one]} for one in deltas]
    payloads += [{**chunk({}), "id": other, "model": other, "created": other, "usage": other}, {"choices": other}]
    for payload in payloads:
        sent = [HI, event(payload), THERE, STOP, DONE]
        listener, reader = streamed(cut(b"".join(sent), places), rewrite)
        put_together(listener.text if listener.failure else listener.text + reader.tail({}, include_usage=False))
        for whole in (AssemblingReader(Listener(), 0.0), WholeReader(Listener(), 0.0)):
            listener = Listener()
            whole._listener = listener
            feed(whole, listener, sent)
            assert bool(whole.completion) == (listener.failure is None)


@given(odd, odd)
def test_whole_answers_are_messages_or_failures(message: Any, other: Any) -> None:
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    for payload in ({"choices": [choice]}, {"choices": [other, choice]}, {"choices": other}, other):
        whole = Normaliser(tools=True).whole(json.dumps(payload).encode())
        if not isinstance(whole, dict):
            continue
        json.dumps(whole).encode()
        assert whole["object"] == "chat.completion"
        for one in whole["choices"]:
            said = one["message"]
            assert isinstance(said["content"], str | None)
            assert isinstance(said["role"], str)
            for call in said.get("tool_calls", ()):
                assert isinstance(call["id"], str)
                assert isinstance(call["function"]["arguments"], str)


PLAIN: Json = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None, "reasoning_content": "Hm"},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": USED,
}
PLACES = ("", "choices", "message")


def changed(place: str, name: str, value: Any, keep: bool) -> Json:
    """A plain answer with one more or one other field, or one less."""
    answer = json.loads(json.dumps(PLAIN))
    choice = answer["choices"][0]
    held = {"": answer, "choices": choice, "message": choice["message"]}[place]
    held.pop(name, None)
    return answer if not keep else (held.update({name: value}) or answer)


@given(st.sampled_from(PLACES), st.sampled_from([*FIELDS, *PLAIN, "role", "error", "x_groq"]), odd, st.booleans())
def test_an_answer_that_needs_no_change_is_read_like_any_other(place: str, name: str, value: Any, keep: bool) -> None:
    """The short way is taken where the long one would change nothing."""
    data = json.dumps(changed(place, name, value, keep)).encode()
    read = Normaliser(tools=True)
    long_way = read._read(*loads(data), "message", "the host's answer", "a completion's")
    assert Normaliser(tools=True).whole(data) == long_way


def test_a_plain_answer_takes_the_short_way() -> None:
    normaliser = Normaliser()
    assert normaliser.whole(json.dumps(PLAIN).encode()) == PLAIN
    assert "0 choices" in repr(normaliser)


@pytest.mark.parametrize("before", [b"", b"\n \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
@given(places=splits)
def test_either_wire_format_is_read_whichever_was_requested(before: bytes, places: list[int]) -> None:
    whole = {"choices": [{"message": {"content": [{"type": "text", "text": "Hi there"}]}, "finish_reason": "STOP"}]}
    for data in (json.dumps(whole, indent=1).encode(), HI + THERE + STOP + DONE, b": x\n\n" + HI + THERE + STOP):
        pieces = cut(before + data, places)
        listener, reader = streamed(pieces)
        assert listener.failure is None
        assert message_of(put_together(listener.text + reader.tail({}, include_usage=False))) == TEXT
        single = WholeReader(Listener(), 0.0)
        single._listener = listener = Listener()
        feed(single, listener, pieces)
        assert (listener.failure, listener.first_after) == (None, None)
        assert message_of(single.completion) == TEXT


def normalised(**payload: Any) -> Any:
    """A chunk of one choice, by the long way."""
    return Normaliser().chunk(json.dumps({"choices": [{"delta": {"content": "Hi"}}], "x": {}, **payload}).encode())


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"id": 7, "model": 5, "created": 1.5}, {"id": "7", "model": "5", "created": 1}),
        ({"id": [], "model": None, "created": "now"}, {"created": 0}),
        ({"id": True, "model": 1.5, "created": None}, {"created": 0}),
        ({"id": "x", "model": "m", "created": 3}, {"id": "x", "model": "m", "created": 3}),
        ({}, {}),
    ],
)
def test_names_are_text_and_a_time_is_an_integer(given: Json, read: Json) -> None:
    found = normalised(**given)
    assert {name: found[name] for name in ("id", "model", "created") if name in found} == read


@pytest.mark.parametrize(
    ("index", "read"), [(0, 0), (3, 3), ("2", 2), (None, 0), (-1, None), (True, None), ("²", None), ("1" * 10, None)]
)
def test_an_index_is_a_number_or_the_place(index: Any, read: int | None) -> None:
    found = normalised(choices=[{"index": index, "delta": {"content": "Hi"}}])
    assert (None if isinstance(found, Failure) else found["choices"][0]["index"]) == read


def test_choices_without_an_index_are_numbered() -> None:
    found = normalised(choices=[{"delta": {"content": text}} for text in ("a", "b")])
    assert [one["index"] for one in found["choices"]] == [0, 1]


@pytest.mark.parametrize(
    "payload",
    [
        {"usage": USED},
        {"choices": [{"delta": {"content": "Hi"}, "usage": USED}]},
        {"usage": None, "x_groq": {"usage": USED}},
        {"usage": USED, "choices": [{"delta": {"content": "Hi"}, "usage": {"prompt_tokens": 99}}]},
        {"x_groq": {"usage": {}}, "choices": [{"delta": {"content": "Hi"}, "usage": USED}]},
    ],
)
def test_usage_is_in_one_place(payload: Json) -> None:
    found = normalised(**payload)
    assert found["usage"] == USED
    assert "usage" not in found["choices"][0]


def test_parts_of_content_go_where_they_belong() -> None:
    parts = [
        {"type": "thinking", "thinking": "Hm"},
        {"type": "reasoning", "text": "m."},
        {"type": "text", "text": "Hi "},
        "there",
        {"type": "refusal", "refusal": "No"},
        {"type": "odd", "content": "!"},
        5,
    ]
    found = normalised(choices=[{"delta": {"content": parts, "reasoning_content": "So. "}}])
    delta = {"content": "Hi there!5", "reasoning_content": "So. Hmm.", "refusal": "No"}
    assert found["choices"][0]["delta"] == delta


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"role": 5, "content": "Hi"}, {"content": "Hi"}),
        ({"role": None, "content": "Hi"}, {"role": None, "content": "Hi"}),
        ({"content": "Hi", "reasoning_details": [5]}, {"content": "Hi"}),
        ({"content": "Hi", "reasoning_details": [{"a": 1}]}, {"content": "Hi", "reasoning_details": [{"a": 1}]}),
        ({"content": "Hi", "reasoning_details": []}, {"content": "Hi", "reasoning_details": []}),
        ({"content": {"a": 1}}, {"content": '{"a":1}'}),
        ({"content": {"text": "Hi"}}, {"content": "Hi"}),
        ({"content": 5, "reasoning": {"content": ["H", "m"]}}, {"content": "5", "reasoning": "Hm"}),
    ],
)
def test_fields_of_a_delta_are_texts(given: Json, read: Json) -> None:
    assert normalised(choices=[{"delta": given}])["choices"][0]["delta"] == read


def test_too_many_choices_are_a_failure() -> None:
    normaliser = Normaliser()

    def read(index: int) -> Any:
        return normaliser.chunk(json.dumps(chunk({"content": "Hi"}) | {"choices": [{"index": index}]}).encode())

    assert not any(isinstance(read(index), Failure) for index in range(MOST_CHOICES))
    assert isinstance(found := read(MOST_CHOICES), Failure)
    assert (found.fault, found.message) == ("garbage", "an event of the host's stream has too many choices")
    assert not isinstance(read(0), Failure)


def test_a_legacy_call_stays_where_no_tools_were_offered() -> None:
    legacy = {"choices": [{"message": {"function_call": {"name": "f", "arguments": "{}"}}, "finish_reason": "stop"}]}
    whole = Normaliser().whole(json.dumps(legacy).encode())
    assert isinstance(whole, dict)
    assert whole["choices"][0]["message"]["function_call"] == {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize("rewrite", [False, True])
@pytest.mark.parametrize(
    "of",
    [
        lambda number: event(chunk(call(index=number, id=f"c{number}"))),
        lambda number: event(chunk(call(id=f"c{number}"))),
        lambda number: event({"choices": [{"index": number, "delta": {"content": "Hi"}, "finish_reason": None}]}),
        lambda number: event({"choices": [{"index": number, "delta": {}, "finish_reason": "stop"}]}),
    ],
    ids=["calls", "calls without an index", "choices", "ends of choices"],
)
def test_a_stream_that_always_begins_something_new_fails(of: Callable[[int], bytes], rewrite: bool) -> None:
    """Its state would grow until the last timeout."""
    listener, _ = streamed([HI, *map(of, range(MOST_CALLS + 1))], rewrite, choices=2_000)
    assert listener.fault == "garbage"
    assert "too many" in str(listener.failure)


def test_a_plain_chunk_that_nests_deeper_than_can_be_written_is_a_failure() -> None:
    for more in ({"x": "%"}, {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None, "x": "%"}]}):
        for depth, sound in ((100, True), (300, False)):
            deep = event(chunk({"content": "Hi"}, **more)).replace(b'"%"', b"[" * depth + b"]" * depth)
            listener, _ = streamed([HI, deep, STOP, DONE], rewrite=True)
            assert (listener.failure is None) == sound
            assert listener.failure is None or listener.fault == "garbage"


def piece(index: Any, arguments: Any, **more: Any) -> Json:
    """A host's piece of a tool call; `name` goes to its function."""
    named = {"name": more.pop("name")} if "name" in more else {}
    return {"index": index, "function": {**named, "arguments": arguments}, **more}


BEGUN = [piece(0, "", id="c1", name="f"), piece(1, '{"a"', id="c2", name="g"), piece(2, '"', id="c3", name="f")]
arguments_of = st.sampled_from(
    ["{", '{"a": "', 'x"}', "\\", '\\"', "\n", "\ud83d", "\ude00", "\xe9", "", "1}", "}}", '"{}"']
)
more_pieces = st.builds(
    piece,
    st.integers(0, 3) | st.sampled_from([None, "0", 1.0, True, -1]),
    arguments_of | st.sampled_from([None, 5, {"a": 1}]),
) | st.builds(
    lambda index, arguments, more: piece(index, arguments, **more),
    st.integers(0, 3),
    arguments_of,
    st.dictionaries(
        st.sampled_from(["id", "name", "type", "x"]), st.sampled_from([None, "", "c1", "c9", "f", "function", 5])
    ),
)
deltas_of = st.fixed_dictionaries(
    {"tool_calls": st.lists(more_pieces, max_size=2) | st.lists(more_pieces, min_size=1, max_size=1)},
    optional={"content": st.sampled_from([None, "", "Hi"]), "role": st.sampled_from([None, "assistant"])},
)


def without_own_ids(payload: Any) -> Any:
    for choice in payload["choices"] if isinstance(payload, dict) else ():
        for call in choice["delta"].get("tool_calls", ()):
            if call.get("id", "").startswith("call_"):
                call["id"] = "own"
    return payload


@given(st.permutations(BEGUN), st.lists(deltas_of | st.just({"content": "Hi"}), max_size=12), st.booleans())
def test_pieces_of_calls_are_read_the_same_whichever_way_is_taken(
    order: list[Json], deltas: list[Json], tools: bool
) -> None:
    """The short way gives what the long one gives."""
    short, long_way = Normaliser(tools), Normaliser(tools)
    for said in [*({"tool_calls": [one]} for one in order), *deltas, {}]:
        data = json.dumps(chunk(said, None if said else "tool_calls")).encode()
        expected = long_way._read(*loads(data), "delta", "an event of the host's stream", "a chunk's")
        assert without_own_ids(short.chunk(data)) == without_own_ids(expected)
    assert (short.mended, short.idle) == (long_way.mended, long_way.idle)


def test_a_plain_piece_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    normaliser = Normaliser(tools=True)
    normaliser.chunk(json.dumps(chunk({"tool_calls": [BEGUN[1]]})).encode())
    monkeypatch.delattr(Normaliser, "_read")
    for one in (piece(1, ":"), piece(1, "1", id=None, type=None, name=None), piece(1, "}", id="", name="")):
        payload = normaliser.chunk(json.dumps(chunk({"content": None, "tool_calls": [one]})).encode())
        assert isinstance(payload, dict)
        told = {"index": 0, "function": {"arguments": one["function"]["arguments"]}}
        assert payload["choices"][0]["delta"] == {"content": None, "tool_calls": [told]}
