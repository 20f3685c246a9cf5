"""The prompt of a chat completion: its messages, validated and sized in one pass.

    body ── messages with a role ──> (role, text), sizes        a message with more than a text: its JSON

Texts are in UTF-8, regardless of the client's escapes.
"""

from typing import Any

import msgspec
import orjson

from gateway.document.nesting import DEEPEST, is_deeper, may_be_deeper
from gateway.errors import BadRequest

AROUND = 8  # bytes per message for the template's markup
LONGEST_ROLE = 64  # characters
_TEXT_MESSAGE = 2  # number of fields of a message with only a role and a content

Json = dict[str, Any]


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """The model's input as (role, text): the tools as JSON with the role `tools`, if any, then each message.

    `size` is in bytes; `opening` is the size up to the end of the first user message; `only_texts`: every message has
    only a role and a text.
    """

    parts: list[tuple[str, bytes]]
    size: int
    opening: int
    only_texts: bool


def read_prompt(body: Json, raw: bytes | None = None) -> Prompt:
    """The prompt of a body whose `tools` are not too deep. `raw` are the bytes that it was parsed from, empty if the
    body has been changed; None: it is known that no message is too deep. Raises BadRequest."""
    messages, tools = body.get("messages"), body.get("tools")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` must be a list of at least one message", param="messages")
    parts = [("tools", orjson.dumps(tools))] if tools else []
    size = len(parts[0][1]) + AROUND if tools else 0
    opening, only_texts, deep = 0, True, False
    for message in messages:
        if type(message) is not dict or type(role := message.get("role")) is not str or len(role) > LONGEST_ROLE:
            raise _malformed(messages, message)
        content = message.get("content")
        if type(content) is str and len(message) == _TEXT_MESSAGE:
            text = content.encode()
        else:
            if only_texts:
                only_texts, deep = False, raw is not None and may_be_deeper(raw)
            if deep and is_deeper((message,)):
                raise too_deep()
            text = orjson.dumps(message)
        parts.append((role, text))
        size += AROUND + len(text)
        if not opening and role == "user":
            opening = size
    return Prompt(parts, size, opening or size, only_texts)


def message_size(message: Json) -> int:
    """The size of a message in a prompt, in bytes."""
    content = message.get("content")
    if type(content) is str and len(message) == _TEXT_MESSAGE:
        return AROUND + len(content.encode())
    return AROUND + len(orjson.dumps(message))


def too_deep() -> BadRequest:
    return BadRequest(f"the body is nested deeper than {DEEPEST} levels")


def _malformed(messages: list[object], message: object) -> BadRequest:
    place = next(place for place, one in enumerate(messages) if one is message)
    return BadRequest(f"`messages[{place}]` must be an object with a `role`", param=f"messages[{place}]")
