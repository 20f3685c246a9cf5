"""A client's request, parsed once, in the terms that routing needs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Surface = Literal["openai", "openrouter"]  # whose wire shape the client expects
CacheMode = Literal["default", "on", "no-store", "refresh"]


@dataclass(slots=True)
class Request:
    """One chat completion as asked for.

    `body` is the parsed JSON and is never changed; `prompt_tokens` is an estimate; `prefix` holds one cumulative hash
    per message boundary with the estimated tokens up to it, shortest first; `messages` is each message of the body as
    JSON, or empty where nobody has encoded them yet; `needs` are the capabilities without
    which the answer would be wrong (`tools`, `json_schema`, ...).
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
    prefix: tuple[tuple[int, int], ...] = ()
    messages: Sequence[bytes] = ()
    needs: frozenset[str] = field(default_factory=frozenset)
    cache: CacheMode = "default"
