"""What an Anthropic request comes to as a chat completion."""

from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.surface.anthropic.decode import chat_body

Json = dict[str, Any]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}


def text(words: str, **more: Any) -> Json:
    return {"type": "text", "text": words, **more}


def user(*blocks: Json) -> Json:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def use(name: str, identity: str = "call_0", **arguments: Any) -> Json:
    return {"type": "tool_use", "id": identity, "name": name, "input": arguments}


def result(content: Any, identity: str = "call_0", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": identity, "content": content, **more}


def messages(*said: Json, **fields: Any) -> list[Json]:
    chat = chat_body({"model": "m", "messages": list(said), **fields})
    listed: list[Json] = chat["messages"]
    return listed


def fields(**more: Any) -> Json:
    chat = chat_body({"model": "m", "messages": [], **more})
    return {name: value for name, value in chat.items() if name not in ("model", "messages")}


def test_a_plain_question() -> None:
    asked = {"model": "m:nitro", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    assert chat_body(asked) == asked


def test_text_reads_the_same_as_a_string_and_as_blocks() -> None:
    cached = text("Hi", cache_control={"type": "ephemeral"})
    assert messages(user(cached)) == messages({"role": "user", "content": "Hi"}) == [{"role": "user", "content": "Hi"}]
    assert messages(user(text("One"), text("Two"))) == [{"role": "user", "content": "One\n\nTwo"}]
    assert messages(assistant(text("Hi"))) == [{"role": "assistant", "content": "Hi"}]


def test_the_system_prompt_comes_first() -> None:
    asked = {"role": "user", "content": "Hi"}
    wanted = [{"role": "system", "content": "Be brief.\n\nBe kind."}, asked]
    assert messages(asked, system="Be brief.\n\nBe kind.") == wanted
    assert messages(asked, system=[text("Be brief."), text("Be kind.", cache_control={})]) == wanted
    assert messages(asked, system=[]) == messages(asked, system=None) == messages(asked) == [asked]


def test_a_later_system_text_joins_what_it_follows() -> None:
    asked, answered = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    later = {"role": "system", "content": [text("Be brief.")]}
    assert messages(asked, later) == [{"role": "user", "content": "Hi\n\nBe brief."}]
    assert messages(user(result("sunny")), later)[0]["content"] == "sunny\n\nBe brief."
    assert messages(answered, later) == [answered, {"role": "system", "content": "Be brief."}]
    assert messages(later, asked) == [{"role": "system", "content": "Be brief."}, asked]
    assert asked["content"] == "Hi", "the client's own is not changed"


def test_claude_codes_billing_line_is_left_out_so_that_prompts_stay_cached() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1.177.01c; cc_entrypoint=cli; cch=36ee5;"
    asked = {"role": "user", "content": line}
    wanted = [{"role": "system", "content": "Be brief."}, asked]
    assert messages(asked, system=[text(line), text("Be brief.")]) == wanted
    assert messages(asked, system=f"{line}\nBe brief.") == wanted
    assert messages(asked, system=line) == [asked]


def test_a_tool_turn() -> None:
    said = messages(
        user(text("Weather?")),
        assistant(
            {"type": "thinking", "thinking": "Two cities.", "signature": "msg_1"},
            {"type": "redacted_thinking", "data": "AAAA"},
            text("Let me look."),
            use("weather", "call_0", city="Paris"),
            use("weather", "call_1", city="Köln"),
        ),
        user(text("Go on."), result("sunny", "call_0"), result([text("rain"), text("wind")], "call_1")),
    )
    assert said[1] == {
        "role": "assistant",
        "content": "Let me look.",
        "reasoning_content": "Two cities.",
        "tool_calls": [
            {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}},
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Köln"}'}},
        ],
    }
    assert said[2:] == [
        {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain\n\nwind"},
        {"role": "user", "content": "Go on."},
    ]


def test_a_call_without_words_has_null_content() -> None:
    (said,) = messages(assistant(use("now")))
    assert said["content"] is None
    assert said["tool_calls"][0]["function"]["arguments"] == "{}"
    assert "reasoning_content" not in said


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (result("no such city", is_error=True), "Error: no such city"),
        (result("Error: no such city", is_error=True), "Error: no such city"),
        (result("fine", is_error=False), "fine"),
        ({"type": "tool_result", "tool_use_id": "call_0"}, ""),
        (result([text("a screenshot"), IMAGE]), "a screenshot\n\n[image: left out, the model reads text only]"),
        (result([{"type": "document", "source": {"type": "text", "data": "the file"}}]), "the file"),
    ],
)
def test_tool_results(block: Json, content: str) -> None:
    assert messages(user(block)) == [{"role": "tool", "tool_call_id": "call_0", "content": content}]


