"""What stands for a block that the model cannot read: its text where it holds any, else a line that says what it was.

    {"type": "search_result", "title", "content": [text]} ──> "[search_result]" and the words in it
    {"type": "image", "source": {"type": "base64", ...}}  ──> "[image: left out, the model reads text only]"

Agents send their whole history with every request, and cannot take anything back. A block that another model's service
put there, or that a tool returned, must never end the conversation.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.document.nesting import DEEPEST

OMITTED = "[{}: left out, the model reads text only]"
LONGEST_KIND = 64  # characters
_WORDS = (  # where blocks and items keep what can be read, in the order in which it makes sense
    *("title", "name", "tool_name", "server_label", "url", "source", "query", "queries", "action", "command", "code"),
    *("operation", "arguments", "input", "text", "thinking", "refusal", "transcript", "summary", "content", "results"),
    *("output", "outputs", "logs", "stdout", "stderr", "error", "error_code", "message"),
)
_OF_A_CALL = frozenset({"action", "operation", "arguments", "input"})  # objects of any shape
_NO_TEXT = frozenset(  # types of blocks, and of their sources, that hold none
    {"base64", "file", "image", "image_url", "input_audio", "input_file", "input_image", "url"}
)


def note(block: Mapping[str, Any]) -> str:
    """One text for a block or item of any type."""
    kind = str(block.get("type") or "block")[:LONGEST_KIND]
    found = list(_words(block, DEEPEST))
    words = [text for text in found if text is not None]
    if not words:
        return OMITTED.format(kind)
    return "\n".join([f"[{kind}]", *words, *([] if len(words) == len(found) else [OMITTED.format("the rest")])])


def _words(value: Any, levels: int) -> Iterator[str | None]:
    """Every text in it that is meant to be read; None for what holds none."""
    if isinstance(value, str):
        if value and not value.isspace():
            yield value
    elif isinstance(value, list) and levels:
        for one in value:
            yield from _words(one, levels - 1)
    elif isinstance(value, dict) and levels:
        yield from _words_of(value, levels - 1)


def _words_of(block: Mapping[str, Any], levels: int) -> Iterator[str | None]:
    kind = block.get("type")
    if isinstance(kind, str) and kind in _NO_TEXT:
        yield None
        return
    for name in _WORDS:
        value = block.get(name)
        if name in _OF_A_CALL and isinstance(value, dict):
            yield _json(value)
        elif value is not None:
            yield from _words(value, levels)
    if kind == "text" and isinstance(block.get("data"), str):  # the source of a document
        yield block["data"]


def _json(value: Any) -> str | None:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # too deep to be written again
        return None
