"""A prompt as a chain of hashes, one for each message border and each 2 KB of a long message; or its session's hash.

    tools      system    user                         assistant
    |--------| |-------| |----|----|----|----|----|-| |----|--|        a border wherever a piece ends

Hosts cache prompts from their first token on, in blocks of 64 tokens or more, so each hash covers everything before
it: whether the model thinks, then the tools, because most templates render them in front, then the messages. Pieces are
counted from the beginning of their message, so that a prompt that continues another has all its borders. The tenant
stands in front of it all: what one has sent is known for its own requests only.
"""

from math import ceil
from typing import Any

import msgspec
import orjson
from xxhash import xxh3_64_intdigest

from gateway.types import Policy

PIECE = 2 * 1024  # bytes
LONGEST_CHAIN = 4_096  # hashes kept of one prompt: two million tokens in one message
AROUND = 8  # bytes that the template's marks around a message count for
Chain = tuple[tuple[int, int], ...]  # (hash, estimated tokens up to there), shortest first
_PLAIN = 2  # fields of a message that has a role and a content only


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """What the model reads, as (role, text): the tools as JSON under the role `tools`, if any, then each message.

    The texts are UTF-8, whichever way the client wrote it; `size` is in bytes, `opening` the part of it up to the end
    of the first user message.
    """

    parts: list[tuple[str, bytes]]
    size: int
    opening: int


def read_prompt(body: dict[str, Any]) -> Prompt:
    """The prompt of a request whose `messages` are objects with a role."""
    tools = body.get("tools")
    parts = [("tools", orjson.dumps(tools))] if tools else []
    size = len(parts[0][1]) + AROUND if tools else 0
    opening = 0
    for message in body["messages"]:
        role, content = message["role"], message.get("content")
        text = content.encode() if type(content) is str and len(message) == _PLAIN else orjson.dumps(message)
        parts.append((role, text))
        size += AROUND + len(text)
        if not opening and role == "user":
            opening = size
    return Prompt(parts, size, opening or size)


def prefix_chain(prompt: Prompt, tenant: str, thinking: bool, bytes_per_token: float) -> Chain:
    """A cumulative hash for each border."""
    chain: list[tuple[int, int]] = []
    digest = xxh3_64_intdigest(tenant.encode(), thinking)
    size = 0
    for role, text in prompt.parts:
        digest ^= _ROLES.get(role) or _of_role(role)
        size += AROUND + len(text)
        if len(text) > PIECE:
            start = size - len(text)
            for end in range(PIECE, min(len(text), PIECE * LONGEST_CHAIN), PIECE):
                digest = xxh3_64_intdigest(text[end - PIECE : end], digest)  # seeded with all that came before
                chain.append((digest, ceil((start + end) / bytes_per_token)))
            text = text[end:]  # the rest of it, at most a piece
        digest = xxh3_64_intdigest(text, digest)
        chain.append((digest, ceil(size / bytes_per_token)))
        if len(chain) >= LONGEST_CHAIN:
            return tuple(chain[:LONGEST_CHAIN])
    return tuple(chain)


def session_chain(prompt: Prompt, tenant: str, session: str, bytes_per_token: float) -> Chain:
    """One hash, the session's, for all but the last message: what its earlier turns have probably sent."""
    digest = xxh3_64_intdigest(session.encode(errors="replace"), xxh3_64_intdigest(tenant.encode()))
    earlier = prompt.size - AROUND - len(prompt.parts[-1][1])
    return ((digest, ceil(earlier / bytes_per_token)),)


def known_by(
    policy: Policy, tenant: str, session: str, prompt: Prompt, thinking: bool, bytes_per_token: float
) -> Chain:
    """What tells where a prompt was before, as the policy goes by it."""
    if policy.affinity == "none":
        return ()
    if policy.affinity == "session" and session:
        return session_chain(prompt, tenant, session, bytes_per_token)
    return prefix_chain(prompt, tenant, thinking, bytes_per_token)


def message_size(message: dict[str, Any]) -> int:
    """What a message counts for in a prompt's size, in bytes."""
    return len(_text(message)) + AROUND


def _of_role(role: str) -> int:
    return xxh3_64_intdigest(role.encode())


_ROLES = {role: _of_role(role) for role in ("system", "developer", "user", "assistant", "tool", "tools")}  # the usual


def _text(message: dict[str, Any]) -> bytes:
    """What is said: the content, or the whole message as JSON where there is more to it than a text."""
    content = message.get("content")
    if type(content) is not str or len(message) != _PLAIN:
        return orjson.dumps(message)
    return content.encode()
