"""Dialects: what each host is really sent, byte for byte where it matters."""

import copy
import re
import typing
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.types import Dialect, Endpoint, ReasoningHistory, Request
from gateway.types.endpoint import ThinkingSwitch
from gateway.upstream.dialects import PATCHES, outgoing, relays, thinking_requested

HELLO = [{"role": "user", "content": "hello"}]


def endpoint(thinking: ThinkingSwitch = "unknown", **dialect: Any) -> Endpoint:
    return Endpoint(
        id="novita/fp8",
        provider="novita",
        base_url="https://api.novita.ai/openai/v1",
        model="host/v3.2",
        dialect=Dialect(thinking=thinking, **dialect),
    )


def request(body: dict[str, Any] | None = None, **fields: Any) -> Request:
    body = {"model": "deepseek/deepseek-v3.2", "messages": HELLO, **(body or {})}
    return Request(id="gen-1", body=body, model="deepseek/deepseek-v3.2", policy="balanced", **fields)


def sent(asked: Request, host: Endpoint) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(outgoing(asked, host))
    return body


def extras(asked: Request, host: Endpoint) -> dict[str, Any]:
    """What the host is sent beside model and messages."""
    return {name: value for name, value in sent(asked, host).items() if name not in ("model", "messages")}


SWITCHES: dict[ThinkingSwitch, tuple[dict[str, Any], dict[str, Any]]] = {
    "chat_template_args.enable_thinking": (
        {"chat_template_args": {"enable_thinking": True}},
        {"chat_template_args": {"enable_thinking": False}},
    ),
    "chat_template_kwargs.enable_thinking": (
        {"chat_template_kwargs": {"enable_thinking": True}},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ),
    "chat_template_kwargs.enable_thinking|chat_template_kwargs.thinking": (
        {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}},
        {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
    ),
    "chat_template_kwargs.thinking": (
        {"chat_template_kwargs": {"thinking": True}},
        {"chat_template_kwargs": {"thinking": False}},
    ),
    "enable_thinking": ({"enable_thinking": True}, {"enable_thinking": False}),
    "enable_thinking|reasoning_effort": ({"enable_thinking": True}, {"reasoning_effort": "none"}),
    "model": ({}, {}),
    "reasoning.effort": ({"reasoning": {"effort": "medium"}}, {"reasoning": {"enabled": False}}),
    "reasoning.enabled": ({"reasoning": {"enabled": True}}, {"reasoning": {"enabled": False}}),
    "reasoning_effort": ({"reasoning_effort": "medium"}, {"reasoning_effort": "none"}),
    "thinking.type": ({"thinking": {"type": "enabled"}}, {"thinking": {"type": "disabled"}}),
    "unknown": ({}, {}),
}


def test_every_switch_has_a_patch_and_a_case() -> None:
    assert set(PATCHES) == set(SWITCHES) == set(typing.get_args(ThinkingSwitch))


@pytest.mark.parametrize("switch", SWITCHES)
def test_thinking_is_switched_in_the_hosts_own_words(switch: ThinkingSwitch) -> None:
    on, off = SWITCHES[switch]
    for default in ("on", "off", "unknown"):
        assert extras(request(thinking=True), endpoint(switch, thinking_default=default)) == on
    for default in ("on", "unknown"):
        assert extras(request(), endpoint(switch, thinking_default=default)) == off
    assert extras(request(), endpoint(switch, thinking_default="off")) == {}


@pytest.mark.parametrize(
    ("switch", "thinking", "model"),
    [
        ("model", True, "host/reasoner"),
        ("model", False, "host/v3.2"),
        ("unknown", True, "host/v3.2"),
    ],
)
def test_the_model_is_the_hosts(switch: ThinkingSwitch, thinking: bool, model: str) -> None:
    host = endpoint(switch, thinking_model="host/reasoner")
    assert sent(request(thinking=thinking), host)["model"] == model