def test_tools() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    plain = {"name": "weather", "description": "The weather", "input_schema": schema, "cache_control": {}}
    strict = {"type": "custom", "name": "weather", "input_schema": schema, "strict": True}
    assert fields(tools=[plain, strict])["tools"] == [
        {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": schema}},
        {"type": "function", "function": {"name": "weather", "parameters": schema, "strict": True}},
    ]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"tool_choice": "auto", "parallel_tool_calls": False}),
    ],
)
def test_tool_choice(choice: Json, wanted: Json) -> None:
    (tool,) = fields(tools=[{"name": "f"}])["tools"]
    assert fields(tools=[{"name": "f"}], tool_choice=choice) == {"tools": [tool], **wanted}
    assert fields(tools=[], tool_choice=choice) == fields(tool_choice=choice) == {}, "it means nothing without tools"


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"enabled": True}),
        ({"thinking": {"type": "adaptive"}}, {"enabled": True}),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, {"enabled": True, "effort": "max"}),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, {"enabled": False}),
    ],
)
def test_thinking(asked: Json, wanted: Json) -> None:
    assert fields(**asked) == {"reasoning": wanted}


def test_other_fields() -> None:
    schema = {"type": "object"}
    assert fields(
        stop_sequences=["END"],
        metadata={"user_id": "u1"},
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        provider={"only": ["novita"]},
        output_config={"format": {"type": "json_schema", "schema": schema}},
        service_tier="auto",
        container=None,
        cache_control={"type": "ephemeral"},
    ) == {
        "stop": ["END"],
        "user": "u1",
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "provider": {"only": ["novita"]},
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    }


DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]

REFUSED: list[tuple[Json, str]] = [
    ({"messages": None}, "messages"),
    ({"messages": ["Hi"]}, "messages[0]"),
    ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [user(text("Hi")), user("Hi")]}, "messages[1].content[0]"),  # type: ignore[arg-type]
    ({"messages": [user({"text": "Hi"})]}, "messages[0].content[0].type"),
    ({"messages": [user({"type": "text", "text": 7})]}, "messages[0].content[0].text"),
    ({"messages": [user(text("What is this?"), IMAGE)]}, "messages[0].content[1]"),
    ({"messages": [user(PDF)]}, "messages[0].content[0]"),
    ({"messages": [assistant({"type": "thinking"})]}, "messages[0].content[0].thinking"),
    ({"messages": [assistant({"type": "tool_use", "name": "f", "input": []})]}, "messages[0].content[0].input"),
    ({"messages": [assistant({"type": "tool_use", "name": "f"})]}, "messages[0].content[0].id"),
    ({"messages": [assistant(use("f", deep=DEEP))]}, "messages[0].content[0].input"),
    ({"messages": [user(result(7))]}, "messages[0].content[0].content"),
    ({"system": 7}, "system"),
    ({"system": [IMAGE]}, "system[0]"),
    ({"tools": {"name": "f"}}, "tools"),
    ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
    ({"tools": [{"name": "f", "input_schema": "object"}]}, "tools[0].input_schema"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"tool_choice": {"type": []}}, "tool_choice.type"),
    ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ({"thinking": {"type": "often"}}, "thinking.type"),
    ({"thinking": {"type": {}}}, "thinking.type"),
    ({"metadata": "me"}, "metadata"),
    ({"output_config": {"format": "json"}}, "format"),
    ({"mcp_servers": [{"url": "https://tools.example"}]}, "mcp_servers"),
]


@pytest.mark.parametrize(("asked", "param"), REFUSED)
def test_what_cannot_be_said_is_refused_with_its_place(asked: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat_body({"model": "m", "messages": [], **asked})
    assert caught.value.param == param
    assert param in caught.value.message


# --- what an agent cannot take back

NOTE = "[image: left out, the model reads text only]"
FOUND = {"type": "web_search_result", "title": "Tides", "url": "https://t.example", "encrypted_content": "QUFB"}


def test_a_session_that_used_anthropics_own_tools_goes_on() -> None:
    used = assistant(
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "tides"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [FOUND]},
        {"type": "mcp_tool_use", "id": "m1", "name": "ask", "server_name": "docs", "input": {}},
        {"type": "mcp_tool_result", "tool_use_id": "m1", "content": [text("words")]},
        {"type": "code_execution_tool_result", "tool_use_id": "c1", "content": {"stdout": "1", "return_code": 0}},
        {"type": "of_tomorrow"},
        text("High at six.", citations=[{"type": "web_search_result_location", "cited_text": "x", "url": "y"}]),
    )
    (told,) = messages(used)
    for words in ('{"query":"tides"}', "Tides\nhttps://t.example", "[mcp_tool_result]\nwords", "High at six."):
        assert words in told["content"]
    assert told["content"].count("\n\n") == 6
    assert "QUFB" not in told["content"]
    assert "tool_calls" not in told


