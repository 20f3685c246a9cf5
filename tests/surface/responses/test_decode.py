"""Responses requests as chat completions: what goes on, what is turned, what is refused and why."""

import re
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.surface.responses.decode import IGNORED, REFUSED, TRANSLATED, chat_request
from gateway.surface.responses.input import _newest
from gateway.surface.responses.tools import read_tools

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}


def request(**fields: Any) -> dict[str, Any]:
    body = {"model": "deepseek-v3.2", "input": "Hi", **fields}
    return chat_request(body, read_tools(body))


def conversation(*items: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = request(input=list(items))["messages"]
    return messages


def reasoning(text: str, place: str = "content") -> dict[str, Any]:
    other = {"summary": []} if place == "content" else {}
    return {"type": "reasoning", "id": "rs_1", **other, place: [{"type": f"{place}_text", "text": text}]}


def call(number: int) -> dict[str, Any]:
    own = {"call_id": f"call_{number}", "name": "get_weather", "arguments": f'{{"day":{number}}}'}
    return {"type": "function_call", "id": f"fc_{number}", "status": "completed", **own}


def output(number: int, said: Any = "sunny") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"call_{number}", "output": said}


def said(text: str, role: str = "assistant") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def chat_call(number: int) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": f'{{"day":{number}}}'}
    return {"id": f"call_{number}", "type": "function", "function": function}


# --- fields


def test_a_text_is_one_user_message() -> None:
    assert request() == {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}


def test_instructions_come_first() -> None:
    assert request(instructions="Be brief.")["messages"][0] == {"role": "system", "content": "Be brief."}


def test_fields_that_both_have_go_on_as_they_are() -> None:
    both = {"stream": True, "temperature": 0.5, "top_p": 0.9, "user": "u", "metadata": {"a": "b"}}
    own = {"provider": {"order": ["a"]}, "session_id": "s", "top_k": 40}
    assert request(**both, **own).items() >= (both | own).items()


def test_fields_that_steer_openais_service_go_nowhere() -> None:
    assert request(**dict.fromkeys(IGNORED, "x")) == request()


def test_null_means_not_given() -> None:
    names = ("instructions", "max_output_tokens", "reasoning", "temperature", "text", "tool_choice", "tools")
    assert request(**dict.fromkeys((*names, *REFUSED))) == request()


def test_the_limit_has_another_name() -> None:
    assert request(max_output_tokens=7)["max_tokens"] == 7


def test_reasoning_goes_on_without_what_is_about_the_answer() -> None:
    assert request(reasoning={"effort": "high", "summary": "auto"})["reasoning"] == {"effort": "high"}
    assert request(reasoning={"max_tokens": 9, "effort": None})["reasoning"] == {"max_tokens": 9}
    assert "reasoning" not in request(reasoning={"summary": "auto"})


