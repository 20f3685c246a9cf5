"""How an attempt ended, what it used, and the row that remembers it.

The row is the only source of tokens, money and success: metrics, rollups and pages are made from it.

What is made for every request is a msgspec.Struct: it takes a quarter of a dataclass's time to make.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import msgspec

from gateway.types.fault import FAULTS, Fault

About = Literal[  # what a rejection is about, and so which later requests it may concern
    "value",  # this value of the parameter
    "size",  # as much of it, or more
    "parameter",  # the parameter, whatever its value
    "request",  # this one request: its prompt, or what is not known
]
Ending = Literal["ok", "cancelled", "cached", "unrouted", "internal"]  # without a fault of an endpoint
OutcomeName = Ending | Fault
OUTCOMES: tuple[OutcomeName, ...] = (*get_args(Ending), *Fault)
HedgeResult = Literal[
    "",  # this attempt was neither a second one nor beaten by one
    "won",  # a second attempt whose first token came first
    "lost",  # a second attempt, cancelled because the first one's token came first
    "failed",  # a second attempt that failed before any token
    "cancelled",  # a second attempt whose exchange ended before any token, mostly because the client left
    "beaten",  # a first attempt, cancelled because the second one's token came first
]
RegretReason = Literal["", "sample", "explore", "cap"]  # why an endpoint without the best score was chosen
ToolResult = Literal[
    "",  # no tool was called, or nothing can be said
    "ok",
    "unknown_name",  # a function that the request did not offer
    "not_json",  # arguments that are not a JSON object
    "misfit",  # arguments without a required key, or with a value of another type
    "leaked",  # markup of a call in the text, in place of the call or beside it
]
RepairKind = Literal[
    "call",  # a call that the host had left in the text as markup
    "markup",  # markup removed beside the call that it was
    "arguments",  # a call's JSON completed, said once in place of twice, taken out of quotes, or escaped
    "content",  # an answer in JSON taken out of what was around it, or completed
]
CacheResult = Literal["off", "miss", "hit", "refresh"]  # what the response cache had to do with an exchange


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed. `message` is the host's own words, for the client; `param` names what was rejected, and
    `about` says what of it."""

    fault: Fault
    message: str
    status: int | None = None
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None  # seconds
    about: About = "value"


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer. `cached` is part of `prompt`, `reasoning` part of `completion`."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    source: Literal["host", "estimated", "none"] = "none"


class Row(msgspec.Struct, frozen=True, gc=False):
    """One attempt (or, with `attempt` 0, an exchange that no attempt has closed, mostly because no request was sent).

    Times in seconds, money in 1e-12 USD. `last` marks the row that closes its exchange; the `client_*` fields are
    filled on that row only.
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
    outcome: str  # an `OutcomeName`: msgspec cannot read a union of strings and an enum
    status: int = 0  # the host's HTTP status, 0 when none came
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
    continues: bool = False  # whether it went on with the text of an attempt that broke
    predicted_usd: int = 0  # 1e-12 USD
    predicted_s: float = 0.0  # to the last token
    regret: int = 0  # 1e-12 USD, of the decision; on the first attempt's row only
    regret_reason: RegretReason = ""
    explored: bool = False  # whether an endpoint with few recent answers was tried; on the first attempt's row only
    relaxed: str = ""  # what the decision gave up, as in "missed slo"; on the first attempt's row only
    tools: ToolResult = ""
    repairs: tuple[RepairKind, ...] = ()  # what was mended in the answer, each kind once
    held: bool = False  # whether the client took the answer slower than the host gave it: its speed says nothing
    last: bool = False
    client_status: int = 0  # what the client got; 499 when it left
    client_ttft: float | None = None
    client_duration: float = 0.0
    overhead: float = 0.0  # time spent in the gateway while no endpoint was being waited for
    cache: CacheResult = "off"


def counts(outcome: str) -> bool:
    """Whether this outcome is in a success rate: neither the client left, nor was it the request that failed."""
    fault = FAULTS.get(outcome)
    return outcome != "cancelled" if fault is None else fault.counts
