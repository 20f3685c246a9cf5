"""Generated text: plausible sentences, cut into word pieces that stand for tokens."""

import re
from random import Random

_PIECE = re.compile(r"\s*\w{1,8}|\s*[^\w\s]|\s+")

SUBJECTS = (
    "the first draft",
    "a shorter route",
    "this method",
    "the older design",
    "each sample",
    "the second table",
    "a careful reader",
    "the morning shift",
    "our estimate",
    "the smaller model",
    "every answer",
    "the supplier",
)
VERBS = (
    "explains",
    "depends on",
    "improves",
    "leaves out",
    "measures",
    "follows",
    "replaces",
    "confirms",
    "limits",
    "reveals",
)
OBJECTS = (
    "the cost of a delay",
    "what users expect",
    "three of the five cases",
    "the result from last year",
    "a simple rule",
    "the order of events",
    "most of the difference",
    "the question at hand",
    "a known limit",
    "the weight of the evidence",
)
ENDINGS = ("in practice", "at first", "with few exceptions", "when demand is high", "for the same price", "by design")
WORDS = tuple(dict.fromkeys(" ".join(SUBJECTS + VERBS + OBJECTS + ENDINGS).split()))


def pieces(text: str) -> list[str]:
    """Cuts text into word pieces; joined, they are the text again. One piece is billed as one token."""
    return _PIECE.findall(text)


def sentences(rng: Random, tokens: int) -> list[str]:
    """Prose of exactly `tokens` pieces, ending with a full stop."""
    prose: list[str] = []
    while len(prose) < tokens:
        prose += pieces((" " if prose else "") + _sentence(rng))
    return [*prose[: tokens - 1], "."] if tokens > 0 else []


def _sentence(rng: Random) -> str:
    parts = [rng.choice(SUBJECTS), rng.choice(VERBS), rng.choice(OBJECTS)]
    if rng.random() < 0.4:
        parts.append(rng.choice(ENDINGS))
    return " ".join(parts).capitalize() + "."


def words(rng: Random, count: int) -> str:
    """`count` words in random order: cheap filler for prompts."""
    return " ".join(rng.choices(WORDS, k=count))