def test_tools_are_nested() -> None:
    flat = {"type": "function", "name": "f", "description": None, "parameters": WEATHER, "strict": True}
    made = request(tools=[flat], tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False)
    assert made["tools"] == [{"type": "function", "function": {"name": "f", "parameters": WEATHER, "strict": True}}]
    assert made["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert made["parallel_tool_calls"] is False


def test_without_tools_nothing_is_said_about_them() -> None:
    assert request(tools=[], tool_choice="auto", parallel_tool_calls=True) == request()


def test_the_format_of_the_text_is_the_response_format() -> None:
    schema = {"type": "json_schema", "name": "city", "schema": WEATHER, "strict": True}
    nested = {"name": "city", "schema": WEATHER, "strict": True}
    assert request(text={"format": schema})["response_format"] == {"type": "json_schema", "json_schema": nested}
    assert request(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert request(text={"format": {"type": "text"}, "verbosity": "low"}) == request()


# --- conversations


def test_a_tool_turn_keeps_its_reasoning_beside_its_calls() -> None:
    made = conversation(said("Weather?", "user"), reasoning("Two days."), said("Let me see."), call(1), call(2))
    assert made[1] == {
        "role": "assistant",
        "content": "Let me see.",
        "reasoning_content": "Two days.",
        "tool_calls": [chat_call(1), chat_call(2)],
    }


def test_what_a_tool_said_ends_the_turn() -> None:
    made = conversation(reasoning("a"), call(1), output(1), reasoning("b"), call(2), output(2), said("Sunny."))
    assert [message["role"] for message in made] == ["assistant", "tool", "assistant", "tool", "assistant"]
    assert [message.get("reasoning_content") for message in made] == ["a", None, "b", None, None]
    assert made[1] == {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}


def test_reasoning_is_read_from_the_summary_too() -> None:
    assert conversation(reasoning("a", "summary"), call(1))[0]["reasoning_content"] == "a"


def test_empty_reasoning_counts_and_sealed_reasoning_does_not() -> None:
    empty: dict[str, Any] = {"type": "reasoning", "summary": []}
    assert conversation(empty, call(1))[0]["reasoning_content"] == ""
    assert "reasoning_content" not in conversation({**empty, "encrypted_content": "gAAAA"}, call(1))[0]


def test_reasoning_that_nothing_came_of_is_left_out() -> None:
    assert conversation(reasoning("a"), said("Hi", "user")) == [{"role": "user", "content": "Hi"}]


def test_messages_need_no_type_and_may_hold_plain_text() -> None:
    made = conversation({"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"})
    assert made == [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


def test_parts_of_a_question_stay_apart_and_those_of_an_answer_do_not() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    answer = [{"type": "output_text", "text": "c"}, {"type": "refusal", "refusal": "d"}]
    made = conversation({"role": "user", "content": parts}, {"role": "assistant", "content": answer}, output(1, parts))
    assert made[0]["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert made[1]["content"] == "cd"
    assert made[2]["content"] == "a\nb"


# --- refusals

WRONG: list[tuple[dict[str, Any], str, str]] = [
    *(({name: {"id": "x"}}, name, REFUSED[name]) for name in REFUSED),
    ({"input": None}, "input", "a string or a list"),
    ({"input": []}, "input", "at least one item"),
    ({"input": 7}, "input", "a string or a list"),
    ({"input": [reasoning("a")]}, "input", "no message"),
    ({"input": ["Hi"]}, "input[0]", "an object"),
    ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type", "`store: false`"),
    ({"input": [{"type": ["message"]}]}, "input[0].type", "one of message"),
    ({"input": [{"type": "message", "role": "tool", "content": "x"}]}, "input[0].role", "developer"),
    ({"input": [{"role": "user"}]}, "input[0].content", "a list of parts"),
    (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        "input[0].content[0].type",
        "reads text only",
    ),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text", "a string"),
    ({"input": [{"role": "user", "content": [7]}]}, "input[0].content[0].type", "is None; it must be `input_text`"),
    ({"input": [{"role": "user", "content": [{"type": 7}]}]}, "input[0].content[0].type", "is 7; it must be"),
    ({"input": [{"type": "reasoning"}]}, "input[0]", "`summary`"),
    ({"input": [{"type": "reasoning", "summary": ["x"]}]}, "input[0]", "a list of text parts"),
    ({"input": [{**call(1), "arguments": {}}]}, "input[0].arguments", "a string"),
    ({"input": [{**output(1), "call_id": None}]}, "input[0].call_id", "a string"),
    ({"instructions": []}, "instructions", "a string"),
    ({"max_output_tokens": 0}, "max_output_tokens", "positive"),
    ({"max_output_tokens": True}, "max_output_tokens", "positive"),
    ({"reasoning": "high"}, "reasoning", "an object"),
    ({"text": "json"}, "text", "an object"),
    ({"text": {"format": {"type": "xml"}}}, "text.format", "json_object"),
    ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format", "`schema`"),
    ({"text": {"format": []}}, "text.format", "json_object"),
    ({"tools": {"a": 1}}, "tools", "a list"),
    ({"tools": ["f"]}, "tools[0]", "object with a `type`"),
    ({"tools": [{"name": "f"}]}, "tools[0]", "an object with a `type`"),
    ({"tools": [{"type": "custom"}]}, "tools[0].name", "a string"),
    ({"tools": [{"type": "function", "name": ""}]}, "tools[0].name", "a string"),
    ({"tools": [{"type": "function", "name": 7}]}, "tools[0].name", "a string"),
    ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]}, "tools[0].tools[0].name", "a s"),
    ({"input": [{"type": "additional_tools", "tools": "f"}]}, "input[0].tools", "a list of tools"),
    ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice", "forces 'web_search'"),
    (
        {"tools": [{"type": "web_search"}], "tool_choice": "required"},
        "tool_choice",
        "no function or custom tool to call",
    ),
    ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice", "a list of objects"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "often", "tools": []}}, "tool_choice", '"required"'),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name", "not inside `function`"),
    ({"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "mcp"}}, "tool_choice", '"required"'),
    ({"tools": [{"type": "function", "name": "f"}], "tool_choice": []}, "tool_choice", '"required"'),
]


@pytest.mark.parametrize(("fields", "param", "told"), WRONG)
def test_what_is_wrong_is_named_with_what_would_be_right(fields: dict[str, Any], param: str, told: str) -> None:
    with pytest.raises(BadRequest) as caught:
        request(**fields)
    assert caught.value.param == param
    assert told in caught.value.message


def test_the_documentation_names_every_field_that_is_not_taken() -> None:
    chapter = (Path(__file__).parents[3] / "docs" / "api.md").read_text().partition("## OpenAI's Responses")[2]
    told = set(re.findall(r"`([a-z_]+)`", chapter.partition("\n## ")[0]))
    assert sorted((REFUSED.keys() | IGNORED | TRANSLATED) - told) == ["text"]  # told as `text.format`


# --- what an agent cannot take back

IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
NOTE = "[input_image: left out, the model reads text only]"


def test_what_a_tool_has_shown_becomes_a_note() -> None:
    made = conversation(call(1), output(1, [{"type": "input_text", "text": "here"}, IMAGE]), output(1, [IMAGE]))
    assert [message["content"] for message in made[1:]] == [f"here\n{NOTE}", NOTE]


def test_an_image_of_the_user_is_refused_where_it_is_new_and_a_note_later() -> None:
    shown = {"role": "user", "content": [{"type": "input_text", "text": "this?"}, IMAGE]}
    with pytest.raises(BadRequest, match="reads text only"):
        conversation(said("Hi", "user"), shown)
    parts = conversation(shown, said("I cannot see it."), said("Well", "user"))[0]["content"]
    assert [part["text"] for part in parts] == ["this?", NOTE]
    assert conversation({"role": "assistant", "content": [IMAGE]}, said("Hi", "user"))[0]["content"] == NOTE


@pytest.mark.parametrize("after", [said("I cannot see it."), call(1), {"role": ["user"]}, {"role": "tool"}])
def test_an_image_before_an_item_of_the_model_is_old(after: dict[str, Any]) -> None:
    items = [{"role": "user", "content": [IMAGE]}, after, said("Be brief.", "developer")]
    assert _newest(items) == -1
    assert _newest([*items, said("Hi", "user"), said("Be brief.", "system")]) == 3


@pytest.mark.parametrize(
    ("said", "read"),
    [({"ok": True}, '{"ok":true}'), (None, ""), ([], ""), ([{"type": "summary_text", "text": "a"}], "a")],
)
def test_whatever_a_tool_said_is_read(said: Any, read: str) -> None:
    assert conversation(call(1), output(1, said))[1]["content"] == read


def test_a_custom_call_and_its_output_are_a_call_and_its_result() -> None:
    own = {"type": "custom_tool_call", "call_id": "c1", "name": "apply_patch", "input": "*** Begin"}
    made = conversation(own, {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"})
    function = {"name": "apply_patch", "arguments": '{"input":"*** Begin"}'}
    assert made[0]["tool_calls"] == [{"id": "c1", "type": "function", "function": function}]
    assert made[1] == {"role": "tool", "tool_call_id": "c1", "content": "Done"}


def test_a_call_in_a_namespace_has_the_name_of_the_function() -> None:
    made = conversation({**call(1), "namespace": "agents"}, output(1))
    assert made[0]["tool_calls"][0]["function"]["name"] == "agents__get_weather"


@pytest.mark.parametrize(
    ("made", "answered", "name", "arguments", "told"),
    [
        (
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"]}},
            {"type": "local_shell_call_output", "output": "a.txt"},
            "local_shell",
            '{"action":{"type":"exec","command":["ls"]}}',
            "a.txt",
        ),
        (
            {"type": "shell_call", "action": {"commands": ["ls"]}},
            {"type": "shell_call_output", "output": [{"stdout": "a.txt", "stderr": "", "outcome": {"type": "exit"}}]},
            "shell",
            '{"action":{"commands":["ls"]}}',
            "[shell_call_output]\na.txt",
        ),
        (
            {"type": "computer_call", "action": {"type": "screenshot"}},
            {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "x"}},
            "computer",
            '{"action":{"type":"screenshot"}}',
            "[computer_call_output: left out, the model reads text only]",
        ),
        (
            {"type": "tool_search_call", "execution": "client", "arguments": {"query": "q"}},
            {"type": "tool_search_output", "tools": []},
            "tool_search",
            '{"arguments":{"query":"q"}}',
            "[tool_search_output: left out, the model reads text only]",
        ),
    ],
)
def test_calls_of_openais_own_tools_are_kept_with_their_output(
    made: dict[str, Any], answered: dict[str, Any], name: str, arguments: str, told: str
) -> None:
    own = {"id": "x", "status": "completed", "call_id": "c1"}
    turn = conversation({**made, **own}, {**answered, "call_id": "c1"}, said("Hi", "user"))
    assert turn[0]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    ]
    assert turn[1] == {"role": "tool", "tool_call_id": "c1", "content": told}


@pytest.mark.parametrize(
    "item",
    [
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "tides"},
        },
        {"type": "local_shell_call", "call_id": "alone", "action": {"command": ["ls"]}},
        {"type": "local_shell_call_output", "call_id": "alone", "output": "a.txt"},
        {"type": "compaction", "encrypted_content": "AAAA"},
        {"type": "compaction_summary", "encrypted_content": "AAAA"},
        {"type": "image_generation_call", "id": "ig_1", "result": "AAAA"},
        {"type": "mcp_list_tools", "server_label": "s", "tools": []},
        {"type": "mcp_approval_request", "id": "a", "name": "n", "arguments": "{}"},
        {"type": "ghost_snapshot", "call_id": ["odd"]},
        {"type": "of_tomorrow"},
    ],
)
def test_every_other_item_becomes_a_note(item: dict[str, Any]) -> None:
    made = conversation(said("Hi", "user"), item, said("Go on", "user"))
    assert [message["role"] for message in made] == ["user", "assistant", "user"]
    assert made[1]["content"].startswith(f"[{item['type']}")
    assert "tool_calls" not in made[1]


def test_an_unknown_item_with_a_role_is_said_by_it() -> None:
    item = {"type": "agent_message", "role": "user", "content": [{"type": "text", "text": "done"}]}
    assert conversation(item)[0] == {"role": "user", "content": "[agent_message]\ndone"}


def test_an_assistant_without_content_has_said_nothing() -> None:
    made = conversation({"role": "assistant", "content": None}, call(1), output(1))
    assert (made[0]["content"], len(made[0]["tool_calls"])) == ("", 1)


def test_sealed_reasoning_needs_no_text() -> None:
    sealed = {"type": "reasoning", "id": "rs_1", "summary": None, "encrypted_content": "AAAA"}
    assert "reasoning_content" not in conversation(sealed, call(1), output(1))[0]
