"""The output items of a streamed response: a text (message, reasoning or refusal) or a tool call.

    open ──> *.added      append ──> *.delta      close ──> *.done, with the complete item

Each step returns its events as `(type, fields)`; the caller numbers them. An item keeps its pieces until the response
ends, because the last events repeat them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from gateway.surface.responses.tools import INPUT, ClientTool

Event = tuple[str, dict[str, Any]]

IN_PROGRESS, COMPLETED, INCOMPLETE = "in_progress", "completed", "incomplete"


class Kind(NamedTuple):
    """How the API represents one kind of text."""

    item: str  # type of the item
    prefix: str  # of the item's id
    part: str  # type of a part
    name: str  # prefix of the text's event types
    place: str = "content"  # where the item holds its parts
    field: str = "text"  # where a part holds its text
    parts: str = "response.content_part"  # prefix of the part's event types
    number: str = "content_index"  # the events' field for the part's index
    of_part: Mapping[str, Any] = MappingProxyType({})  # constant fields that SDKs require in a part
    of_event: Mapping[str, Any] = MappingProxyType({})  # and in an event of its text


TEXT = Kind(
    "message",
    "msg",
    part="output_text",
    name="response.output_text",
    of_part={"annotations": [], "logprobs": []},
    of_event={"logprobs": []},
)
REFUSAL = Kind("message", "msg", part="refusal", name="response.refusal", field="refusal")
REASONING = Kind("reasoning", "rs", part="reasoning_text", name="response.reasoning_text")
SUMMARY = Kind(
    "reasoning",
    "rs",
    part="summary_text",
    name="response.reasoning_summary_text",
    place="summary",
    parts="response.reasoning_summary_part",
    number="summary_index",
)


class TextItem:
    """A message or reasoning item with one part."""

    __slots__ = ("_id", "_index", "_pieces", "kind", "status")

    def __init__(self, kind: Kind, response: str, index: int) -> None:
        self.kind = kind
        self.status = IN_PROGRESS
        self._id = f"{kind.prefix}_{response}_{index}"
        self._index = index
        self._pieces: list[str] = []

    def __repr__(self) -> str:
        return f"<TextItem {self._id} {self.status}, {len(self._pieces)} pieces>"

    def open(self) -> list[Event]:
        kind = self.kind
        added = {"output_index": self._index, "item": self._item([])}
        return [
            ("response.output_item.added", added),
            (f"{kind.parts}.added", {**self._where(), "part": self._part("")}),
        ]

    def append(self, text: str) -> Event:
        self._pieces.append(text)
        return f"{self.kind.name}.delta", {**self._where(), "delta": text, **self.kind.of_event}

    def close(self, status: str) -> list[Event]:
        self.status = status
        kind, text = self.kind, "".join(self._pieces)
        return [
            (f"{kind.name}.done", {**self._where(), kind.field: text, **kind.of_event}),
            (f"{kind.parts}.done", {**self._where(), "part": self._part(text)}),
            ("response.output_item.done", {"output_index": self._index, "item": self.whole()}),
        ]

    def whole(self) -> dict[str, Any]:
        return self._item([self._part("".join(self._pieces))])

    def _where(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._index, self.kind.number: 0}

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": self.kind.part, self.kind.field: text, **self.kind.of_part}

    def _item(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        kind = self.kind
        own: dict[str, Any] = {"role": "assistant"} if kind.item == "message" else {"summary": [], "content": []}
        return {"id": self._id, "type": kind.item, "status": self.status, **own, kind.place: parts}


class CallItem:
    """A call of one of the client's functions."""

    __slots__ = ("_arguments", "_call_id", "_id", "_index", "_tool", "status")

    kind, prefix = "function_call", "fc"

    def __init__(self, tool: ClientTool, call_id: str, response: str, index: int) -> None:
        self.status = IN_PROGRESS
        self._id = f"{self.prefix}_{response}_{index}"
        self._index = index
        self._tool = tool
        self._call_id = call_id or f"call_{response}_{index}"
        self._arguments: list[str] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._id} {self._tool.name} {self.status}, {len(self._arguments)} pieces>"

    def open(self) -> list[Event]:
        return [("response.output_item.added", {"output_index": self._index, "item": self.whole()})]

    def append(self, arguments: str) -> list[Event]:
        self._arguments.append(arguments)
        return [("response.function_call_arguments.delta", {**self._where(), "delta": arguments})]

    def close(self, status: str) -> list[Event]:
        self.status = status
        item = self.whole()
        return [*self._done_events(item), ("response.output_item.done", {"output_index": self._index, "item": item})]

    def whole(self) -> dict[str, Any]:
        namespace = {"namespace": self._tool.namespace} if self._tool.namespace else {}
        return {
            "id": self._id,
            "type": self.kind,
            "status": self.status,
            "call_id": self._call_id,
            "name": self._tool.name,
            **namespace,
            **self._input_field(),
        }

    def _input_field(self) -> dict[str, str]:
        return {"arguments": "".join(self._arguments)}

    def _done_events(self, item: dict[str, Any]) -> list[Event]:
        done = {**self._where(), "name": item["name"], "arguments": item["arguments"]}
        return [("response.function_call_arguments.done", done)]

    def _where(self) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": self._index}


class CustomCallItem(CallItem):
    """A call of a custom tool, whose input is plain text. The arguments hold that text in JSON, parsed at the end."""

    __slots__ = ()

    kind, prefix = "custom_tool_call", "ctc"

    def append(self, arguments: str) -> list[Event]:
        self._arguments.append(arguments)
        return []

    def _input_field(self) -> dict[str, str]:
        return {"input": "" if self.status == IN_PROGRESS else _text_of("".join(self._arguments))}

    def _done_events(self, item: dict[str, Any]) -> list[Event]:
        name, text = "response.custom_tool_call_input", item["input"]
        return [(f"{name}.delta", {**self._where(), "delta": text}), (f"{name}.done", {**self._where(), "input": text})]


def _text_of(arguments: str) -> str:
    """The text in the arguments, or the arguments themselves if the model wrote plain text in place of JSON."""
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = value.get(INPUT) if isinstance(value, dict) else value
    return text if isinstance(text, str) else arguments
