"""The content of a streamed Anthropic message: blocks, one after the other, none of them empty.

chat deltas: reasoning_content, content, tool_calls ──> content_block_start, content_block_delta..., content_block_stop
"""

from typing import Any

import orjson

Json = dict[str, Any]

NEW: dict[str, Json] = {  # blocks with all that typed clients want to find in one
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    "text": {"type": "text", "text": "", "citations": None},
    "tool_use": {"type": "tool_use", "id": "", "name": "", "input": {}, "caller": {"type": "direct"}},
}


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


class Blocks:
    """At most one block is open. Methods give the events of what came."""

    __slots__ = ("_blank", "_call", "_index", "_kind", "_name", "called")

    def __init__(self, name: str) -> None:
        self._name = name  # of the message
        self._index = -1  # of the last block
        self._kind = ""  # of the open block
        self._call: tuple[Any, Any] = (None, None)  # index and id of the open tool call
        self._blank = ""  # white space that may become the start of a text
        self.called = False  # whether there was a tool call

    def thought(self, text: str) -> bytes:
        return self._enter("thinking") + self._delta(type="thinking_delta", thinking=text)

    def text(self, text: str) -> bytes:
        """White space alone is no block: clients may not send one back."""
        if self._kind != "text":
            text = self._blank + text
            if text.isspace():
                self._blank = text
                return b""
        return self._enter("text") + self._delta(type="text_delta", text=text)

    def call(self, piece: Json) -> bytes:
        """A piece of a tool call. Raises ValueError when it is none, or belongs to a call that is not open."""
        function = piece.get("function") or {}
        name, arguments = function.get("name"), function.get("arguments")
        out = b""
        if not self._continues(piece):
            if not name or not isinstance(name, str):
                raise ValueError("a piece of a tool call that had ended, or had not begun")
            out = self._begin_call(piece, name)
        if arguments:
            if not isinstance(arguments, str):
                raise ValueError("arguments of a tool call that are no text")
            out += self._delta(type="input_json_delta", partial_json=arguments)
        return out

    def close(self) -> bytes:
        """The end of the open block, if any."""
        kind, self._kind, self._blank = self._kind, "", ""
        if not kind:
            return b""
        signed = self._delta(type="signature_delta", signature=self._name) if kind == "thinking" else b""
        return signed + event("content_block_stop", index=self._index)

    def _continues(self, piece: Json) -> bool:
        index, name = self._call
        return self._kind == "tool_use" and piece.get("index", 0) == index and piece.get("id") in (None, "", name)

    def _begin_call(self, piece: Json, name: str) -> bytes:
        self.called = True
        self._call = (piece.get("index", 0), piece.get("id"))
        identity = piece.get("id") or f"{self._name}_{self._index + 1}"
        return self._begin("tool_use", {**NEW["tool_use"], "id": identity, "name": name})

    def _enter(self, kind: str) -> bytes:
        return b"" if self._kind == kind else self._begin(kind, NEW[kind])

    def _begin(self, kind: str, block: Json) -> bytes:
        closed = self.close()
        self._kind = kind
        self._index += 1
        return closed + event("content_block_start", index=self._index, content_block=block)

    def _delta(self, **delta: Any) -> bytes:
        return event("content_block_delta", index=self._index, delta=delta)
