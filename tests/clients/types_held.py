"""What the scripts `types_*.py` share: each runs in the environment of an SDK, and reads what `specs.py` collected."""

import json
import sys
from functools import cache

from pydantic import TypeAdapter, ValidationError


def hold(kind, strict=True):
    """Prints [place in the list, what does not fit] of each answer; `kind(answer)` is its type, or a tuple of
    several, None where it has none.

    Without `strict`, texts may be read as moments and the like, as an SDK does that makes objects of them.
    """
    found = []
    for index, answer in enumerate(json.load(sys.stdin)):
        of = kind(answer)
        for one in of if isinstance(of, tuple) else () if of is None else (of,):
            found += [[index, what] for what in deviations(one, answer[-1], strict)]
    print(json.dumps(found))


adapter = cache(TypeAdapter)  # to make one takes a tenth of a second


def deviations(of, payload, strict):
    try:
        read = adapter(of).validate_json(json.dumps(payload), strict=strict)
    except ValidationError as error:
        return [f"{of_path(one['loc'])}: {one['msg']}" for one in error.errors()[:5]]
    return [f"{where or 'it'} is read as of an unknown kind" for where in unknown(read)]


def unknown(read, where=""):
    """Where a payload fits no type: OpenRouter's SDK keeps it, and says nothing."""
    if type(read).__name__.startswith("Unknown"):
        return [where]
    if isinstance(read, list):
        return [one for inner in read for one in unknown(inner, f"{where}[]")]
    fields = getattr(read, "__dict__", {})
    return [one for name, inner in fields.items() for one in unknown(inner, f"{where}.{name}".lstrip("."))]


def of_path(loc):
    return ".".join("[]" if isinstance(part, int) else str(part) for part in loc) or "the whole"
