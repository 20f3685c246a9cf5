"""Whatever JSON comes as a request of Responses or Messages is translated or refused: nothing else is raised."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.surface.anthropic.decode import chat_body
from gateway.surface.responses.decode import chat_request
from gateway.surface.responses.earlier import NO_EARLIER, record, refers
from gateway.surface.responses.tools import read_tools

Json = dict[str, Any]
TYPES = (
    *("message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "local_shell_call"),
    *("local_shell_call_output", "additional_tools", "compaction", "item_reference", "function", "custom", "namespace"),
    *(
        "web_search",
        "allowed_tools",
        "input_text",
        "output_text",
        "input_image",
        "text",
        "image",
        "document",
        "tool_use",
    ),
    *("tool_result", "thinking", "server_tool_use", "bash_20250124", "tool", "auto", "any", "enabled", "json_schema"),
)
NAMES = ("a", "b__c", "f" * 70, "c1", "", "required", "none")
ROLES = ("user", "assistant", "system", "developer", "tool")
FIELDS = (
    *("type", "role", "content", "name", "call_id", "id", "arguments", "input", "output", "text", "tools", "namespace"),
    *("source", "summary", "encrypted_content", "mode", "format", "definition", "tool_use_id", "thinking", "schema"),
    *("data", "description", "parameters", "input_schema", "is_error", "action"),
)
leaf = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from((*TYPES, *NAMES, *ROLES))
named = st.fixed_dictionaries(
    {}, optional={"type": st.sampled_from(TYPES), "role": st.sampled_from(ROLES), "name": st.sampled_from(NAMES)}
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda one, two: {**two, **one}, named, st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
    )


anything = st.recursive(leaf, lambda inner: st.lists(inner, max_size=4) | objects(inner), max_leaves=20)
listed = st.lists(objects(anything), max_size=5) | anything


@settings(max_examples=150)
@given(
    st.fixed_dictionaries(
        {"input": listed},
        optional={"tools": listed, "tool_choice": objects(anything) | leaf, "text": anything, "reasoning": anything},
    )
)
def test_responses(body: Json) -> None:
    assert isinstance(refers(body), bool)
    try:
        tools = read_tools(body)
        chat = chat_request(body, tools)
    except BadRequest:
        return
    assert all(isinstance(message["role"], str) for message in chat["messages"])
    assert all(isinstance(tool["function"]["name"], str) for tool in chat.get("tools", ()))
    kept = record({"id": "resp_x", "output": []}, body["input"], NO_EARLIER)
    assert all(item["id"] for item in kept.items())


@settings(max_examples=150)
@given(
    st.fixed_dictionaries(
        {"messages": st.lists(objects(anything), max_size=4) | anything},
        optional={"tools": listed, "tool_choice": objects(anything) | leaf, "system": anything, "thinking": anything},
    )
)
def test_messages(body: Json) -> None:
    try:
        chat = chat_body(body)
    except BadRequest:
        return
    assert all(isinstance(message["role"], str) for message in chat["messages"])
    assert ("tool_choice" in chat) <= ("tools" in chat)