ASKED: list[tuple[dict[str, Any], bool | None]] = [
    ({}, None),
    ({"reasoning": None, "thinking": None, "chat_template_kwargs": None}, None),
    ({"reasoning": {}}, None),
    ({"reasoning": {"exclude": True}}, None),
    ({"thinking": {"type": []}}, None),
    ({"reasoning": {"enabled": True}}, True),
    ({"reasoning": {"enabled": False}}, False),
    ({"reasoning": {"enabled": False, "effort": "high"}}, False),
    ({"reasoning": {"effort": "low"}}, True),
    ({"reasoning": {"effort": "none"}}, False),
    ({"reasoning": {"max_tokens": 2000}}, True),
    ({"reasoning": {"max_tokens": 0}}, None),
    ({"reasoning_effort": "minimal"}, True),
    ({"reasoning_effort": "none"}, False),
    ({"reasoning_effort": "none", "include_reasoning": True}, False),
    ({"reasoning_effort": "high", "reasoning": {"effort": "high"}}, True),
    ({"reasoning_effort": "none", "reasoning": {"effort": "low"}}, True),
    ({"reasoning_effort": "high", "reasoning": {"effort": "none"}}, False),
    ({"reasoning_effort": ""}, None),
    ({"reasoning_effort": "", "reasoning": {"effort": None}}, None),
    ({"thinking": {"type": "enabled"}}, True),
    ({"thinking": {"type": "disabled"}}, False),
    ({"enable_thinking": True}, True),
    ({"enable_thinking": False}, False),
    ({"chat_template_kwargs": {"thinking": True}}, True),
    ({"chat_template_kwargs": {"enable_thinking": True}}, True),
    ({"chat_template_kwargs": {"thinking": False, "other": True}}, False),
    ({"include_reasoning": True}, True),
    ({"include_reasoning": False}, None),
]


@pytest.mark.parametrize(("body", "asked"), ASKED, ids=[str(body) for body, _ in ASKED])
def test_thinking_may_be_requested_in_any_hosts_way(body: dict[str, Any], asked: bool | None) -> None:
    assert thinking_requested(body) is asked


@pytest.mark.parametrize("body", [body for body, _ in ASKED], ids=str)
@pytest.mark.parametrize("thinking", [True, False])
def test_however_it_was_requested_the_host_gets_its_own_switch_alone(body: dict[str, Any], thinking: bool) -> None:
    host = endpoint("thinking.type", thinking_default="on")
    got = extras(request(body, thinking=thinking), host)
    kwargs = got.pop("chat_template_kwargs", None)
    assert got == {"thinking": {"type": "enabled" if thinking else "disabled"}}
    assert kwargs in (None, {"other": True})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"reasoning": True}, "reasoning"),
        ({"thinking": "on"}, "thinking"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
    ],
)
def test_contradictions_and_wrong_types_are_the_clients_fault(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        thinking_requested(body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("asked_for", "sent_on"), [("max", "high"), ("xhigh", "high"), ("minimal", "low"), ("low", "low")]
)
def test_an_effort_that_hosts_do_not_know_is_the_nearest_one(asked_for: str, sent_on: str) -> None:
    asked = request({"reasoning_effort": asked_for}, thinking=True)
    assert extras(asked, endpoint("reasoning_effort")) == {"reasoning_effort": sent_on}


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "max"])
def test_where_one_effort_alone_thinks_it_is_sent_for_all(effort: str) -> None:
    host = endpoint("reasoning_effort", efforts=("high",))
    for asked in (request({"reasoning_effort": effort}, thinking=True), request(thinking=True)):
        assert extras(asked, host) == {"reasoning_effort": "high"}


V4 = ("low", "high", "max")


@pytest.mark.parametrize(
    ("asked_for", "sent_on"),
    [("minimal", "low"), ("medium", "high"), ("high", "high"), ("xhigh", "max"), ("max", "max"), ("ultra", "ultra")],
)
def test_which_efforts_a_host_knows_is_its_own(asked_for: str, sent_on: str) -> None:
    asked = request({"reasoning": {"effort": asked_for}}, thinking=True)
    assert extras(asked, endpoint("reasoning_effort", efforts=V4)) == {"reasoning_effort": sent_on}
    beside = endpoint("thinking.type", effort="reasoning_effort", efforts=V4)
    assert extras(asked, beside) == {"thinking": {"type": "enabled"}, "reasoning_effort": sent_on}
    template = endpoint("chat_template_kwargs.thinking", effort="chat_template_kwargs.reasoning_effort", efforts=V4)
    assert extras(asked, template) == {"chat_template_kwargs": {"thinking": True, "reasoning_effort": sent_on}}


def test_without_an_effort_none_is_sent_beside_the_switch() -> None:
    beside = endpoint("thinking.type", effort="reasoning_effort", efforts=V4)
    for body in ({}, {"reasoning": {"enabled": True}}, {"reasoning_effort": "none"}):
        assert extras(request(body, thinking=True), beside) == {"thinking": {"type": "enabled"}}
    assert extras(request({"reasoning_effort": "max"}), beside) == {"thinking": {"type": "disabled"}}
    assert extras(request(thinking=True), endpoint("reasoning_effort", efforts=V4)) == {"reasoning_effort": "high"}


