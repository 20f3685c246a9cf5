"""The body of a chat completion: parsed once, with the fields validated that routing uses. Hosts validate the rest.

    bytes ─> JSON ─> counts written as 100.0 ─> another API's body translated ─> unused tool fields dropped ─> checked
                                                                                               `messages` ─> Prompt

Most bodies have few fields that the gateway reads, and messages with only a role and a text. The fields that it reads
are determined once (`ParsedBody.fields`); absent ones cost nothing later.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from gateway.document.bounded_json import read_json
from gateway.document.nesting import is_deeper, may_be_deeper
from gateway.errors import BadRequest
from gateway.intake.lenient_body import reread
from gateway.intake.options import OPTION_FIELDS, refuse_server_tools, whole
from gateway.intake.prompt import Prompt, read_prompt, too_deep
from gateway.route.filters import JSON_FORMATS
from gateway.upstream.dialects import THINKING_REQUEST_FIELDS

LARGEST_COUNT = 2**53  # sums of larger numbers are not exact in JSON
MOST_CHOICES = 16  # `n`: each choice is held in memory and billed
_EXPECTED: dict[str, tuple[type, str]] = {  # types of the fields that routing uses
    "stream": (bool, "true or false"),
    "stream_options": (dict, "an object"),
    "tools": (list, "a list of tools"),
    "max_tokens": (int, f"a whole number from 1 to {LARGEST_COUNT}, or absent for no limit"),
    "max_completion_tokens": (int, f"a whole number from 1 to {LARGEST_COUNT}, or absent for no limit"),
    "n": (int, f"a whole number from 1 to {MOST_CHOICES}"),
}
_MOST = {"n": MOST_CHOICES}
_COUNTS = frozenset({"max_completion_tokens", "max_output_tokens", "max_tokens", "n", "seed", "top_k", "top_logprobs"})
_NEEDY = frozenset({"tools", "logprobs", "response_format"})
_TOOL_FIELDS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
_READ = _COUNTS.union(_EXPECTED, _NEEDY, _TOOL_FIELDS, OPTION_FIELDS, THINKING_REQUEST_FIELDS, {"provider", "models"})
NO_NEEDS: frozenset[str] = frozenset()

Json = dict[str, Any]
Translate = Callable[[Json], Json]


class ParsedBody(msgspec.Struct, frozen=True, gc=False):
    """A validated body. `raw` are its bytes, empty if the body has been changed; `fields` are the present fields that
    the gateway reads, except `model` and `messages`."""

    json: Json
    raw: bytes
    fields: set[str]
    prompt: Prompt


def read_body(raw: bytes, translate: Translate | None) -> ParsedBody:
    """`translate` converts another API's body to that of a chat completion. Raises BadRequest."""
    body, raw = _json_object(raw)
    if translate is not None:
        body, raw = translate(_with_whole_counts(body)), b""
    fields: set[str] = set()
    nested, floats = 0, False
    for name, value in body.items():
        kind = type(value)
        if kind is dict or kind is list:
            nested += 1
        elif kind is float and name in _COUNTS:
            floats = True
        if name in _READ:
            fields.add(name)
    if floats:
        body, raw = _with_whole_counts(body), b""
    if not (
        _TOOL_FIELDS.isdisjoint(fields) or body.get("tools")
    ):  # some hosts reject an empty list, and tool fields without tools
        body, raw = {name: value for name, value in body.items() if name not in _TOOL_FIELDS}, b""
        fields -= _TOOL_FIELDS
    for name in fields:
        if name in _EXPECTED and body[name] is not None:
            _check_field(name, body[name])
    if nested > 1 and may_be_deeper(raw) and _has_deep_field(body):
        raise too_deep()
    return ParsedBody(body, raw, fields, read_prompt(body, raw))


def capabilities(parsed: ParsedBody) -> frozenset[str]:
    """The capabilities that fields other than `messages` require, without which the answer would be wrong."""
    if _NEEDY.isdisjoint(parsed.fields):
        return NO_NEEDS
    body = parsed.json
    needs = set()
    if body.get("tools"):
        refuse_server_tools(body["tools"])
        needs.add("tools")
    if body.get("logprobs"):
        needs.add("logprobs")
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") in JSON_FORMATS:
        needs.add(response_format["type"])
    return frozenset(needs)


def _json_object(raw: bytes) -> tuple[Json, bytes]:
    """The JSON object, and the bytes from which it was parsed."""
    try:
        body: object = read_json(raw)
    except orjson.JSONDecodeError as error:
        body, raw = reread(raw, error)
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body, raw


def _with_whole_counts(body: Json) -> Json:
    floats = [name for name in body.keys() & _COUNTS if type(body[name]) is float]
    return body | {name: number for name in floats if (number := whole(body[name])) is not None}


def _check_field(name: str, value: Any) -> None:
    """Raises BadRequest if a field has an unexpected type or an out-of-range value."""
    kind, expected = _EXPECTED[name]
    count = value if kind is int else 1
    if type(value) is not kind or not 1 <= count <= _MOST.get(name, LARGEST_COUNT):
        raise BadRequest(f"`{name}` must be {expected}", param=name)


def _has_deep_field(body: Json) -> bool:
    """Whether a field other than `messages` is nested too deeply."""
    return is_deeper(value for name, value in body.items() if name != "messages")
