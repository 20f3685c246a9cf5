"""What an endpoint refused lately, so that it is not asked the same again.

A refusal is remembered for 10 minutes by its parameter, and by how much was asked of it where that is a matter of size
(`context`, `max_tokens`). What every request carries (`messages`, `model`) is not remembered: it was about one
request, and would take the endpoint from everybody.
"""

from gateway.types import Request

MEMORY = 600.0  # seconds
MOST = 16  # parameters remembered
_ALWAYS = frozenset({"messages", "model", "stream"})
_OUTPUT = frozenset({"max_tokens", "max_completion_tokens"})


class Refusals:
    """One endpoint's refusals. `now` in seconds."""

    __slots__ = ("seen",)

    def __init__(self) -> None:
        self.seen: dict[str, tuple[float, int]] = {}  # parameter -> (remembered until, refused from this size on)

    def remember(self, parameter: str, request: Request, now: float) -> None:
        """The endpoint refused this request because of `parameter`."""
        size = _asked(parameter, request)
        if size is None:
            return
        self.seen.pop(parameter, None)
        self.seen[parameter] = (now + MEMORY, size)
        if len(self.seen) > MOST:
            del self.seen[next(iter(self.seen))]

    def against(self, request: Request, now: float) -> str | None:
        """The parameter of this request that the endpoint refused lately, if any."""
        for parameter, (until, least) in self.seen.items():
            if now < until:
                size = _asked(parameter, request)
                if size is not None and size >= least:
                    return parameter
        return None

    def __repr__(self) -> str:
        return f"<Refusals {list(self.seen)}>"


def _asked(parameter: str, request: Request) -> int | None:
    """How much of this the request asks for: tokens, or 0 where it has no size; None when it does not ask."""
    if parameter == "context":
        return request.prompt_tokens + (request.max_tokens or 0)
    if parameter in _OUTPUT:
        return request.max_tokens
    if parameter in _ALWAYS or request.body.get(parameter) is None:
        return None
    return 0
