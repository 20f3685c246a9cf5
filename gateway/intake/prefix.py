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

from xxhash import xxh3_64_intdigest

from gateway.intake.prompt import AROUND, Prompt
from gateway.types import Policy

PIECE = 2 * 1024  # bytes
LONGEST_CHAIN = 4_096  # hashes per prompt: two million tokens in one message
Chain = tuple[tuple[int, int], ...]  # (hash, estimated tokens up to there), shortest first


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


def _of_role(role: str) -> int:
    return xxh3_64_intdigest(role.encode())


_ROLES = {role: _of_role(role) for role in ("system", "developer", "user", "assistant", "tool", "tools")}  # the usual
