"""Reads JSON from its input with the types of OpenRouter's SDK, and prints what does not fit, or is unknown to it.

Run by test_typed.py with the interpreter of the SDK's own environment; its input is a list of [what, JSON].
"""

import json
import sys

from openrouter.components import BodyMessage, OpenResponsesResult, StreamEvents
from pydantic import TypeAdapter, ValidationError

TYPES = {
    "response": TypeAdapter(OpenResponsesResult),
    "event": TypeAdapter(StreamEvents),
    "message": TypeAdapter(BodyMessage),
}


def unknown(read, where=""):
    """Where a payload was not recognised: the SDK keeps it, and tells nobody."""
    if getattr(read, "is_unknown", False):
        return [where]
    if isinstance(read, list):
        return [one for index, inner in enumerate(read) for one in unknown(inner, f"{where}[{index}]")]
    fields = getattr(read, "__dict__", {})
    return [one for name, inner in fields.items() for one in unknown(inner, f"{where}.{name}")]


problems = []
for what, payload in json.load(sys.stdin):
    try:
        told = unknown(TYPES[what].validate_python(payload))
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]]
    if told:
        problems.append([what, payload.get("type"), told])
print(json.dumps(problems))
