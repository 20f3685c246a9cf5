"""Greedy fingerprints: every host gets the same question at temperature 0; the majority shows what the model answers.

The questions have one usual answer, and only its beginning is compared: numerical noise changes later words at honest
hosts. Another model, a coarser quantization or an altered prompt shows in the first words.
"""

import re
from collections import Counter
from collections.abc import Mapping
from random import Random

from gateway.probe.canary_question import Json

NAME = "fingerprint"
COMPARED = 12  # words
FEWEST = 3  # hosts that agree, and more than half of all: else there is no majority
MAX_TOKENS = 48
PROMPTS = (
    "Write the first two sentences of a short definition of photosynthesis for a school book.",
    "List the planets of the solar system from the sun outwards, with one adjective for each.",
    "Explain in two sentences what a hash table is.",
    "Translate into French: The train to the north leaves every morning from the second platform.",
    "Continue the sequence and name its rule: 2, 3, 5, 7, 11, 13,",
    "Write one sentence about the moon that contains the words tide, shadow and silver.",
)
_WORD = re.compile(r"\w+")


def prompt(rng: Random) -> Json:
    """The question of one round, the same for all hosts."""
    text = PROMPTS[rng.randrange(len(PROMPTS))]
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": MAX_TOKENS}


def compared(answers: Mapping[str, str]) -> dict[str, bool]:
    """Which endpoints agree with the majority; empty without one. `answers`: endpoint -> text."""
    starts = {endpoint: tuple(_WORD.findall(text.lower())[:COMPARED]) for endpoint, text in answers.items()}
    if not starts:
        return {}
    [(usual, count)] = Counter(starts.values()).most_common(1)
    if count < FEWEST or 2 * count <= len(starts):
        return {}
    return {endpoint: start == usual for endpoint, start in starts.items()}
