"""A prompt as a chain of hashes, one for each message border and each 16 KB of a long message; or its session's hash.

Hosts cache prompts from their first token on, so each hash covers everything before it: tools first, because the
model's template renders them in front, then whether it thinks, then the messages.
"""

from functools import lru_cache
from math import ceil
from typing import Any, NamedTuple

import orjson
from xxhash import xxh3_64_intdigest

from gateway.types import Policy

PIECE = 16 * 1024  # bytes
LONGEST_CHAIN = 512  # hashes kept of one prompt
AROUND = 8  # bytes that the template's marks around a message count for
Chain = tuple[tuple[int, int], ...]  # (hash, estimated tokens up to there), shortest first
_PLAIN = 2  # fields of a message that has a role and a content only


class Prompt(NamedTuple):
    """What the model reads: the tools as JSON (empty without any), and each message as (role, text).

    The texts are UTF-8, whichever way the client wrote it; `size` is in bytes, `opening` the part of it up to the end
    of the first user message.
    """

    tools: bytes
    messages: list[tuple[str, bytes]]
    size: int
    opening: int


def read_prompt(body: dict[str, Any]) -> Prompt:
    """The prompt of a request whose `messages` are objects with a role."""
    tools = body.get("tools")
    rendered = orjson.dumps(tools) if tools else b""
    messages = [(message["role"], _text(message)) for message in body["messages"]]
    size = len(rendered) + sum([len(text) for _, text in messages]) + AROUND * len(messages)
    return Prompt(rendered, messages, size, len(rendered) + _opening(messages))


def prefix_chain(prompt: Prompt, thinking: bool, bytes_per_token: float) -> Chain:
    """A cumulative hash for each border."""
    chain: list[tuple[int, int]] = []
    digest = xxh3_64_intdigest(prompt.tools, thinking)
    size = len(prompt.tools)
    for role, text in prompt.messages:
        digest ^= _of_role(role)
        size += AROUND
        for piece in (text,) if len(text) <= PIECE else _pieces(text):
            digest = xxh3_64_intdigest(piece, digest)  # seeded with all that came before
            size += len(piece)
            chain.append((digest, ceil(size / bytes_per_token)))
        if len(chain) >= LONGEST_CHAIN:
            break
    return tuple(chain[:LONGEST_CHAIN])


def session_chain(prompt: Prompt, tenant: str, session: str, bytes_per_token: float) -> Chain:
    """One hash, the session's, for all but the last message: what its earlier turns have probably sent."""
    digest = xxh3_64_intdigest(session.encode(errors="replace"), xxh3_64_intdigest(tenant.encode()))
    earlier = prompt.size - AROUND - len(prompt.messages[-1][1])
    return ((digest, ceil(earlier / bytes_per_token)),)


def known_by(
    policy: Policy, tenant: str, session: str, prompt: Prompt, thinking: bool, bytes_per_token: float
) -> Chain:
    """What tells where a prompt was before, as the policy goes by it."""
    if policy.affinity == "none":
        return ()
    if policy.affinity == "session" and session:
        return session_chain(prompt, tenant, session, bytes_per_token)
    return prefix_chain(prompt, thinking, bytes_per_token)


def message_size(message: dict[str, Any]) -> int:
    """What a message counts for in a prompt's size, in bytes."""
    return len(_text(message)) + AROUND


def _opening(messages: list[tuple[str, bytes]]) -> int:
    """Bytes up to the end of the first user message; of all messages where there is none."""
    size = 0
    for role, text in messages:
        size += AROUND + len(text)
        if role == "user":
            break
    return size


@lru_cache(maxsize=64)
def _of_role(role: str) -> int:
    return xxh3_64_intdigest(role.encode())


def _text(message: dict[str, Any]) -> bytes:
    """What is said: the content, or the whole message as JSON where there is more to it than a text."""
    content = message.get("content")
    if type(content) is not str or len(message) != _PLAIN:
        return orjson.dumps(message)
    return content.encode()


def _pieces(text: bytes) -> list[memoryview]:
    view = memoryview(text)
    return [view[start : start + PIECE] for start in range(0, len(view), PIECE)]