@pytest.mark.parametrize("body", [{"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}], ids=str)
def test_effort_is_kept_where_the_switch_has_one(body: dict[str, Any]) -> None:
    asked = request(body, thinking=True)
    assert extras(asked, endpoint("reasoning_effort")) == {"reasoning_effort": "high"}
    assert extras(asked, endpoint("reasoning.effort")) == {"reasoning": {"effort": "high"}}
    assert extras(asked, endpoint("reasoning.enabled")) == {"reasoning": {"enabled": True}}


def test_the_nested_effort_wins_and_an_empty_one_is_none() -> None:
    both = {"reasoning_effort": "high", "reasoning": {"effort": "low"}}
    assert extras(request(both, thinking=True), endpoint("reasoning_effort")) == {"reasoning_effort": "low"}
    empty = request({"reasoning_effort": ""}, thinking=True)
    assert extras(empty, endpoint("reasoning_effort")) == {"reasoning_effort": "medium"}
    assert extras(request({"reasoning_effort": ""}), endpoint("thinking.type")) == {"thinking": {"type": "disabled"}}


def test_effort_none_with_a_thinking_model_means_the_default_effort() -> None:
    asked = request({"reasoning_effort": "none"}, thinking=True)
    assert extras(asked, endpoint("reasoning_effort")) == {"reasoning_effort": "medium"}


def test_the_clients_other_template_arguments_survive() -> None:
    asked = request({"chat_template_kwargs": {"enable_thinking": False, "lang": "en"}}, thinking=True)
    assert extras(asked, endpoint("chat_template_kwargs.thinking")) == {
        "chat_template_kwargs": {"lang": "en", "thinking": True}
    }
    assert extras(asked, endpoint("enable_thinking")) == {
        "chat_template_kwargs": {"lang": "en"},
        "enable_thinking": True,
    }


GATEWAY_ONLY = ["metadata", "models", "plugins", "preset", "provider"]
GATEWAY_ONLY += ["route", "session_id", "trace", "transforms", "usage"]
FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # name: (client sends, host gets)
    **{name: ({name: {"any": 1}}, {}) for name in GATEWAY_ONLY},
    "null user": ({"user": None}, {"user": None}),
    "cache_control stays": ({"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral"}}),
    "unknown stays": ({"frobnicate": [1, None]}, {"frobnicate": [1, None]}),
    "nothing is clamped": ({"max_tokens": 10**9, "temperature": 9.5}, {"max_tokens": 10**9, "temperature": 9.5}),
    "renamed": ({"max_completion_tokens": 5}, {"max_tokens": 5}),
    "newer name wins": ({"max_tokens": 4, "max_completion_tokens": 5}, {"max_tokens": 5}),
    "null newer name": ({"max_tokens": 4, "max_completion_tokens": None}, {"max_tokens": 4}),
    "not streamed": ({"stream": False, "stream_options": {"include_usage": True}}, {}),
    "null stream": ({"stream": None}, {}),
}


@pytest.mark.parametrize(("client", "host"), FIELDS.values(), ids=FIELDS)
def test_fields(client: dict[str, Any], host: dict[str, Any]) -> None:
    assert extras(request(client), endpoint()) == host


@pytest.mark.parametrize("field", ["user", "safety_identifier"])
@pytest.mark.parametrize(
    "identity", ["u", "ada@example.org", '{"device_id": "d", "account_uuid": "a"}' * 9, "", 5, {"id": 7}]
)
def test_who_a_user_is_stays_here(field: str, identity: Any) -> None:
    raw = orjson.dumps({"model": "m", "messages": HELLO, field: identity})
    asked = request({field: identity}, raw=raw, tenant="a")
    name = extras(asked, endpoint())[field]
    assert re.fullmatch(r"[A-Za-z0-9_-]{6,64}", name)
    assert name != identity
    assert extras(request({field: identity, "seed": 1}, tenant="a"), endpoint("enable_thinking"))[field] == name
    assert extras(request({field: identity}, tenant="b"), endpoint())[field] != name
    assert extras(request({field: "another"}, tenant="a"), endpoint())[field] != name


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("raw", [True, False])
def test_max_tokens_is_at_most_what_the_host_allows(field: str, raw: bool) -> None:
    body = {field: 128_000, "model": "deepseek/deepseek-v3.2", "messages": HELLO}
    asked = request(body, max_tokens=128_000, raw=orjson.dumps(body) if raw else b"")
    small, large = replace(endpoint(), max_output=8_000), replace(endpoint(), max_output=200_000)
    assert extras(asked, small) == {"max_tokens": 8_000}
    assert extras(asked, large) == extras(asked, endpoint()) == {"max_tokens": 128_000}


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}, {"stream_options": None}])
def test_usage_is_always_requested_of_a_stream(options: dict[str, Any]) -> None:
    asked = request({"stream": True, **options}, stream=True)
    assert extras(asked, endpoint()) == {"stream": True, "stream_options": {"include_usage": True}}


