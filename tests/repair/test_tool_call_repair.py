"""Answers with tool calls that need mending: the client gets each call once, as a call, and the text without it."""

import copy
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.repair.stated_call import LARGEST_ARGUMENTS
from gateway.repair.tool_call_repair import Repairs, ToolCallRepair, mender
from gateway.upstream import sse
from gateway.upstream.normaliser import Normaliser
from gateway.upstream.shape import OPENAI as SHAPE
from gateway.upstream.stream import StreamReader
from gateway.upstream.whole_reader import WholeReader
from tests.support.counted import counted_parses
from tests.upstream.listener import Listener, cut, feed
from tests.upstream.markup import WEATHER, WEATHER_ARGUMENTS, block, invoke, parameter
from tests.upstream.recordings import COMMENT, DONE, OPENAI, RECORDINGS, USED, Recording, chunk, event, events

splits = st.lists(st.integers(0, 10_000), max_size=30)
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("weather", "exec")]
RESIDUE = "<｜DSML｜function_calls"
Json = dict[str, Any]


class Said:
    """What a client has understood of an answer."""

    def __init__(self, mends: ToolCallRepair | None) -> None:
        self.content = ""
        self.reasoning = ""
        self.calls: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.finish = ""
        self.repairs = Repairs() if mends is None else mends.repairs

    def take(self, choice: Json, part: str) -> None:
        said = choice.get(part) or {}
        self.content += said.get("content") or ""
        self.reasoning += said.get("reasoning_content") or ""
        for place, call in enumerate(said.get("tool_calls") or ()):
            self._call(call, call.get("index", place))
        self.finish = choice.get("finish_reason") or self.finish

    def _call(self, call: Json, index: int) -> None:
        function = call["function"]
        if index == len(self.calls):
            self.calls.append((function["name"], ""))
            self.ids.append(call["id"])
        name, arguments = self.calls[index]
        self.calls[index] = (name, arguments + (function.get("arguments") or ""))


def stream(pieces: list[bytes], rewrite: bool = False, tools: Any = TOOLS) -> tuple[Said, Listener]:
    listener = Listener()
    mends = mender({"tools": tools})
    reader = StreamReader(listener, 0.0, rewrite=rewrite, mender=mends)
    feed(reader, listener, pieces)
    assert listener.failure is None
    said = Said(mends)
    for payload in sse.payloads(listener.text + reader.tail({}, include_usage=False)):
        assert len(payload["choices"]) == 1
        said.take(payload["choices"][0], "delta")
    return said, listener


def whole(message: Json, finish: str = "stop", **body: Any) -> Said:
    listener = Listener()
    mends = mender({"tools": TOOLS, **body})
    reader = WholeReader(listener, 0.0, mender=mends)
    payload = {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USED}
    feed(reader, listener, [json.dumps(payload).encode()])
    assert listener.failure is None
    said = Said(mends)
    said.take(SHAPE.completion(reader.completion, {})["choices"][0], "message")
    return said


def streamed(*deltas: Json, finish: str = "stop", spaced: bool = False) -> bytes:
    """The stream of these deltas."""
    start = chunk({"role": "assistant", "content": ""})
    payloads = [start, *map(chunk, deltas), chunk({}, finish), chunk(None, usage=USED)]
    return b"".join((*events(payloads, spaced), DONE))


def words(text: str, part: str = "content", size: int = 3) -> list[Json]:
    return [{part: text[at : at + size]} for at in range(0, len(text), size)]


def call(name: str, *arguments: str, index: int = 0) -> list[Json]:
    """The deltas of one structured call."""
    first = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
    pieces = [{"index": index, "function": {"arguments": piece}} for piece in arguments]
    return [{"tool_calls": [one]} for one in (first, *pieces)]


