"""What the model thought, as a message or a delta carries it: hosts and clients have three fields for it."""

from collections.abc import Mapping
from typing import Any

REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details")


def reasoning_text(said: Mapping[str, Any]) -> str | None:
    """The text, in whichever field it stands; empty where a field holds none, None where there is no field."""
    found = None
    for name in ("reasoning_content", "reasoning"):
        text = said.get(name)
        if isinstance(text, str):
            if text:
                return text
            found = text
    details = said.get("reasoning_details")
    if not isinstance(details, list):
        return found
    texts = [part.get("text") for part in details if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))