@pytest.mark.parametrize(
    ("shown", "content"),
    [
        (
            {"type": "search_result", "source": "s", "title": "t", "content": [text("THE TEXT")]},
            "[search_result]\nt\ns\nTHE TEXT",
        ),
        ({"type": "document", "source": {"type": "content", "content": [text("words")]}}, "[document]\nwords"),
        ({"type": "tool_reference", "tool_name": "Read"}, "[tool_reference]\nRead"),
        (IMAGE, NOTE),
        (PDF, NOTE.replace("image", "document")),
    ],
)
def test_what_a_tool_has_shown(shown: Json, content: str) -> None:
    assert messages(user(result([shown])))[0]["content"] == content


def test_an_image_is_refused_where_it_is_new_and_a_note_elsewhere() -> None:
    shown, answered = user(text("This?"), IMAGE), assistant(text("I cannot see it."))
    environment = {"role": "system", "content": "It is Sunday."}
    for new in ([shown], [answered, shown], [answered, shown, environment], [shown, shown]):
        with pytest.raises(BadRequest, match="reads text only"):
            messages(*new)
    assert messages(shown, answered)[0]["content"] == f"This?\n\n{NOTE}", "the model continues its own words"
    assert messages(shown, answered, user(text("Well?")))[0]["content"] == f"This?\n\n{NOTE}"
    assert messages(shown, user(text("Hello?")))[0]["content"] == f"This?\n\n{NOTE}", "it went wrong before"
    assert messages(user(result("read"), PDF))[1]["content"] == NOTE.replace("image", "document"), "a tool's"
    assert messages(user(result("read")), user(IMAGE))[1]["content"] == NOTE, "a tool's, in a message of its own"


@pytest.mark.parametrize(
    "block", [{"type": "container_upload", "file_id": "f"}, {"type": "search_result", "title": "t", "content": []}]
)
def test_other_blocks_of_a_user_are_notes(block: Json) -> None:
    assert messages(user(block))[0]["content"].startswith(f"[{block['type']}")


# --- tools without a schema


@pytest.mark.parametrize(
    ("kind", "name", "arguments"),
    [
        ("bash_20250124", "bash", {"command", "restart"}),
        ("bash_20300101", "bash", {"command", "restart"}),
        ("text_editor_20250124", "str_replace_editor", {"command", "path", "old_str", "new_str", "insert_line"}),
        ("text_editor_20250728", "str_replace_based_edit_tool", {"command", "path", "view_range", "file_text"}),
        ("memory_20250818", "memory", {"command", "path", "old_path", "new_path", "insert_text"}),
    ],
)
def test_tools_that_clients_run_have_the_published_schemas(kind: str, name: str, arguments: set[str]) -> None:
    (tool,) = fields(tools=[{"type": kind, "name": name, "max_characters": 9}])["tools"]
    assert tool["function"]["name"] == name
    assert arguments <= tool["function"]["parameters"]["properties"].keys()
    assert tool["function"]["description"]


HOSTED = ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "computer_20250124", "mcp_toolset"]


@pytest.mark.parametrize("kind", [*HOSTED, "tool_search_tool_regex_20251119", "of_tomorrow"])
def test_server_tools_are_left_out_unless_one_is_forced(kind: str) -> None:
    hosted, own = {"type": kind, "name": "theirs"}, {"name": "f", "input_schema": {}}
    assert [tool["function"]["name"] for tool in fields(tools=[hosted, own])["tools"]] == ["f"]
    assert fields(tools=[hosted], tool_choice={"type": "auto"}) == {}
    for forced in ({"type": "tool", "name": "theirs"}, {"type": "any"}):
        with pytest.raises(BadRequest, match="Anthropic's servers run") as caught:
            fields(tools=[hosted], tool_choice=forced)
        assert caught.value.param == "tool_choice"
    assert fields(tools=[hosted, own], tool_choice={"type": "any"})["tool_choice"] == "required"
