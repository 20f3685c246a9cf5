"""Reads JSON from its input with the strict types of OpenAI's SDK, and prints what does not fit: [[what, problem], ...]

Run by test_typed.py with the interpreter of the SDK's own environment; its input is a list of [what, JSON].
"""

import json
import sys

from openai.types.responses import Response, ResponseItemList, ResponseStreamEvent
from pydantic import TypeAdapter, ValidationError

TYPES = {
    "response": TypeAdapter(Response),
    "event": TypeAdapter(ResponseStreamEvent),
    "items": TypeAdapter(ResponseItemList),
}

problems = []
for what, payload in json.load(sys.stdin):
    try:
        TYPES[what].validate_json(json.dumps(payload), strict=True)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5]]
        problems.append([what, payload.get("type"), told])
print(json.dumps(problems))
