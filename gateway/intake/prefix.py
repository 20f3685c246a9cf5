"""A prompt as a chain of hashes, one per message boundary and per 2 KB of a long message; or the hash of its session.

    tools      system    user                         assistant
    |--------| |-------| |----|----|----|----|----|-| |----|--|        a boundary at each end of a piece

Hosts cache prompts from the first token, in blocks of 64 tokens or more, so each hash covers everything before
it: whether reasoning is on, then the tools, which most templates render first, then the messages. Pieces are
counted from the start of their message, so that a prompt that continues another one has all its boundaries. The tenant,
behind the gateway's salt, is hashed first: a tenant's prompts match its own requests only. The hash is fast and can be
inverted, so without a secret in front of it a tenant could write a prompt that has the hash of another tenant's.
"""

from math import ceil
from typing import Any

import msgspec
import orjson
from xxhash import xxh3_64_intdigest

from gateway.types import Policy

PIECE = 2 * 1024  # bytes
LONGEST_CHAIN = 4_096  # hashes per prompt: two million tokens in one message
AROUND = 8  # bytes per message for the template's markup
Chain = tuple[tuple[int, int], ...]  # (hash, estimated tokens up to there), shortest first
_PLAIN = 2  # number of fields of a message with only a role and a content


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """The model's input as (role, text): the tools as JSON with the role `tools`, if any, then each message.

    Texts are in UTF-8, regardless of the client's escapes. `size` is in bytes; `opening` is the size up to the end
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
    """A cumulative hash for each boundary."""
    chain: list[tuple[int, int]] = []
    digest = xxh3_64_intdigest(tenant.encode(), thinking)
    size = 0
    for role, text in prompt.parts:
        digest ^= _ROLES.get(role) or _of_role(role)
        size += AROUND + len(text)
        if len(text) > PIECE:
            start = size - len(text)
            for end in range(PIECE, min(len(text), PIECE * LONGEST_CHAIN), PIECE):
                digest = xxh3_64_intdigest(text[end - PIECE : end], digest)  # seeded with the hash of everything before
                chain.append((digest, ceil((start + end) / bytes_per_token)))
            text = text[end:]  # the rest, at most one piece
        digest = xxh3_64_intdigest(text, digest)
        chain.append((digest, ceil(size / bytes_per_token)))
        if len(chain) >= LONGEST_CHAIN:
            return tuple(chain[:LONGEST_CHAIN])
    return tuple(chain)


def session_chain(prompt: Prompt, tenant: str, session: str, bytes_per_token: float) -> Chain:
    """A single hash, the session's, for all but the last message: the part that earlier turns have probably sent."""
    digest = xxh3_64_intdigest(session.encode(errors="replace"), xxh3_64_intdigest(tenant.encode()))
    earlier = prompt.size - AROUND - len(prompt.parts[-1][1])
    return ((digest, ceil(earlier / bytes_per_token)),)


def known_by(
    policy: Policy, tenant: str, session: str, prompt: Prompt, thinking: bool, bytes_per_token: float
) -> Chain:
    """The hashes by which earlier endpoints of a prompt are found, according to the policy's `affinity`."""
    if policy.affinity == "none":
        return ()
    if policy.affinity == "session" and session:
        return session_chain(prompt, tenant, session, bytes_per_token)
    return prefix_chain(prompt, tenant, thinking, bytes_per_token)


def message_size(message: dict[str, Any]) -> int:
    """The size of a message in a prompt, in bytes."""
    return len(_text(message)) + AROUND


def _of_role(role: str) -> int:
    return xxh3_64_intdigest(role.encode())


_ROLES = {role: _of_role(role) for role in ("system", "developer", "user", "assistant", "tool", "tools")}  # the usual


def _text(message: dict[str, Any]) -> bytes:
    """The text of a message: its content, or the whole message as JSON where there is more to it than a text."""
    content = message.get("content")
    if type(content) is not str or len(message) != _PLAIN:
        return orjson.dumps(message)
    return content.encode()
