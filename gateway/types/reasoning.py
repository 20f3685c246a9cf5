"""Reasoning in a message or a delta, and the messages whose reasoning the model reads again."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

# Which earlier reasoning a model's prompt contains; the names are those of Fireworks' API.
#   disabled     none
#   interleaved  that of the tool calls since the last user message: DeepSeek-V3.2
#   preserved    with tools, all of it, in all later turns: DeepSeek-V4
ReasoningHistory = Literal["disabled", "interleaved", "preserved"]
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details")


def reasoning_text(message: Mapping[str, Any]) -> str | None:
    """The text of whichever field has it; empty where all fields are empty, None without such a field."""
    found = None
    for name in ("reasoning_content", "reasoning"):
        text = message.get(name)
        if isinstance(text, str):
            if text:
                return text
            found = text
    details = message.get("reasoning_details")
    if not isinstance(details, list):
        return found
    texts = [part.get("text") for part in details if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def read_again(body: Mapping[str, Any], history: ReasoningHistory) -> Sequence[int]:
    """The indexes of the messages whose reasoning the model reads again, in order."""
    messages = body["messages"]
    if history == "interleaved":
        last_user = max((at for at, message in enumerate(messages) if message.get("role") == "user"), default=-1)
        return [at for at in range(last_user + 1, len(messages)) if messages[at].get("tool_calls")]
    if history == "preserved" and (body.get("tools") or any(message.get("tool_calls") for message in messages)):
        return [at for at, message in enumerate(messages) if message.get("role") == "assistant"]
    return ()
