"""Reads JSON from its input with the strict types of Anthropic's SDK, and prints what does not fit or is missing.

Run by test_typed.py with the interpreter of the SDK's own environment; its input is a list of [what, JSON].
"""

import json
import sys

from anthropic.types import ErrorResponse, Message, ModelInfo, RawMessageStreamEvent
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from pydantic import TypeAdapter, ValidationError

TYPES = {
    "message": [TypeAdapter(Message), TypeAdapter(BetaMessage)],
    "event": [TypeAdapter(RawMessageStreamEvent), TypeAdapter(BetaRawMessageStreamEvent)],
    "error": [TypeAdapter(ErrorResponse)],
    "model": [TypeAdapter(ModelInfo)],
}

problems = []
for what, payload in json.load(sys.stdin):
    for adapter in TYPES[what]:
        try:
            adapter.validate_json(json.dumps(payload), strict=True)
        except ValidationError as error:
            told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]]
            problems.append([what, payload.get("type"), told])
print(json.dumps(problems))
