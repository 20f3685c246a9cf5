"""A simulated host's prompt cache: which prefix of a prompt it has cached.

    prompt text   |-- 64 tokens --|-- 64 tokens --|-- 64 tokens --|- rest -
    block hashes     h1 = H(b1)     h2 = H(b2, h1)  h3 = H(b3, h2)

Each hash identifies the whole prefix up to its block's end, so the cached prefix is the leading run of known hashes.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import orjson
import xxhash

CHARS_PER_TOKEN = 4
BLOCK_TOKENS = 64
BLOCK_CHARS = BLOCK_TOKENS * CHARS_PER_TOKEN


def prompt_text(body: dict[str, Any]) -> str:
    """The prompt as the model would read it: tools first, then each message after its role."""
    parts = [orjson.dumps(body["tools"]).decode()] if body.get("tools") else []
    for message in body["messages"]:
        parts.append(f"<{message.get('role')}>{content_text(message.get('content'))}")
        if message.get("tool_calls"):
            parts.append(orjson.dumps(message["tool_calls"]).decode())
    return "".join(parts)


def content_text(content: Any) -> str:
    """The text of a message's content, either a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def token_count(text: str) -> int:
    return max(1, len(text) // CHARS_PER_TOKEN)


class HostPromptCache:
    """Blocks of prompts with the time of their last use, in seconds of any clock. The least recently used are evicted
    first."""

    def __init__(self, ttl: float, capacity: int = 50_000) -> None:
        self._ttl = ttl
        self._capacity = capacity
        self._used: OrderedDict[int, float] = OrderedDict()

    def __repr__(self) -> str:
        return f"HostPromptCache({len(self._used)} of {self._capacity} blocks, ttl {self._ttl:g}s)"

    def read(self, text: str, now: float) -> int:
        """Cached tokens of this prompt. Afterwards all its whole blocks are cached."""
        cached = 0
        contiguous = True
        for block in _blocks(text):
            used = self._used.get(block)
            contiguous = contiguous and used is not None and now - used <= self._ttl
            cached += BLOCK_TOKENS * contiguous
            self._used[block] = now
            self._used.move_to_end(block)
        while len(self._used) > self._capacity:
            self._used.popitem(last=False)
        return cached


def _blocks(text: str) -> Iterator[int]:
    chain = 0
    for start in range(0, len(text) - BLOCK_CHARS + 1, BLOCK_CHARS):
        chain = xxhash.xxh3_64_intdigest(text[start : start + BLOCK_CHARS].encode(), seed=chain)
        yield chain