CALLED = [("weather", WEATHER_ARGUMENTS)]
LEAKS: dict[str, tuple[list[Json], str, str, str, list[tuple[str, str]], Repairs]] = {
    # deltas, finish reason: content, reasoning, calls, repairs
    "in the content": (words("I look.\n\n" + WEATHER), "stop", "I look.\n\n", "", CALLED, Repairs(call=1)),
    "in one delta": (words("I look." + WEATHER, size=999), "eos", "I look.", "", CALLED, Repairs(call=1)),
    "the host knew of a call": (words(WEATHER), "tool_calls", "", "", CALLED, Repairs(call=1)),
    "in the reasoning": (words("Hm." + WEATHER, "reasoning_content"), "stop", "", "Hm.", CALLED, Repairs(call=1)),
    "in vLLM's reasoning": (words("Hm." + WEATHER, "reasoning"), "stop", "", "Hm.", CALLED, Repairs(call=1)),
    "beside the call": (
        [*words("I look.\n\n" + WEATHER), *call("weather", WEATHER_ARGUMENTS)],
        *("tool_calls", "I look.\n\n", "", CALLED, Repairs(markup=1)),
    ),
    "behind the call": (
        [*call("weather", '{"days":3,"city":"Paris"}'), *words(WEATHER)],
        *("tool_calls", "", "", [("weather", '{"days":3,"city":"Paris"}')], Repairs(markup=1)),
    ),
    "a rest, beside the call": (
        [*words("I look.\n\n" + RESIDUE), *call("weather", "{}")],
        *("tool_calls", "I look.\n\n", "", [("weather", "{}")], Repairs(markup=1)),
    ),
    "one of two": (
        [*call("exec", "{}"), *words(WEATHER)],
        *("tool_calls", "", "", [("exec", "{}"), *CALLED], Repairs(call=1)),
    ),
    "the same tool, called otherwise": (
        [*call("weather", '{"city": "Rome"}'), *words(WEATHER)],
        *("tool_calls", "", "", [("weather", '{"city": "Rome"}'), *CALLED], Repairs(call=1)),
    ),
    "in both texts": (
        [*words(WEATHER, "reasoning_content"), *words(WEATHER)],
        *("stop", "", "", CALLED, Repairs(call=1, markup=1)),
    ),
}
TEXTS: dict[str, tuple[list[Json], str]] = {
    "a fence": (words(f"So:\n```\n{WEATHER}\n```"), "stop"),
    "an unknown tool": (words(block(invoke("rm"))), "stop"),
    "cut off": (words(WEATHER), "length"),
    "a rest without a call": (words("The mark is " + RESIDUE), "stop"),
    "a bracket at the end": (words("a <"), "stop"),
    "a bracket in reasoning": ([*words("a <", "reasoning_content"), *words("b")], "stop"),
    "thought, then answered": ([*words("So: " + WEATHER, "reasoning_content"), *words("No need.")], "stop"),
}


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("spaced", [True, False])
@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_becomes_the_call_or_goes(leak: str, spaced: bool, rewrite: bool) -> None:
    deltas, finish, content, reasoning, calls, repairs = LEAKS[leak]
    rewrite = rewrite or leak == "in vLLM's reasoning"  # that field is never relayed
    said, _ = stream([streamed(*deltas, finish=finish, spaced=spaced)], rewrite)
    assert (said.content, said.reasoning, said.calls) == (content, reasoning, calls)
    assert said.finish == "tool_calls"
    assert said.repairs == repairs
    assert len({*said.ids} - {""}) == len(calls)


@pytest.mark.parametrize("leak", LEAKS)
def test_a_whole_answer_is_mended_in_the_same_way(leak: str) -> None:
    deltas, finish, content, reasoning, calls, repairs = LEAKS[leak]
    said = whole(joined(deltas), finish)
    assert (said.content, said.reasoning, said.calls) == (content, reasoning, calls)
    assert said.finish == "tool_calls"
    assert said.repairs == repairs


def joined(deltas: list[Json]) -> Json:
    """The message that these deltas are."""
    message: Json = {"role": "assistant", "content": None}
    for delta in copy.deepcopy(deltas):
        for name, value in delta.items():
            if name != "tool_calls":
                message[name] = (message.get(name) or "") + value
            elif value[0]["index"] == len(message.setdefault("tool_calls", [])):
                message["tool_calls"] += value
            else:
                message["tool_calls"][value[0]["index"]]["function"]["arguments"] += value[0]["function"]["arguments"]
    return message


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("name", TEXTS)
def test_text_that_is_no_leak_reaches_the_client_as_it_was(name: str, rewrite: bool) -> None:
    deltas, finish = TEXTS[name]
    said, _ = stream([streamed(*deltas, finish=finish)], rewrite)
    message = joined(deltas)
    assert said.content == (message["content"] or "")
    assert said.reasoning == message.get("reasoning_content", "")
    assert (said.calls, said.finish, said.repairs) == ([], finish, Repairs())
    assert whole(message, finish).content == said.content


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_held_reasoning_goes_on_in_the_field_in_which_it_came(field: str) -> None:
    mends = ToolCallRepair(frozenset({"weather"}))
    first, last = chunk({field: "Hm. a <"}), chunk({}, "stop")
    mends.chunk(first)
    assert not mends.idle
    mends.chunk(last)
    assert mends.idle
    assert [one["choices"][0]["delta"] for one in (first, last)] == [{field: "Hm. a "}, {field: "<"}]


