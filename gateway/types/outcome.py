"""The outcome of an attempt, its token usage, and its ledger row.

The row is the only source of tokens, money and success: metrics, rollups and pages are computed from it.

Types that are created for every request are msgspec.Structs: creating one takes a quarter of a dataclass's time.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from gateway.types.fault import FAULTS, Fault

About = Literal[  # what a rejection is about, and so which later requests it may affect
    "value",  # this value of the parameter
    "size",  # this size of the parameter, and larger ones
    "parameter",  # the parameter, with any value
    "request",  # only this request: its prompt, or an unknown reason
]
Ending = Literal["ok", "cancelled", "cached", "unrouted", "internal", "killed"]  # not a fault of an endpoint
OutcomeName = Ending | Fault
OUTCOMES: tuple[OutcomeName, ...] = (*get_args(Ending), *Fault)
HedgeResult = Literal[
    "",  # neither a second attempt, nor one that lost to it
    "won",  # a second attempt whose first token came first
    "lost",  # a second attempt, cancelled because the first one's token came first
    "failed",  # a second attempt that failed before its first token
    "cancelled",  # a second attempt whose exchange ended before its first token, mostly because the client left
    "beaten",  # a first attempt, cancelled because the second one's token came first
]
RegretReason = Literal["", "sample", "explore", "cap"]  # why an endpoint other than the best by score was chosen
ToolResult = Literal[
    "",  # no tool was called, or there is no verdict
    "ok",
    "unknown_name",  # a function that the request did not offer
    "not_json",  # arguments that are not a JSON object
    "misfit",  # arguments without a required key, or with a value of another type
    "leaked",  # markup of a call in the text, with or without the call itself
]
RepairKind = Literal[
    "call",  # a call that the host had left in the text as markup
    "markup",  # markup removed because its call was there too
    "arguments",  # a call's JSON completed, freed of a repetition or of quotes, or escaped
    "content",  # a JSON answer completed, or taken out of other text
]
PROBE = "gateway-probe"  # tenant, app and policy of the gateway's own requests; no client has this tenant
CacheResult = Literal[  # the part of the response cache in an exchange
    "off",
    "miss",
    "hit",
    "joined",  # the answer to an identical request that was under way
    "refresh",
]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed. `message` is the host's own, for the client; `param` is the rejected parameter, and
    `about` says what was rejected of it. `private` are the host's words about the gateway's account, which are for its
    operator only."""

    fault: Fault
    message: str
    status: int | None = None
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None  # seconds
    about: About = "value"
    private: str = ""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer. `cached` is part of `prompt`, `reasoning` part of `completion`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    source: Literal[
        "host",
        "counted",  # by the gateway, in an answer that was whole
        "estimated",
        "none",
    ] = "none"


class Row(msgspec.Struct, frozen=True, gc=False):
    """One attempt; with `attempt` 0, an exchange that no attempt closed, mostly because none was sent.

    Times in seconds, money in 1e-12 USD. `last` marks the row that closes its exchange; the `client_*` fields are set
    on that row only.
    """

    id: str  # f"{exchange}-{attempt}"
    exchange: str
    at: float  # unix time of the send
    tenant: str
    app: str
    model: str
    policy: str
    stream: bool
    endpoint: str  # "" when no request was sent
    provider: str
    attempt: int
    outcome: str  # an `OutcomeName`: msgspec cannot decode a union of strings and an enum
    status: int = 0  # the host's HTTP status, 0 without one
    error: str = ""
    finish_reason: str = ""
    ttft: float | None = None
    duration: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    usage_source: str = "none"
    cost: int = 0
    hedge: HedgeResult = ""
    continues: bool = False  # whether it continued the text of a broken attempt
    predicted_usd: int = 0  # 1e-12 USD
    predicted_s: float = 0.0  # to the last token
    regret: int = 0  # 1e-12 USD, of the decision; on the first attempt's row only
    regret_reason: RegretReason = ""
    explored: bool = False  # whether an endpoint with few recent answers was tried; on the first attempt's row only
    relaxed: str = ""  # the limit that the decision gave up, as in "missed slo"; on the first attempt's row only
    tools: ToolResult = ""
    repairs: tuple[RepairKind, ...] = ()  # the kinds of repair in the answer, each once
    held: bool = False  # whether the client read more slowly than the host sent: then the speed is not the host's
    throughput: float | None = None  # output tokens per second after the first token, where it can be measured
    prompt_cost: int = 0  # part of `cost`
    saved: int = 0  # 1e-12 USD: by the host's prompt cache; for a cached answer, what it cost when it was made
    last: bool = False
    client_status: int = 0  # the status that the client got; 499 when it left
    client_ttft: float | None = None
    client_duration: float = 0.0
    overhead: float = 0.0  # seconds in the gateway without waiting for an endpoint
    cache: CacheResult = "off"
    key: str = ""  # name of the client's key
    group: str = ""  # of keys
    user: str = ""  # hash of the request's `user`
    price: str = ""  # version of the price that `cost` was computed with


def counts(outcome: str) -> bool:
    """Whether this outcome is part of a success rate: all but a client that left, a worker that was killed,
    and faults of the request."""
    fault = FAULTS.get(outcome)
    return outcome not in ("cancelled", "killed") if fault is None else fault.counts
