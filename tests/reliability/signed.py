"""Text that proves where it comes from: each word names the host, the answer, its place and the answer's length.

    " h3.a17.0/40" " h3.a17.1/40" ... " h3.a17.39/40"       one answer of host 3

A client needs no copy of the answer to see that a word is lost, comes twice, or belongs to another answer.
"""

import re
from typing import Literal

Verdict = Literal["whole", "part", "nothing", "damaged"]
_WORD = re.compile(r" ([\w/-]+)\.(\w+)\.(\d+)/(\d+)")


def signed(host: str, answer: str, total: int, start: int = 0) -> tuple[str, ...]:
    """The words of one answer from `start` on."""
    return tuple(f" {host}.{answer}.{number}/{total}" for number in range(start, total))


def verdict(text: str) -> Verdict:
    """Whether this is a whole answer, the first words of one, nothing, or what no host said."""
    if not text:
        return "nothing"
    words = _WORD.findall(text)
    if sum(len(f" {host}.{answer}.{number}/{total}") for host, answer, number, total in words) != len(text):
        return "damaged"
    return _in_order(words)


def _in_order(words: list[tuple[str, str, str, str]]) -> Verdict:
    host, answer, _, total = words[0]
    for place, word in enumerate(words):
        if word != (host, answer, str(place), total):
            return "damaged"
    return "whole" if len(words) == int(total) else "part"
