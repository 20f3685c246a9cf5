"""The answers of the page's routes, field by field: the contract between the page's script and the gateway.

Times are unix seconds, durations seconds, money USD, prices USD per 1M tokens, shares 0 to 1; what is unknown is null.
"""

from typing import Any, Literal

from gateway.config import LimitName, Scope
from gateway.intake.field_types import ApiObject

EndpointCondition = Literal["in use", "on trial", "set back", "unused", "retired"]
Range = tuple[float, float]  # from, to


class ShownExchange(ApiObject):
    """One finished exchange. `endpoint` is null unless an endpoint answered; `endpoints` are those of all attempts. The
    tokens are those of the last attempt, `cost_usd` is that of all."""

    id: str
    ended: float
    model: str
    policy: str
    app: str
    endpoint: str | None
    endpoints: list[str]
    outcome: str
    status: int
    attempts: int
    hedged: bool
    retried: bool
    slow: bool
    ttft: float | None
    seconds: float
    prompt: int
    cached: int
    completion: int
    cost_usd: float
    cache: str


class ShownAttempt(ApiObject):
    """One attempt on the exchange's time line: seconds after the request arrived. `said`: the host's words, as far as
    they are ordinary ones."""

    n: int
    endpoint: str
    started: float
    first_token: float | None
    ended: float
    outcome: str
    status: int | None
    said: str | None
    hedge: str
    won: bool
    tokens: int
    cost_usd: float


class ExchangePage(ApiObject):
    exchanges: list[ShownExchange]
    more: bool


class ExchangeDetail(ApiObject):
    """`plan` is null where the response cache answered, and where no worker has it any more."""

    exchange: ShownExchange
    attempts: list[ShownAttempt]
    plan: dict[str, Any] | None


class ShownLimit(ApiObject):
    """One limit in its current period, over all workers: requests, tokens or USD. `hash`: the first digits of a key's
    SHA-256; `expires`: when the key does. Both are null for groups and apps."""

    scope: Scope
    name: str
    hash: str | None
    expires: float | None
    limit: LimitName
    bound: float
    used: float
    remaining: float
    resets_at: int


class ShownLimits(ApiObject):
    """The smallest share left first. `hidden`: how many keys and groups an open page does not show; `more`: how many
    keys, groups and apps are left out for lack of space."""

    limits: list[ShownLimit]
    hidden: int
    more: int


class ShownPrice(ApiObject):
    """Without a published discount, cached input costs as much as input."""

    input: float
    cached_input: float
    output: float
    as_of: str


class EndpointPage(ApiObject):
    """One endpoint. `why` and `until` explain its state; `set` is the environment variable that brings it into use."""

    id: str
    name: str
    provider: str
    quantization: str
    context: int
    max_output: int | None
    price: ShownPrice | None
    in_flight: int
    state: EndpointCondition
    why: str
    until: float | None
    published_uptime: float | None
    simulated: bool
    capabilities: list[str]
    set: str | None


class SourcedCapability(ApiObject):
    name: str
    source: str


class ModalityNames(ApiObject):
    input: list[str]
    output: list[str]


class PriceRanges(ApiObject):
    input: Range | None
    output: Range | None
    cached_input: Range | None


class ModelFacts(ApiObject):
    """`released` is null when unknown; `reasoning` says in words how to switch it, null without reasoning."""

    id: str
    name: str
    description: str
    author: str
    released: int | None
    context: int
    max_output: int | None
    modalities: ModalityNames
    capabilities: list[SourcedCapability]
    reasoning: str | None
    price: PriceRanges
    simulated: bool
    needs_key: bool
    base_url_path: str = "/v1"


class ModelName(ApiObject):
    id: str
    name: str


class PolicyName(ApiObject):
    name: str
    about: str


class PoliciesInForce(ApiObject):
    default: str
    in_force: list[PolicyName]
    problems: list[str]


class RankedPick(ApiObject):
    """`risk`: the probability of failure. `time_usd` and `risk_usd`: what its time and its risk count as."""

    endpoint: str
    usd: float
    seconds: float
    risk: float
    time_usd: float
    risk_usd: float


class DroppedPick(ApiObject):
    endpoint: str
    rule: str


class PolicyPick(ApiObject):
    """Where a typical request would go now under one policy."""

    endpoint: str | None
    why: str
    ranked: list[RankedPick]
    dropped: list[DroppedPick]


class Answer(ApiObject):
    q: str
    a: str


class AboutModel(ApiObject):
    """HTML made from the Markdown file; null where it has no such section."""

    profile: str | None = None
    shines: str | None = None
    limits: str | None = None
    questions: list[Answer] = []


class PublishedScore(ApiObject):
    """`percentile`: the share of the `of` models with a score of that name that do not score higher."""

    name: str
    score: float
    unit: str
    source: str
    url: str
    date: str
    percentile: float
    of: int


class ShownModel(ApiObject):
    at: float
    model: ModelFacts
    models: list[ModelName]
    version: str
    build: str
    endpoints: list[EndpointPage]
    policies: PoliciesInForce
    config_problems: list[str]  # why gateway.yaml on disk is not in force
    picks: dict[str, PolicyPick]
    about: AboutModel
    scores: list[PublishedScore]
    verdict: dict[str, list[str]]
