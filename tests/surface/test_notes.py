"""What stands for blocks and items that the model cannot read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.surface.notes import MOST_TEXTS, note

Json = dict[str, Any]
LEFT_OUT = "left out, the model reads text only]"
IMAGE: Json = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
FOUND: Json = {"type": "web_search_result", "title": "Tides", "url": "https://t.example", "encrypted_content": "QUFB"}


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        (IMAGE, "image"),
        ({"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"}, "input_image"),
        ({"type": "input_file", "filename": "a.pdf", "file_data": "AAAA"}, "input_file"),
        ({"type": "document", "source": {"type": "base64", "data": "AAAA"}}, "document"),
        ({"type": "container_upload", "file_id": "file_1"}, "container_upload"),
        ({"type": "redacted_thinking", "data": "AAAA"}, "redacted_thinking"),
        ({"type": "compaction", "id": "cmp_1", "encrypted_content": "AAAA"}, "compaction"),
        (
            {"type": "code_execution_tool_result", "content": {"type": "encrypted", "encrypted_stdout": "A"}},
            "code_exec",
        ),
        ({"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}, "web_search_tool_result"),
        (
            {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "x"}},
            "computer_call",
        ),
        ({}, "block"),
    ],
)
def test_what_holds_no_text_is_named(block: Json, kind: str) -> None:
    assert note(block).startswith(f"[{kind}")
    assert note(block).endswith(LEFT_OUT)
    assert "AAAA" not in note(block)


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (
            {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "words"}]},
            "[search_result]\nt\ns\nwords",
        ),
        ({"type": "document", "title": "t", "source": {"type": "text", "data": "words"}}, "[document]\nt\nwords"),
        (
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "words"}]}},
            "[document]\nwords",
        ),
        ({"type": "web_search_tool_result", "content": [FOUND]}, "[web_search_tool_result]\nTides\nhttps://t.example"),
        (
            {"type": "web_search_tool_result", "content": {"type": "error", "error_code": "max_uses_exceeded"}},
            "[web_search_tool_result]\nmax_uses_exceeded",
        ),
        (
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "tides"}},
            '[server_tool_use]\nweb_search\n{"query":"tides"}',
        ),
        (
            {"type": "bash_code_execution_tool_result", "content": {"type": "result", "stdout": "1", "stderr": ""}},
            "[bash_code_execution_tool_result]\n1",
        ),
        (
            {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "tides"}},
            '[web_search_call]\n{"type":"search","query":"tides"}',
        ),
        (
            {"type": "file_search_call", "queries": ["tides"], "results": [{"filename": "a", "text": "words"}]},
            "[file_search_call]\ntides\nwords",
        ),
        (
            {"type": "mcp_call", "server_label": "s", "name": "ask", "arguments": "{}", "output": "words"},
            "[mcp_call]\nask\ns\n{}\nwords",
        ),
        ({"type": "tool_reference", "tool_name": "Read"}, "[tool_reference]\nRead"),
    ],
)
def test_text_inside_is_text(block: Json, told: str) -> None:
    assert note(block) == told


def test_a_part_without_text_is_mentioned() -> None:
    shown = {"type": "mcp_tool_result", "content": [{"type": "text", "text": "words"}, IMAGE]}
    assert note(shown) == f"[mcp_tool_result]\nwords\n[the rest: {LEFT_OUT}"


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "content", "source", "input", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["type", "content", "output", "input", "action"]), json))
def test_any_json_has_a_note(block: Json) -> None:
    assert note(block)


def test_what_is_nested_without_end_is_left_out() -> None:
    deep: Any = "words"
    for _ in range(600):
        deep = {"content": [deep]}
    assert note({"type": "odd", "content": deep, "input": deep}).endswith(LEFT_OUT)


def test_as_many_texts_as_may_be_are_all_there() -> None:
    told = note({"type": "odd", "content": ["a"] * MOST_TEXTS})
    assert told.count("a") >= MOST_TEXTS
    assert LEFT_OUT not in told


def test_what_has_texts_without_end_is_cut() -> None:
    many = ["a"] * (MOST_TEXTS + 5)
    told = note({"type": "odd", "content": many, "output": [{"text": "b"}, many]})
    assert told.count("a\n") == MOST_TEXTS
    assert told.endswith(f"[the rest: {LEFT_OUT}")


def test_lists_within_lists_share_one_bound() -> None:
    inner = ["b"] * (MOST_TEXTS + 5)
    assert note({"type": "odd", "content": ["a", inner]}).count("b\n") == MOST_TEXTS - 1
