"""Text placeholders for content blocks that a text-only model cannot read: a block's text if it has any, else its type.

    {"type": "search_result", "title", "content": [text]} ──> "[search_result]" and its text
    {"type": "image", "source": {"type": "base64", ...}}  ──> "[image: left out, the model reads text only]"

Agents resend their whole history with every request and cannot edit it. A block added by another provider's model, or
returned by a tool, must never make the conversation unusable.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.document.nesting import DEEPEST

OMITTED = "[{}: left out, the model reads text only]"
LONGEST_KIND = 64  # characters of a block's type
MOST_TEXTS = 10_000  # strings of one block
_TEXT_FIELDS = (  # fields of blocks and items that hold readable text, in reading order
    *("title", "name", "tool_name", "server_label", "url", "source", "query", "queries", "action", "command", "code"),
    *("operation", "arguments", "input", "text", "thinking", "refusal", "transcript", "summary", "content", "results"),
    *("output", "outputs", "logs", "stdout", "stderr", "error", "error_code", "message"),
)
_OF_A_CALL = frozenset({"action", "operation", "arguments", "input"})  # objects of any shape, written as JSON
_NO_TEXT = frozenset(  # types of blocks, and of their sources, that hold no text
    {"base64", "file", "image", "image_url", "input_audio", "input_file", "input_image", "url"}
)


def note(block: Mapping[str, Any]) -> str:
    """The placeholder of a block or item of any type."""
    kind = str(block.get("type") or "block")[:LONGEST_KIND]
    reading = _Reading()
    reading.block(block, DEEPEST)
    if not reading.texts:
        return OMITTED.format(kind)
    rest = [OMITTED.format("the rest")] if reading.left_out else []
    return "\n".join([f"[{kind}]", *reading.texts, *rest])


class _Reading:
    """Collects the readable strings of one block, and records whether anything was left out."""

    __slots__ = ("left_out", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.left_out = False

    def value(self, value: Any, levels: int) -> None:
        if isinstance(value, str):
            if value and not value.isspace():
                self.texts.append(value)
        elif not levels or len(self.texts) >= MOST_TEXTS:
            self.left_out = True
        elif isinstance(value, list):
            for one in value[: MOST_TEXTS - len(self.texts)]:
                self.value(one, levels - 1)
            self.left_out = self.left_out or len(value) > MOST_TEXTS
        elif isinstance(value, dict):
            self.block(value, levels - 1)

    def block(self, block: Mapping[str, Any], levels: int) -> None:
        kind = block.get("type")
        if isinstance(kind, str) and kind in _NO_TEXT:
            self.left_out = True
            return
        for name in _TEXT_FIELDS:
            value = block.get(name)
            if name in _OF_A_CALL and isinstance(value, dict):
                self._json(value)
            elif value is not None:
                self.value(value, levels)
        if kind == "text" and isinstance(block.get("data"), str):  # the source of a document
            self.texts.append(block["data"])

    def _json(self, value: Any) -> None:
        try:
            self.texts.append(orjson.dumps(value).decode())
        except orjson.JSONEncodeError:  # nested too deeply for orjson
            self.left_out = True
