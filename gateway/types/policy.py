"""A routing policy: what to require, what to minimise, when to retry, what to cache.

A policy is a point on one scale (`score.value_of_time`: 0 is the cheapest, a large value the fastest) plus limits.
Every field has a default, so the shortest policy is a name.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gateway.types.units import Seconds, Share, Usd, UsdPerHour

Operator = Literal["<=", ">="]
Measure = Literal[
    "price.input",  # USD per 1M tokens, list
    "price.cached_input",
    "price.output",
    "context",  # tokens
    "max_output",  # tokens
    "ttft_p50",  # seconds
    "ttft_p75",
    "ttft_p90",
    "ttft_p95",
    "ttft_p99",
    "throughput_p50",  # output tokens per second, reached by half of the answers
    "throughput_p75",  # reached by 75 % of the answers, and so on: the slow end
    "throughput_p90",
    "throughput_p99",
    "uptime_5m",  # share of attempts that succeeded
    "uptime_1h",
    "tools_ok",  # share of tool calls that were well-formed
]


@dataclass(frozen=True, slots=True)
class Limit:
    """One comparison, as in `ttft_p95: "<= 4s"`, in the base unit of its measure."""

    measure: Measure
    operator: Operator
    value: float

    def __str__(self) -> str:
        return f"{self.measure} {self.operator} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Require:
    """Hard limits: an endpoint that violates one is never used. Unknown declarations violate."""

    only: tuple[str, ...] = ()  # endpoint ids or providers
    ignore: tuple[str, ...] = ()
    quantization: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    zdr: bool = False
    no_training: bool = False
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """How dollars and seconds are weighed against each other. `price: list` ignores savings from prompt caching.

    `miss_cost` is the price of an hour over a preferred limit on latency; None derives it from `value_of_time`.
    """

    price: Literal["effective", "list"] = "effective"
    value_of_time: UsdPerHour = 0.30
    failure_cost: Usd = 0.002
    quality_cost: Usd = 0.0  # the cost of a bad tool call; a large value ranks by tool-call success
    miss_cost: UsdPerHour | None = None

    @property
    def usd_per_second_missed(self) -> float:
        """Dollars per second over a preferred limit: by default ten times the value of time, at least $1/h."""
        per_hour = max(10 * self.value_of_time, 1.0) if self.miss_cost is None else self.miss_cost
        return per_hour / 3600


@dataclass(frozen=True, slots=True)
class Pick:
    """How one endpoint is selected: `sample` among those within `edge` of the best score, weighted 1/score^2; the
    `best`; `fixed`: one endpoint.

    `order` follows a list of endpoint ids and providers, `latency` the time to first token, and `throughput` the output
    speed; the score decides among equals, and among endpoints that are not listed.
    """

    how: Literal["sample", "best", "fixed", "order", "latency", "throughput"] = "sample"
    edge: Share = 0.05
    explore: Share = 0.02
    endpoint: str | None = None
    order: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempts:
    """The maximum number of attempts before the answer begins, and their total time.

    `retries`: how many of them may go to the same endpoint while another one is left. `queue`: how long a request may
    wait for an endpoint at its `limits.concurrency`.
    """

    max: int = 4
    within: Seconds = 60.0
    retries: int = 1
    queue: Seconds = 0.2


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The timeouts of one attempt. `total` is for requests that are not streamed, `stream` for streamed answers."""

    connect: Seconds = 3.0
    first_token: Seconds = 10.0
    first_token_per_10k: Seconds = 5.0
    gap: Seconds = 30.0
    total: Seconds = 600.0
    stream: Seconds = 3600.0


class Delay(NamedTuple):
    """A delay: a time in seconds, or a quantile of the first-token times of the policy's requests. Neither means
    never."""

    seconds: float | None = None
    quantile: float | None = None  # 0.97 for p97


NEVER = Delay()


@dataclass(frozen=True, slots=True)
class Hedge:
    """A second attempt for a streamed request whose first token is late, within both shares."""

    after: Delay = NEVER
    max_share: Share = 0.03
    max_spend: Share = 0.01


@dataclass(frozen=True, slots=True)
class Cap:
    """The largest share of a policy's tokens, in and out, for one endpoint; 1 is off. A token's weight decays
    exponentially with time constant `window`."""

    share: Share = 1.0
    window: Seconds = 600.0


@dataclass(frozen=True, slots=True)
class CacheRule:
    """The response cache: `ttl: 0s` is off unless a request enables it."""

    ttl: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy file. `answer: whole` holds a streamed answer until it is complete, `resume: continue` lets another
    endpoint continue a broken one, and `content_filter: next` tries another endpoint after a content refusal.
    """

    name: str
    about: str = ""
    require: Require = field(default_factory=Require)
    prefer: tuple[Limit, ...] = ()
    slo: tuple[Limit, ...] = ()
    score: Score = field(default_factory=Score)
    pick: Pick = field(default_factory=Pick)
    affinity: Literal["prefix", "session", "none"] = "prefix"
    attempts: Attempts = field(default_factory=Attempts)
    timeouts: Timeouts = field(default_factory=Timeouts)
    keepalive: Seconds = 10.0
    answer: Literal["stream", "whole"] = "stream"
    resume: Literal["none", "continue"] = "none"
    content_filter: Literal["final", "next"] = "final"
    hedge: Hedge = field(default_factory=Hedge)
    cap: Cap = field(default_factory=Cap)
    cache: CacheRule = field(default_factory=CacheRule)

    @property
    def constrains_endpoints(self) -> bool:
        """Whether an answer under another policy might have come from an endpoint that this one forbids."""
        return self.require != Require() or self.pick.how == "fixed"