def test_what_a_host_refuses_is_dropped() -> None:
    asked = request({"seed": 1, "logprobs": True, "top_p": 0.5, "stream": True}, stream=True)
    host = endpoint(drop=("seed", "logprobs", "stream_options", "absent"))
    assert extras(asked, host) == {"top_p": 0.5, "stream": True}


def test_bytes_keep_the_clients_order() -> None:
    asked = request({"tools": [{"z": 1, "a": 2}], "top_p": 0.5, "provider": {}, "seed": 7})
    assert outgoing(asked, endpoint()) == (
        b'{"model":"host/v3.2","messages":[{"role":"user","content":"hello"}],'
        b'"tools":[{"z":1,"a":2}],"top_p":0.5,"seed":7}'
    )


CALL = [{"id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
USER = {"role": "user", "content": "go"}
RESULT = {"role": "tool", "tool_call_id": "call_0", "content": "1"}


def assistant(**fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, **fields}


def replayed(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(request({"messages": list(messages)}), endpoint())["messages"]
    return found


REASONING: dict[str, tuple[dict[str, Any], str | None]] = {
    # name: (the client's fields, what the host reads)
    "reasoning": ({"reasoning": "so"}, "so"),
    "reasoning_content": ({"reasoning_content": "so"}, "so"),
    "details": (
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "s"},
                {"type": "reasoning.encrypted", "data": "x"},
                {"type": "reasoning.text", "text": "o"},
            ]
        },
        "so",
    ),
    "all three": ({"reasoning": "r", "reasoning_details": [{"text": "d"}], "reasoning_content": "c"}, "c"),
    "null beside text": ({"reasoning_content": None, "reasoning": "so"}, "so"),
    "empty beside details": ({"reasoning": "", "reasoning_details": [{"text": "so"}]}, "so"),
    "empty": ({"reasoning": ""}, ""),
    "no details": ({"reasoning_details": []}, ""),
    "null": ({"reasoning": None}, None),
    "not text": ({"reasoning": 1, "reasoning_details": "x"}, None),
}


@pytest.mark.parametrize(("fields", "text"), REASONING.values(), ids=REASONING)
def test_reasoning_goes_back_within_a_tool_turn(fields: dict[str, Any], text: str | None) -> None:
    expected = assistant(tool_calls=CALL) | ({} if text is None else {"reasoning_content": text})
    assert replayed(USER, assistant(tool_calls=CALL, **fields), RESULT) == [USER, expected, RESULT]


@pytest.mark.parametrize("fields", [fields for fields, _ in REASONING.values()], ids=REASONING)
def test_reasoning_stays_behind_elsewhere(fields: dict[str, Any]) -> None:
    assert replayed(USER, assistant(tool_calls=CALL, **fields), RESULT, USER)[1] == assistant(tool_calls=CALL)
    assert replayed(USER, assistant(**fields)) == [USER, assistant()]
    assert replayed(USER, assistant(tool_calls=[], **fields)) == [USER, assistant(tool_calls=[])]


def test_every_call_of_the_turn_keeps_its_reasoning_and_no_earlier_one() -> None:
    old, first, second = (assistant(tool_calls=CALL, reasoning=text) for text in ("old", "first", "second"))
    got = replayed(USER, old, RESULT, USER, first, RESULT, second, RESULT)
    assert [message.get("reasoning_content") for message in got if message["role"] == "assistant"] == [
        None,
        "first",
        "second",
    ]


OLD, CALLED, LAST = assistant(reasoning="old"), assistant(tool_calls=CALL, reasoning="call"), assistant(reasoning="end")
TALK = [USER, OLD, USER, CALLED, RESULT, LAST, USER]
TOOLS = [{"type": "function", "function": {"name": "weather"}}]


