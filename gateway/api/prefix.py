"""A prompt as a chain of hashes, one for each message border and each 16 KB of a long message.

Hosts cache prompts from their first token on, so each hash covers everything before it: tools first, because the
model's template renders them in front, then whether it thinks, then the messages.
"""

from typing import Any

import orjson
import xxhash

from gateway.upstream.usage import estimate_tokens

PIECE = 16 * 1024  # bytes
LONGEST_CHAIN = 512  # hashes kept of one prompt


def prefix_chain(body: dict[str, Any], thinking: bool) -> tuple[tuple[int, int], ...]:
    """(cumulative hash, estimated tokens up to there), shortest first."""
    chain: list[tuple[int, int]] = []
    digest = xxhash.xxh3_64(b"1" if thinking else b"0")
    size = 0
    if tools := body.get("tools"):
        head = orjson.dumps(tools)
        digest.update(head)
        size += len(head)
    for message in body["messages"]:
        text = orjson.dumps(message)
        for start in range(0, len(text), PIECE):
            piece = text[start : start + PIECE]
            digest.update(piece)
            size += len(piece)
            chain.append((digest.intdigest(), estimate_tokens(size)))
        if len(chain) >= LONGEST_CHAIN:
            break
    return tuple(chain[:LONGEST_CHAIN])
