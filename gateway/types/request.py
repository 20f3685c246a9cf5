"""A client's request, parsed once, in the terms that routing needs."""

from math import inf
from typing import Any, Literal

import msgspec

from gateway.types.endpoint import Endpoint
from gateway.types.reasoning import ReasoningHistory

Surface = Literal["openai", "openrouter"]  # whose wire shape the client expects
FEW_TOKENS = 16
_RESULTS = frozenset({"tool", "function"})  # roles
CacheMode = Literal["default", "on", "no-store", "refresh"]


class Request(msgspec.Struct, frozen=True, gc=False):
    """One chat completion as asked for.

    `body` is the parsed JSON and is never changed, `raw` the bytes that it was parsed from (empty where there are
    none); `prompt_size` is in bytes, and `prompt_tokens` estimated from it, off by the share `doubt` at most; `prefix`
    holds one cumulative hash per message boundary with the estimated tokens up to it, shortest first; `opening` is how
    many are estimated up to the end of the first user message, tools included (what conversations with the same
    instructions may share); `needs` are the capabilities without which the answer would be wrong (`tools`,
    `json_schema`, ...); `session` names the conversation, where the client says so.
    """

    id: str  # gen-...: the exchange's name in headers, ledger and logs
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
    explain: bool = False  # whether the answer's headers say why it went where it went
    raw: bytes = b""
    created: int = 0  # unix time
    session: str = ""
    reasoning_history: ReasoningHistory = "interleaved"  # the model's rule, see `read_again`
    hides_reasoning: bool = False  # whether the model may think, but not be heard
    cache_ttl: float = 0.0  # seconds to keep the answer; 0 leaves it to the policy
    other_models: int = 0  # how many more of `models` may be asked where this one's answer is an error
    tells_routing: bool = False  # whether the answer has `openrouter_metadata`
    begun: bool = False  # whether the head has left already, for another model that did not answer
    patience: float = inf  # seconds until the client must see a byte, and between two; inf leaves it to the policy


def may_be_empty(request: Request) -> bool:
    """Whether an answer without a word may be what the model has to say: it began with a text that stops it, it
    continues what is whole already, a tool has done what was asked, or there is room for a few tokens only."""
    last = request.body["messages"][-1]
    few = request.max_tokens is not None and request.max_tokens <= FEW_TOKENS
    return few or bool(request.body.get("stop") or last.get("prefix")) or last["role"] in _RESULTS


def most_output(endpoint: Endpoint, request: Request) -> int | None:
    """The tokens that an answer may have there, as the request limits them and the endpoint does; None where the
    request does not."""
    return endpoint.max_output if gives_less(endpoint, request) else request.max_tokens


def gives_less(endpoint: Endpoint, request: Request) -> bool:
    """Whether the endpoint's own limit is below what the request allows its answer."""
    most, limit = request.max_tokens, endpoint.max_output
    return bool(most and limit and most > limit)