@pytest.mark.parametrize(
    ("history", "messages", "tools", "thoughts"),
    [
        ("interleaved", TALK, TOOLS, [None, None, None]),
        ("interleaved", TALK[:-2], TOOLS, [None, "call"]),
        ("preserved", TALK, TOOLS, ["old", "call", "end"]),
        ("preserved", TALK, None, ["old", "call", "end"]),
        ("preserved", TALK[:3], TOOLS, ["old"]),
        ("preserved", TALK[:3], None, [None]),
        ("disabled", TALK, TOOLS, [None, None, None]),
        ("disabled", TALK[:-2], TOOLS, [None, None]),
    ],
)
def test_which_reasoning_goes_back_is_the_models_rule(
    history: ReasoningHistory, messages: list[dict[str, Any]], tools: Any, thoughts: list[str | None]
) -> None:
    body = {"messages": messages} | ({"tools": tools} if tools else {})
    got = sent(request(body, thinking=True, reasoning_history=history), endpoint())["messages"]
    assert [one.get("reasoning_content") for one in got if one["role"] == "assistant"] == thoughts
    assert not [one for one in got if "reasoning" in one]


@pytest.mark.parametrize("history", ["preserved", "interleaved"])
def test_reasoning_that_hosts_take_as_it_came_leaves_the_clients_bytes_alone(history: ReasoningHistory) -> None:
    called = {"role": "assistant", "reasoning_content": "why", "content": None, "tool_calls": CALL}
    body = {"model": "v4", "messages": [USER, called, RESULT], "tools": TOOLS}
    raw = orjson.dumps(body, option=orjson.OPT_INDENT_2)
    asked = request(body, thinking=True, reasoning_history=history, raw=raw)
    assert outgoing(asked, endpoint("thinking.type")) == raw.replace(
        b'{\n  "model": "v4"', b'{"thinking":{"type":"enabled"},\n  "model": "host/v3.2"'
    )


@pytest.mark.parametrize("more", [{}, {"name": "d"}], ids=["text alone", "with a name"])
def test_developer_becomes_system_in_place(more: dict[str, str]) -> None:
    body = {"messages": [{"role": "developer", "content": "be brief", **more}, USER]}
    expected = [{"role": "system", "content": "be brief", **more}, USER]
    assert b'"messages":' + orjson.dumps(expected) in outgoing(request(body), endpoint())


VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["developer", "system", "user", "assistant", "tool"]), "content": VALUES},
        optional={"tool_calls": st.just(CALL), "reasoning": VALUES, "reasoning_content": VALUES},
    ),
    max_size=6,
)
BODIES = st.dictionaries(
    st.sampled_from([*GATEWAY_ONLY, "max_completion_tokens", "stream_options", "enable_thinking", "seed", "other"]),
    VALUES,
)


@given(
    body=BODIES,
    messages=MESSAGES,
    kwargs=st.dictionaries(st.sampled_from(["thinking", "enable_thinking", "x"]), VALUES),
    switch=st.sampled_from(typing.get_args(ThinkingSwitch)),
    thinking=st.booleans(),
    stream=st.booleans(),
)
def test_the_clients_body_is_never_changed_and_saying_it_twice_is_the_same(
    body: dict[str, Any],
    messages: list[dict[str, Any]],
    kwargs: dict[str, Any],
    switch: ThinkingSwitch,
    thinking: bool,
    stream: bool,
) -> None:
    whole = {**body, "messages": messages, "chat_template_kwargs": kwargs}
    asked = request(whole, thinking=thinking, stream=stream)
    before = copy.deepcopy(asked.body)
    host = endpoint(switch, drop=("seed",))
    once = outgoing(asked, host)
    assert asked.body == before
    assert outgoing(asked, host) == once
    got = orjson.loads(once)
    assert got.keys().isdisjoint({*GATEWAY_ONLY, "max_completion_tokens", "seed"})
    assert len(got["messages"]) == len(messages)


RELAYS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({"thinking": True}, {}, True),
    ({"thinking": True}, {"reasoning_field": "reasoning"}, False),
    ({"thinking": True}, {"reasoning_field": "unknown"}, False),
    ({}, {"reasoning_field": "reasoning"}, True),
    ({}, {"null_usage": True}, False),
    ({"surface": "openrouter"}, {}, False),
]


@pytest.mark.parametrize(("fields", "dialect", "expected"), RELAYS)
def test_bytes_pass_unchanged_only_in_the_clients_shape(
    fields: dict[str, Any], dialect: dict[str, Any], expected: bool
) -> None:
    assert relays(endpoint(**dialect), request(**fields)) is expected
