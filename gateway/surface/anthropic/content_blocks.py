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
        self._call = -1  # index of the last tool call
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
        """A piece of a tool call, normalised: the first one has its name. Raises ValueError where its block has ended,
        as where two calls come in turns."""
        function, out = piece["function"], b""
        if name := function.get("name"):
            out = self._begin_call(piece, name)
        elif self._kind != "tool_use" or piece["index"] != self._call:
            raise ValueError("a piece of a tool call that had ended")
        if arguments := function.get("arguments"):
            out += self._delta(type="input_json_delta", partial_json=arguments)
        return out

    def close(self) -> bytes:
        """The end of the open block, if any."""
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
