"""What an endpoint recently rejected, so that similar requests go elsewhere first.

    rejection ──remember──> (tenant, thinking, parameter, value | size | kind) for 10 minutes ──against──> its parameter

What caused the rejection is remembered: the value (as a digest), the size or anything larger, or the parameter's kind
if the host does not support it at all. The name alone of a parameter that most requests carry is never enough. It
applies only to requests of the same tenant with the same reasoning setting. What was about one prompt is not remembered
at all.
"""

from collections.abc import Callable
from typing import Any

from gateway.types import About, Request

MEMORY = 600.0  # seconds
MOST = 16  # remembered of one tenant
MOST_TENANTS = 64
_ALWAYS = frozenset({"messages", "model", "stream"})  # every request has them: what is in them is its own
_OUTPUT = frozenset({"max_tokens", "max_completion_tokens"})
_SIZE = "size"

Mark = tuple[bool, str, str]  # thinking, parameter, and what of it
Digests = dict[str, str]  # of one request's parameters, computed once for all endpoints


class Refusals:
    """One endpoint's refusals. `now` in seconds; `until` is when the last of them is forgotten."""

    __slots__ = ("_on_refusal", "_seen", "until")

    def __init__(self, on_refusal: Callable[[], object] = bool) -> None:
        """`on_refusal` is called whenever one is remembered."""
        self._on_refusal = on_refusal
        self.until = 0.0
        self._seen: dict[str, dict[Mark, tuple[float, float]]] = {}  # tenant -> mark -> (until, from this size on)

    def remember(self, parameter: str, about: About, request: Request, now: float) -> None:
        """The endpoint rejected this request because of `parameter`."""
        what, size = _what(parameter, about, request)
        if what is None:
            return
        own = self._seen.pop(request.tenant, {})
        mark = (request.thinking, parameter, what)
        own.pop(mark, None)
        own[mark] = (now + MEMORY, size)
        self._seen[request.tenant] = own
        self.until = now + MEMORY
        self._on_refusal()
        _drop_oldest(own, MOST)
        _drop_oldest(self._seen, MOST_TENANTS)

    def against(self, request: Request, now: float, digests: Digests) -> str | None:
        """The parameter of this request that the endpoint recently rejected, if any. `digests` are the request's,
        filled as they are needed."""
        for (thinking, parameter, what), (until, least) in self._seen.get(request.tenant, {}).items():
            if now < until and thinking is request.thinking and _has(request, parameter, what, least, digests):
                return parameter
        return None

    def __repr__(self) -> str:
        return f"<Refusals {self._seen}>"


def _what(parameter: str, about: About, request: Request) -> tuple[str | None, float]:
    """What of the parameter is rejected, and from which size on; None if other requests cannot have it."""
    size = _size(parameter, request)
    if parameter == "context" or (about == "size" and size is not None):
        return _SIZE, size or 0.0
    if about == "request" or parameter in _ALWAYS or request.body.get(parameter) is None:
        return None, 0.0
    return (_kind(parameter, request) if about == "parameter" else _digest(parameter, request)), 0.0


def _has(request: Request, parameter: str, what: str, least: float, digests: Digests) -> bool:
    """Whether a request has what was rejected."""
    if what == _SIZE:
        size = _size(parameter, request)
        return size is not None and size >= least
    if request.body.get(parameter) is None:
        return False
    if parameter not in digests:
        digests[parameter] = _digest(parameter, request)
    return what in (digests[parameter], _kind(parameter, request))


def _size(parameter: str, request: Request) -> float | None:
    """How much of this the request has: tokens, items, characters, or the number itself; None where that has no
    size."""
    if parameter == "context":
        return request.prompt_tokens + (request.max_tokens or 0)
    value: Any = request.max_tokens if parameter in _OUTPUT else request.body.get(parameter)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return len(value) if isinstance(value, (str, list)) else None


def _kind(parameter: str, request: Request) -> str:
    """The form of a parameter that a host may lack: tools that the model may choose, a format of answers."""
    if parameter == "tools":
        return f"kind: {_choice(request.body.get('tool_choice') or 'auto')}"
    if parameter == "response_format":
        form = request.body["response_format"]
        kind = form.get("type") if isinstance(form, dict) else form
        return f"kind: {kind}{' with tools' if request.body.get('tools') else ''}"
    return "kind: any"


def _digest(parameter: str, request: Request) -> str:
    """A short name for the value; all forced functions count as one value."""
    value = request.body[parameter]
    if parameter == "tool_choice":
        return _choice(value)
    return f"{hash(repr(value)):x}"


def _choice(choice: Any) -> str:
    return choice[:16] if isinstance(choice, str) else "named"


def _drop_oldest(kept: dict[Any, Any], most: int) -> None:
    if len(kept) > most:
        del kept[next(iter(kept))]
