"""A prompt as a chain of hashes, one for each message border and each 16 KB of a long message.

Hosts cache prompts from their first token on, so each hash covers everything before it: tools first, because the
model's template renders them in front, then whether it thinks, then the messages.
"""

from typing import NamedTuple

import xxhash

from gateway.upstream.usage import estimate_tokens

PIECE = 16 * 1024  # bytes
LONGEST_CHAIN = 512  # hashes kept of one prompt


class Prompt(NamedTuple):
    """What the model reads, as JSON: the tools (empty without any), and each message."""

    tools: bytes
    messages: list[bytes]

    @property
    def tokens(self) -> int:
        """An estimate, by the size in UTF-8: not by the client's own, who may have escaped every character."""
        return estimate_tokens(len(self.tools) + sum(map(len, self.messages)))


def prefix_chain(prompt: Prompt, thinking: bool) -> tuple[tuple[int, int], ...]:
    """(cumulative hash, estimated tokens up to there), shortest first."""
    chain: list[tuple[int, int]] = []
    digest = xxhash.xxh3_64(b"1" if thinking else b"0")
    digest.update(prompt.tools)
    size = len(prompt.tools)
    for message in prompt.messages:
        pieces = (message,) if len(message) <= PIECE else _pieces(message)
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            chain.append((digest.intdigest(), estimate_tokens(size)))
        if len(chain) >= LONGEST_CHAIN:
            break
    return tuple(chain[:LONGEST_CHAIN])


def _pieces(message: bytes) -> list[memoryview]:
    view = memoryview(message)
    return [view[start : start + PIECE] for start in range(0, len(view), PIECE)]
