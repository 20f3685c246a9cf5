"""What stands for a block that the model cannot read: its text where it holds any, else a line that says what it was.

    {"type": "search_result", "title", "content": [text]} ──> "[search_result]" and the words in it
    {"type": "image", "source": {"type": "base64", ...}}  ──> "[image: left out, the model reads text only]"

Agents send their whole history with every request, and cannot take anything back. A block that another model's service
put there, or that a tool returned, must never end the conversation.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.document.nesting import DEEPEST

OMITTED = "[{}: left out, the model reads text only]"
LONGEST_KIND = 64  # characters
MOST_WORDS = 10_000  # texts of one block
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
    reading = _Reading()
    reading.block(block, DEEPEST)
    if not reading.words:
        return OMITTED.format(kind)
    rest = [OMITTED.format("the rest")] if reading.left_out else []
    return "\n".join([f"[{kind}]", *reading.words, *rest])


class _Reading:
    """Every text that is meant to be read, and whether there was more."""

    __slots__ = ("left_out", "words")

    def __init__(self) -> None:
        self.words: list[str] = []
        self.left_out = False

    def value(self, value: Any, levels: int) -> None:
        if isinstance(value, str):
            if value and not value.isspace():
                self.words.append(value)
        elif not levels or len(self.words) >= MOST_WORDS:
            self.left_out = True
        elif isinstance(value, list):
            for one in value[: MOST_WORDS - len(self.words)]:
                self.value(one, levels - 1)
            self.left_out = self.left_out or len(value) > MOST_WORDS
        elif isinstance(value, dict):
            self.block(value, levels - 1)

    def block(self, block: Mapping[str, Any], levels: int) -> None:
        kind = block.get("type")
        if isinstance(kind, str) and kind in _NO_TEXT:
            self.left_out = True
            return
        for name in _WORDS:
            value = block.get(name)
            if name in _OF_A_CALL and isinstance(value, dict):
                self._json(value)
            elif value is not None:
                self.value(value, levels)
        if kind == "text" and isinstance(block.get("data"), str):  # the source of a document
            self.words.append(block["data"])

    def _json(self, value: Any) -> None:
        try:
            self.words.append(orjson.dumps(value).decode())
        except orjson.JSONEncodeError:  # too deep to be written again
            self.left_out = True