def test_only_as_many_choices_as_were_requested_are_followed() -> None:
    mends = ToolCallRepair(frozenset({"weather"}), choices=2)
    for index, followed in ((0, True), (1, True), (2, False), (0, True)):
        payload = chunk({"content": "a <"})
        payload["choices"][0]["index"] = index
        mends.chunk(payload)
        assert payload["choices"][0]["delta"]["content"].endswith("a ") is followed


ARGUMENTS: dict[str, tuple[list[str], str, int]] = {
    "sound": (['{"a', '": 1}'], '{"a": 1}', 0),
    "white space behind": (['{"a": 1}', "\n "], '{"a": 1}\n ', 0),
    "twice": (['{"a": 1}{"a', '": 1}'], '{"a": 1}', 1),
    "twice, cut": (['{"a": 1}', '{"a":', ""], '{"a": 1}', 1),
    "twice, otherwise": (['{"a": 1}\n', '{"a":1}'], '{"a": 1}\n', 1),
    "no brackets at the end": (['{"a": {"b": "c', '"'], '{"a": {"b": "c"}}', 1),
    "two different ones": (['{"a": 1}', '{"a": 2}'], '{"a": 1}{"a": 2}', 0),
    "half a text": (['{"a": "b'], '{"a": "b', 0),
    "half a number": (['{"a": 1'], '{"a": 1', 0),
    "nothing": ([], "", 0),
}


@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_streamed_arguments_are_said_once_and_to_their_end(name: str, rewrite: bool) -> None:
    pieces, meant, repairs = ARGUMENTS[name]
    said, _ = stream([streamed(*call("exec", *pieces), finish="tool_calls")], rewrite)
    assert said.calls == [("exec", meant)]
    assert said.repairs == Repairs(arguments=repairs)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_whole_arguments_are_mended_too(name: str) -> None:
    pieces, meant, repairs = ARGUMENTS[name]
    said = whole(joined(call("exec", *pieces)), "tool_calls")
    assert [arguments.strip() for _, arguments in said.calls] == [meant.strip()]
    assert said.repairs.arguments == repairs


