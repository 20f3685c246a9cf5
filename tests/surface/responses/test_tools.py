"""The tools of Responses: which functions they are in chat, and how a call is told."""

from typing import Any

import orjson
import pytest

from gateway.surface.responses.decode import chat_request
from gateway.surface.responses.encode import ResponseAnswer
from gateway.surface.responses.tools import LONGEST_NAME, ClientTool, chat_name, read_tools

Json = dict[str, Any]
SCHEMA: Json = {"type": "object", "properties": {"id": {"type": "string"}}}
PLAIN: Json = {"type": "function", "name": "exec", "parameters": SCHEMA, "strict": False}
AGENTS: Json = {
    "type": "namespace",
    "name": "agents",
    "description": "Sub-agents.",
    "tools": [
        {"type": "function", "name": "spawn", "description": "Start one.", "parameters": SCHEMA},
        {"type": "custom", "name": "tell"},
    ],
}
PATCH: Json = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
HOSTED: list[Json] = [
    *({"type": kind} for kind in ("web_search", "web_search_preview", "local_shell", "image_generation", "computer")),
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "mcp", "server_label": "s", "server_url": "https://s.example"},
    {"type": "tool_search"},
    {"type": "of_tomorrow", "name": "x"},
]


def fields(**body: Any) -> Json:
    return read_tools(body).fields


def names(**body: Any) -> list[str]:
    return [tool["function"]["name"] for tool in fields(**body)["tools"]]


def choice(chosen: Any, *tools: Json) -> Any:
    return fields(tools=list(tools or (PLAIN, AGENTS, PATCH)), tool_choice=chosen).get("tool_choice")


# --- what a model can call


def test_namespaces_are_flattened_and_tell_about_themselves_once() -> None:
    assert names(tools=[PLAIN, AGENTS]) == ["exec", "agents__spawn", "agents__tell"]
    _, spawn, tell = fields(tools=[PLAIN, AGENTS])["tools"]
    assert spawn["function"]["description"] == "Sub-agents.\n\nStart one."
    assert spawn["function"]["parameters"] == SCHEMA
    assert "description" not in tell["function"]


def test_a_custom_tool_is_a_function_with_one_text_and_shows_its_grammar() -> None:
    (tool,) = fields(tools=[PATCH])["tools"]
    assert tool["function"]["name"] == "apply_patch"
    assert tool["function"]["parameters"]["required"] == ["input"]
    assert tool["function"]["description"].startswith("Edits files.\n\n`input` must follow this lark grammar:\nstart")
    (bare,) = fields(tools=[{"type": "custom", "name": "say", "format": {"type": "text"}}])["tools"]
    assert "description" not in bare["function"]


@pytest.mark.parametrize("hosted", HOSTED, ids=lambda tool: tool["type"])
def test_what_others_run_is_left_out(hosted: Json) -> None:
    assert names(tools=[hosted, PLAIN]) == ["exec"]
    assert fields(tools=[hosted]) == fields(tools=[hosted], tool_choice="auto", parallel_tool_calls=True) == {}


def test_tools_may_come_in_the_input() -> None:
    late = [{"type": kind, "tools": [PLAIN, {"type": "mcp"}]} for kind in ("additional_tools", "tool_search_output")]
    for item in late:
        assert names(input=[item, {"role": "user", "content": "Hi"}]) == ["exec"]
    assert names(tools=[AGENTS], input=late) == ["agents__spawn", "agents__tell", "exec"], "each once"


def test_additional_tools_say_nothing_to_the_model() -> None:
    body = {
        "input": [
            {"type": "additional_tools", "role": "developer", "tools": [PLAIN]},
            {"role": "user", "content": "Hi"},
        ]
    }
    assert chat_request(body, read_tools(body))["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("namespace", "name", "told"),
    [
        (None, "exec", "exec"),
        ("", "exec", "exec"),
        ("agents", "spawn", "agents__spawn"),
        ("mcp__docs__", "find", "mcp__docs__find"),
    ],
)
def test_names_in_chat(namespace: str | None, name: str, told: str) -> None:
    assert chat_name(name, namespace) == told


def test_names_that_hosts_would_refuse_are_made_to_fit_and_stay_apart() -> None:
    odd, long = chat_name("find", "my.docs"), chat_name("f" * 60, "agents")
    assert odd.startswith("my_docs__find_")
    assert odd != chat_name("find", "my/docs")
    assert len(long) == LONGEST_NAME
    assert long != chat_name("f" * 61, "agents")


