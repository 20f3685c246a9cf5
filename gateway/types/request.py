"""A client's request, parsed once, with the facts that routing needs."""

from math import inf
from typing import Any, Literal, NamedTuple

import msgspec

from gateway.types.endpoint import Endpoint
from gateway.types.reasoning import ReasoningHistory

Surface = Literal["openai", "openrouter"]  # the client's API shape
FEW_TOKENS = 16
_RESULTS = frozenset({"tool", "function"})  # roles
CacheMode = Literal["default", "on", "no-store", "refresh"]


class IncomingTrace(NamedTuple):
    """The client's `traceparent` and `tracestate`, as they came."""

    parent: str
    state: str


class Request(msgspec.Struct, frozen=True, gc=False):
    """One chat completion as requested.

    body           the parsed JSON, never changed
    raw            the bytes that it was parsed from; empty without them
    prompt_size    bytes
    prompt_tokens  estimated from the size, with a relative error of at most `doubt`
    prefix         one cumulative hash per message boundary, with the estimated tokens up to it, shortest first
    opening        estimated tokens up to the end of the first user message, tools included: what conversations with the
                   same instructions may share
    needs          capabilities without which the answer would be wrong (`tools`, `json_schema`, ...)
    session        the client's name for the conversation, if any
    """

    id: str  # gen-...: the exchange's id in headers, ledger and logs
    body: dict[str, Any]
    model: str  # canonical id, suffix removed
    policy: str
    tenant: str = "local"
    app: str = ""
    surface: Surface = "openai"
    stream: bool = False
    include_usage: bool = False
    thinking: bool = False
    max_tokens: int | None = None
    prompt_tokens: int = 0
    prompt_size: int = 0
    doubt: float = 0.0
    prefix: tuple[tuple[int, int], ...] = ()
    opening: int = 0
    needs: frozenset[str] = frozenset()
    cache: CacheMode = "default"
    explain: bool = False  # whether the answer's headers explain the decision
    raw: bytes = b""
    created: int = 0  # unix time
    session: str = ""
    reasoning_history: ReasoningHistory = "interleaved"  # the model's rule, see `read_again`
    hides_reasoning: bool = False  # whether reasoning is enabled, but hidden from the client
    cache_ttl: float = 0.0  # seconds that the answer is cached; 0: as the policy says
    other_models: int = 0  # how many more of `models` may be tried if this one's answer is an error
    tells_routing: bool = False  # whether the answer has `openrouter_metadata`
    begun: bool = False  # whether the response has started already, for an earlier model that failed
    patience: float = inf  # longest silence in seconds that the client accepts; inf: as the policy says
    key: str = ""  # name of the client's key; empty: as its tenant
    group: str = ""  # of keys
    trace: IncomingTrace | None = None  # the client's trace; None without one, or where traces are off


def may_be_empty(request: Request) -> bool:
    """Whether an answer without content may be correct: `stop` is set, the last message may be complete already, a tool
    has done its work, or only a few tokens are allowed."""
    last = request.body["messages"][-1]
    few = request.max_tokens is not None and request.max_tokens <= FEW_TOKENS
    return few or bool(request.body.get("stop") or last.get("prefix")) or last["role"] in _RESULTS


def most_output(endpoint: Endpoint, request: Request) -> int | None:
    """The output limit of a request at an endpoint, in tokens; None where the request sets none."""
    return endpoint.max_output if gives_less(endpoint, request) else request.max_tokens


def gives_less(endpoint: Endpoint, request: Request) -> bool:
    """Whether the endpoint's own output limit is below the request's."""
    most, limit = request.max_tokens, endpoint.max_output
    return bool(most and limit and most > limit)