@pytest.mark.parametrize("rewrite", [True, False])
def test_arguments_that_are_too_long_to_be_followed_are_said_as_they_came(rewrite: bool) -> None:
    long = "x" * (LARGEST_ARGUMENTS // 2)
    pieces = ['{"a": "', long, long, '"}', '{"a": 1}', " and "]
    said, _ = stream([streamed(*call("exec", *pieces), finish="tool_calls")], rewrite)
    assert said.calls == [("exec", "".join(pieces))]
    assert said.repairs == Repairs()


def test_a_copy_that_makes_them_too_long_is_said_too() -> None:
    first = '{"a": "' + "x" * (LARGEST_ARGUMENTS // 2) + '"}'
    said, _ = stream([streamed(*call("exec", first, first[:10], first[10:]), finish="tool_calls")])
    assert said.calls == [("exec", first * 2)]


def test_what_only_a_whole_answer_can_have_mended() -> None:
    said = whole(joined(call("exec", '```json\n{"a": 1,}\n```')), "tool_calls")
    assert said.calls == [("exec", '{"a": 1}')]


def test_arguments_that_were_cut_off_stay_so() -> None:
    said, _ = stream([streamed(*call("exec", '{"a": "b"'), finish="length")])
    assert said.calls == [("exec", '{"a": "b"')]


def test_two_calls_under_one_index_are_two() -> None:
    """Some hosts count all of their calls 0, the same call twice too."""
    second = call("exec", '{"a": 1}')
    second[0]["tool_calls"][0]["id"] = "call_other"
    said, _ = stream([streamed(*call("exec", '{"a": 1}'), *second, finish="tool_calls")])
    assert said.calls == [("exec", '{"a": 1}')] * 2
    assert said.ids == ["call_0", "call_other"]
    assert said.repairs == Repairs()


@given(st.sampled_from([*LEAKS]), splits, st.booleans())
def test_any_split_gives_the_same_answer(leak: str, places: list[int], rewrite: bool) -> None:
    deltas, finish, content, _, calls, repairs = LEAKS[leak]
    said, _ = stream(cut(streamed(*deltas, finish=finish), places), rewrite)
    assert (said.content, said.calls, said.repairs) == (content, calls, repairs)


@given(st.sampled_from([one for one in RECORDINGS if one.relays and one.choices == 1 and one.body]), splits)
def test_a_stream_without_markup_is_relayed_to_the_byte(one: Recording, places: list[int]) -> None:
    _, listener = stream(cut(one.stream, places))
    assert listener.text.replace(COMMENT, b"") == one.relayed


@given(st.lists(st.sampled_from(["<", "a", "</b>", "`", '"', "\n", "｜", "DSM"]), max_size=20), splits)
def test_text_without_markup_is_said_in_full(pieces: list[str], places: list[int]) -> None:
    data = streamed({"content": "So "}, *({"content": piece} for piece in pieces))
    said, _ = stream(cut(data, places))
    assert said.content == "So " + "".join(pieces)


def test_events_between_marks_and_calls_are_not_parsed() -> None:
    pieces = [*OPENAI.start, *OPENAI.body[:1] * 50]
    with counted_parses() as parses:
        stream([*pieces, event(chunk({"content": "a <"})), *OPENAI.body[:1] * 50, *OPENAI.end])
    assert len([one for one in parses if one == "parsed"]) < 10


def test_while_a_leak_is_held_empty_chunks_say_that_the_host_goes_on() -> None:
    _, listener = stream([streamed(*words(WEATHER))])
    assert len(list(sse.payloads(listener.text))) >= len(words(WEATHER))


def test_a_recovered_call_is_a_delta_of_its_own_before_the_finish_chunk() -> None:
    listener = Listener()
    reader = StreamReader(listener, 0.0, rewrite=False, mender=mender({"tools": TOOLS}))
    feed(reader, listener, [streamed(*words(WEATHER, size=999))])
    *_, last = sse.payloads(listener.text)
    (added,) = last["choices"][0]["delta"]["tool_calls"]
    assert added.pop("id").startswith("call_")
    assert added == {"index": 0, "type": "function", "function": {"name": "weather", "arguments": WEATHER_ARGUMENTS}}
    assert last["choices"][0]["finish_reason"] is None
    (end,) = sse.payloads(reader.tail({}, include_usage=False))
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]
    assert reader.finish_reason == "tool_calls"


def test_a_request_without_tools_has_no_mender() -> None:
    assert mender({}) is None
    assert mender({"tools": None}) is None
    assert mender({"tools": []}) is None
    assert mender({"tools": [3, {"type": "x"}, {"function": {"name": 3}}]}) is None
    assert mender({"tools": TOOLS, "tool_choice": "none"}) is None
    assert mender({"tools": TOOLS, "tool_choice": "auto"}) is not None


HEAL: Json = {"plugins": [{"id": "response-healing"}], "response_format": {"type": "json_object"}, "tools": None}


def test_json_is_taken_out_of_its_fence_on_request() -> None:
    said = whole({"content": '```json\n{"a": 1}\n```'}, **HEAL)
    assert said.content == '{"a": 1}'
    assert said.repairs == Repairs(content=1)


def test_json_that_is_sound_or_beyond_repair_stays() -> None:
    assert whole({"content": '{"a": 1}'}, **HEAL).repairs == Repairs()
    assert whole({"content": "Sorry."}, **HEAL).content == "Sorry."
    assert whole({"content": '{"a": "b"'}, "length", **HEAL).content == '{"a": "b"'


@pytest.mark.parametrize(
    "change",
    [
        {"plugins": None},
        {"plugins": [{"id": "web"}, 3]},
        {"plugins": [{"id": "response-healing", "enabled": False}]},
        {"response_format": {"type": "text"}},
        {"response_format": None},
        {"response_format": {"type": []}},
        {"stream": True},
    ],
)
def test_json_is_not_healed_unless_it_was_requested(change: Json) -> None:
    assert mender({**HEAL, **change}) is None


@given(st.recursive(st.none() | st.booleans() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_odd_calls_never_raise(odd: Any) -> None:
    deltas: list[Json] = [{"content": "Hi"}, {"tool_calls": odd}, {"tool_calls": [odd]}]
    deltas += [
        {"tool_calls": [{"index": 0, "function": odd}]},
        {"tool_calls": [{"index": odd, "function": {"name": odd}}]},
    ]
    for delta in deltas:
        follower, normaliser = ToolCallRepair(frozenset({"exec"})), Normaliser(tools=True)
        if isinstance(payload := normaliser.chunk(orjson.dumps(chunk(delta, "stop"))), dict):
            follower.chunk(payload)
        whole = {"choices": [{"message": delta, "finish_reason": "stop"}]}
        if isinstance(payload := normaliser.whole(orjson.dumps(whole)), dict):
            follower.whole(payload)


def test_a_value_in_a_leak_may_be_split_anywhere() -> None:
    text = block(invoke("exec", parameter("cmd", "a < b && </c> ｜ DSML")))
    said, _ = stream([streamed(*words(text, size=1))])
    assert said.calls == [("exec", '{"cmd": "a < b && </c> ｜ DSML"}')]
