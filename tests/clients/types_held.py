"""What the scripts `types_*.py` share: each runs in the environment of an SDK, and reads what `specs.py` collected."""

import json
import sys

from pydantic import TypeAdapter, ValidationError


def hold(kind, strict=True):
    """Prints [place in the list, what does not fit] of each answer; `kind(answer)` is its type, None where it has none.

    Without `strict`, texts may be read as moments and the like, as an SDK does that makes objects of them.
    """
    found = []
    for index, answer in enumerate(json.load(sys.stdin)):
        if (of := kind(answer)) is not None:
            found += [[index, what] for what in deviations(of, answer[-1], strict)]
    print(json.dumps(found))


def deviations(of, payload, strict):
    try:
        read = TypeAdapter(of).validate_json(json.dumps(payload), strict=strict)
    except ValidationError as error:
        return [f"{of_path(one['loc'])}: {one['msg']}" for one in error.errors()[:5]]
    unknown = type(read).__name__.startswith("Unknown")  # what OpenRouter's makes of an event that fits no type
    return ["it is read as of an unknown kind"] if unknown else []


def of_path(loc):
    return ".".join("[]" if isinstance(part, int) else str(part) for part in loc) or "the whole"
