"""A simulated host that is worse than the others: what it does wrong, and how often.

SimAnswer ──Flaws, chance──> the same, or a broken tool call, a wrong value, another model's words
"""

from dataclasses import dataclass, replace
from random import Random

from gateway.sim.sim_answer import SimAnswer, ToolCall
from gateway.sim.text import pieces, sentences
from gateway.types.units import Share


@dataclass(frozen=True, slots=True)
class Flaws:
    """Shares of the answers concerned. `tools`: arguments of a call are not JSON; `wrong`: a digit of the text is
    another one; `schema`: JSON ends early; `other`: the words are another model's; `thinking`: the switch is ignored.
    `context` is the share of the claimed context that is accepted."""

    tools: Share = 0.0
    wrong: Share = 0.0
    schema: Share = 0.0
    other: Share = 0.0
    thinking: Share = 0.0
    context: Share = 1.0

    def spoil(self, answer: SimAnswer, rng: Random) -> SimAnswer:
        """The answer that the host really gives."""
        text = "".join(answer.content)
        if answer.calls and rng.random() < self.tools:
            return replace(answer, calls=tuple(_broken(call) for call in answer.calls))
        if text.startswith("{"):
            return _with_text(answer, text[:-1]) if rng.random() < self.schema else answer
        if text and rng.random() < self.wrong:
            return _with_text(answer, text.translate(_NEXT_DIGIT))
        if text and rng.random() < self.other:
            return replace(answer, content=tuple(sentences(rng, len(answer.content))))
        return answer

    def thinks(self, asked: bool, rng: Random) -> bool:
        """Whether it thinks; `asked`: whether the request switches thinking on."""
        return not asked if rng.random() < self.thinking else asked


SOUND = Flaws()
_NEXT_DIGIT = str.maketrans("0123456789", "1234567890")


def _broken(call: ToolCall) -> ToolCall:
    """Without the end of its arguments."""
    return replace(call, arguments=call.arguments[:-1])


def _with_text(answer: SimAnswer, text: str) -> SimAnswer:
    return replace(answer, content=tuple(pieces(text)))