# --- which of them it may call


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ("required", "required"),
        ({"type": "function", "name": "exec"}, "exec"),
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "function", "name": "spawn", "namespace": "agents"}, "agents__spawn"),
        ({"type": "function", "name": "spawn"}, "agents__spawn"),
        ({"type": "function", "name": "unknown"}, "unknown"),
    ],
)
def test_a_choice_by_the_names_of_chat(chosen: Any, told: str) -> None:
    wanted = told if isinstance(chosen, str) else {"type": "function", "function": {"name": told}}
    assert choice(chosen) == wanted


@pytest.mark.parametrize(
    ("listed", "left"),
    [
        ([{"type": "function", "name": "exec"}], ["exec"]),
        ([{"type": "custom", "name": "apply_patch"}, {"type": "web_search"}], ["apply_patch"]),
        ([{"type": "namespace", "name": "agents"}], ["agents__spawn", "agents__tell"]),
        ([{"type": "function", "name": "spawn", "namespace": "agents"}], ["agents__spawn"]),
    ],
)
def test_allowed_tools_are_the_only_ones(listed: list[Json], left: list[str]) -> None:
    for mode in ("auto", "required"):
        allowed = {"type": "allowed_tools", "mode": mode, "tools": listed}
        made = fields(tools=[PLAIN, AGENTS, PATCH, *HOSTED], tool_choice=allowed, parallel_tool_calls=False)
        assert [tool["function"]["name"] for tool in made["tools"]] == left
        assert (made["tool_choice"], made["parallel_tool_calls"]) == (mode, False)


def test_with_no_allowed_tool_left_nothing_is_said_about_tools() -> None:
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "s"}]}
    assert fields(tools=[PLAIN, *HOSTED], tool_choice=allowed) == {}


# --- how a call is told


def told(name: str, arguments: str, *pieces: str, status: str = "tool_calls") -> tuple[list[Json], Json]:
    """The events of a streamed call, and its item at the end."""
    to = ResponseAnswer({}, "abc", lambda: 1.0, read_tools({"tools": [PLAIN, AGENTS, PATCH]}))
    first = {"index": 0, "id": "call_1", "function": {"name": name, "arguments": ""}}
    rest = [{"index": 0, "function": {"arguments": piece}} for piece in pieces or (arguments,)]
    chunks = [{"model": "m", "choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in (first, *rest)]
    end = {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": status}]}
    sent = b"".join([*map(to.chunk, [*chunks, end]), to.done()])
    events = [orjson.loads(line[6:]) for line in sent.split(b"\n") if line.startswith(b"data: ")]
    whole: Json = orjson.loads(orjson.dumps(events[-1]["response"]["output"][0]))
    return events, whole


def test_a_function_of_a_namespace_is_called_by_the_names_that_the_client_gave() -> None:
    for name in ("agents__spawn", "spawn"):  # models leave a namespace out now and then
        events, item = told(name, '{"id":"a"}')
        assert (item["type"], item["namespace"], item["name"]) == ("function_call", "agents", "spawn")
        assert all(event["item"]["namespace"] == "agents" for event in events if "item" in event)
    assert "namespace" not in told("exec", "{}")[1]


def test_a_custom_tool_is_called_with_its_text() -> None:
    patch = "*** Begin Patch\n+é\n"
    arguments = orjson.dumps({"input": patch}).decode()
    events, item = told("apply_patch", arguments, arguments[:9], arguments[9:])
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", patch)
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[2:-1] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    assert events[2]["item"]["input"] == ""
    assert events[3]["delta"] == events[4]["input"] == patch
    assert events[3]["item_id"] == item["id"]


@pytest.mark.parametrize("arguments", ["*** Begin Patch", '"*** Begin Patch"', '{"patch": "*** Begin Patch"}'])
def test_a_model_that_leaves_out_the_json_is_understood(arguments: str) -> None:
    assert "*** Begin Patch" in told("apply_patch", arguments)[1]["input"]


def test_a_name_of_no_known_tool_is_sent_unchanged() -> None:
    assert read_tools({"tools": [PLAIN]}).called("else") == ClientTool("else")
    twice = [AGENTS, AGENTS | {"name": "others"}]
    assert read_tools({"tools": twice}).called("spawn") == ClientTool("spawn"), "two could be meant"
