"""A prompt as a chain of hashes, one for each message border and each 16 KB of a long message.

Hosts cache prompts from their first token on, so each hash covers everything before it: tools first, because the
model's template renders them in front, then whether it thinks, then the messages.
"""

from typing import Any, NamedTuple

import orjson
import xxhash

from gateway.upstream.usage import estimate_tokens

PIECE = 16 * 1024  # bytes
LONGEST_CHAIN = 512  # hashes kept of one prompt
AROUND = 8  # bytes that the template's marks around a message count for
_PLAIN = 2  # fields of a message that has a role and a content only


class Prompt(NamedTuple):
    """What the model reads: the tools as JSON (empty without any), and each message as (role, text).

    All of it is UTF-8, whichever way the client wrote it; `size` is in bytes.
    """

    tools: bytes
    messages: list[tuple[bytes, bytes]]
    size: int

    @property
    def tokens(self) -> int:
        """An estimate."""
        return estimate_tokens(self.size)


def read_prompt(body: dict[str, Any]) -> Prompt:
    """The prompt of a request whose `messages` are objects with a role."""
    tools = body.get("tools")
    rendered = orjson.dumps(tools) if tools else b""
    messages = [(message["role"].encode(), _text(message)) for message in body["messages"]]
    size = len(rendered) + sum([len(text) for _, text in messages]) + AROUND * len(messages)
    return Prompt(rendered, messages, size)


def prefix_chain(prompt: Prompt, thinking: bool) -> tuple[tuple[int, int], ...]:
    """(cumulative hash, estimated tokens up to there), shortest first."""
    chain: list[tuple[int, int]] = []
    digest = xxhash.xxh3_64(b"1" if thinking else b"0")
    digest.update(prompt.tools)
    size = len(prompt.tools)
    for role, text in prompt.messages:
        digest.update(role)
        size += AROUND
        for piece in (text,) if len(text) <= PIECE else _pieces(text):
            digest.update(piece)
            size += len(piece)
            chain.append((digest.intdigest(), estimate_tokens(size)))
        if len(chain) >= LONGEST_CHAIN:
            break
    return tuple(chain[:LONGEST_CHAIN])


def _text(message: dict[str, Any]) -> bytes:
    """What is said: the content, or the whole message as JSON where there is more to it than a text."""
    content = message.get("content")
    if type(content) is not str or len(message) != _PLAIN:
        return orjson.dumps(message)
    return content.encode()


def _pieces(text: bytes) -> list[memoryview]:
    view = memoryview(text)
    return [view[start : start + PIECE] for start in range(0, len(view), PIECE)]
