"""The content of a streamed Anthropic message: a sequence of non-empty blocks.

chat deltas: reasoning_content, content, tool_calls ──> content_block_start, content_block_delta..., content_block_stop
"""

from typing import Any

import orjson

Json = dict[str, Any]

NEW: dict[str, Json] = {  # empty blocks with every field that typed clients require
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    "text": {"type": "text", "text": "", "citations": None},
    "tool_use": {"type": "tool_use", "id": "", "name": "", "input": {}, "caller": {"type": "direct"}},
}


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


class Blocks:
    """At most one block is open. Each method returns the events for its input."""

    __slots__ = ("_blank", "_call", "_index", "_kind", "_name", "called")

    def __init__(self, name: str) -> None:
        self._name = name  # the message's id
        self._index = -1  # of the latest block
        self._kind = ""  # type of the open block, empty when none is open
        self._call = -1  # index of the latest tool call
        self._blank = ""  # white space held back until text follows
        self.called = False  # whether the message has a tool call

    def reasoning(self, text: str) -> bytes:
        return self._enter("thinking") + self._delta(type="thinking_delta", thinking=text)

    def text(self, text: str) -> bytes:
        """White space alone opens no block, because Anthropic's API rejects such a block in the next request."""
        if self._kind != "text":
            text = self._blank + text
            if text.isspace():
                self._blank = text
                return b""
        return self._enter("text") + self._delta(type="text_delta", text=text)

    def call(self, piece: Json) -> bytes:
        """A normalised tool call delta; the first of each call has the name. Raises ValueError if the call's block has
        been closed, as when two calls interleave."""
        function, out = piece["function"], b""
        if name := function.get("name"):
            out = self._begin_call(piece, name)
        elif self._kind != "tool_use" or piece["index"] != self._call:
            raise ValueError("a tool call delta after its block was closed")
        if arguments := function.get("arguments"):
            out += self._delta(type="input_json_delta", partial_json=arguments)
        return out

    def close(self) -> bytes:
        """Closes the open block, if any."""
        kind, self._kind, self._blank = self._kind, "", ""
        if not kind:
            return b""
        signed = self._delta(type="signature_delta", signature=self._name) if kind == "thinking" else b""
        return signed + event("content_block_stop", index=self._index)

    def _begin_call(self, piece: Json, name: str) -> bytes:
        self.called = True
        self._call = piece["index"]
        return self._begin("tool_use", {**NEW["tool_use"], "id": piece["id"], "name": name})

    def _enter(self, kind: str) -> bytes:
        return b"" if self._kind == kind else self._begin(kind, NEW[kind])

    def _begin(self, kind: str, block: Json) -> bytes:
        closed = self.close()
        self._kind = kind
        self._index += 1
        return closed + event("content_block_start", index=self._index, content_block=block)

    def _delta(self, **delta: Any) -> bytes:
        return event("content_block_delta", index=self._index, delta=delta)
