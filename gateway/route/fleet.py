"""What is known about every endpoint: measured on own traffic, published figures until then.

One `EndpointState` per endpoint, keyed by id, so that it outlives a reload of the configuration. Figures that a
decision reads are plain attributes, brought up to date when an attempt ends: deciding is frequent, learning is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.route.affinity import PrefixIndex
from gateway.route.health import Breaker
from gateway.route.sketch import Rate, Sketch
from gateway.types import BLAMED, Endpoint, Failure, Request, Usage

SIZES = (2_000, 8_000, 32_000)  # uncached prompt tokens: TTFT is learned apart for each class
ENOUGH = 20.0  # samples before a measured figure binds
PREFILL = 8_000.0  # tokens a second, for sizes not yet seen
DEFAULT_TTFT = 1.5
DEFAULT_SPEED = 30.0
DEFAULT_UPTIME = 0.99
DEFAULT_TOOLS = 0.9
DEFAULT_TTL = 300.0
DEFAULT_OUTPUT = 350.0
REJECTION_MEMORY = 600.0
TIMEOUTS = frozenset({"timeout_first_token", "timeout_total"})


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt as the fleet remembers it: what was asked of which endpoint, and what was expected of it.

    `deadline` is the first-token clock in seconds; `expected_cached` the tokens that this endpoint was sent before.
    """

    endpoint: str
    request: Request
    deadline: float
    expected_cached: int = 0

    @property
    def tools(self) -> bool:
        return "tools" in self.request.needs


def size_class(uncached: float) -> int:
    """Index of the class of prompt sizes that `uncached` tokens fall in, 0 to 3."""
    return sum(uncached > size for size in SIZES)


class EndpointState:
    """One endpoint's figures. Seconds, tokens per second, shares in [0, 1]."""

    __slots__ = (
        "_hits",
        "_hour",
        "_minutes",
        "_speed",
        "_tools",
        "_ttft",
        "breaker",
        "confirm",
        "endpoint",
        "in_flight",
        "not_before",
        "rejected",
        "speed_p10",
        "speed_p50",
        "ttft_p50",
        "ttft_p95",
        "ttft_p99",
        "ttl",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.breaker = Breaker()
        self.in_flight = 0
        self.not_before = 0.0  # a 429 asked to wait until then
        self.rejected: dict[str, tuple[float, int]] = {}  # parameter -> (remembered until, prompt tokens)
        self._ttft = tuple(Sketch() for _ in range(len(SIZES) + 1))
        self._speed = Sketch()
        self._minutes = Rate(half_life=150.0)
        self._hour = Rate(half_life=1_800.0)
        self._tools = Rate(half_life=86_400.0)
        self._hits = Rate(half_life=3_600.0)
        self.configure(endpoint)

    def configure(self, endpoint: Endpoint) -> None:
        """Takes a (changed) configuration; what was measured stays."""
        self.endpoint = endpoint
        self.ttl = endpoint.cache.ttl or (0.0 if endpoint.cache.automatic is False else DEFAULT_TTL)
        base = endpoint.priors.ttft_p50 or DEFAULT_TTFT
        self.ttft_p50 = [self._ttft[i].quantile(0.5) or base + size / PREFILL for i, size in enumerate((0, *SIZES))]
        self.ttft_p95 = [self._ttft[i].quantile(0.95) or 2.5 * p50 for i, p50 in enumerate(self.ttft_p50)]
        self.ttft_p99 = [self._ttft[i].quantile(0.99) for i in range(len(self._ttft))]
        self.speed_p50 = self._speed.quantile(0.5) or endpoint.priors.throughput_p50 or DEFAULT_SPEED
        self.speed_p10 = self._speed.quantile(0.1) or self.speed_p50 / 2
        self.confirm = self._hits.share(0.0, 0.5, 2.0)  # how often a match was confirmed by the host's usage

    def answered(self, ttft: float, uncached: float, speed: float | None, now: float) -> None:
        """Learns from a good answer: time to first token at this prompt size, and output speed if it says something."""
        index = size_class(uncached)
        sketch = self._ttft[index]
        sketch.add(ttft, now)
        self.ttft_p50[index], self.ttft_p95[index] = sketch.quantile(0.5), sketch.quantile(0.95)
        self.ttft_p99[index] = sketch.quantile(0.99) if sketch.count(now) >= ENOUGH else 0.0
        if speed:
            self._speed.add(speed, now)
            self.speed_p50, self.speed_p10 = self._speed.quantile(0.5), self._speed.quantile(0.1)

    def ended(self, good: bool, now: float) -> None:
        self._minutes.add(good, now)
        self._hour.add(good, now)

    def confirmed(self, expected: int, cached: int, now: float) -> None:
        """Learns how much of a prefix that was sent before (`expected` tokens) was billed as cached."""
        if expected <= 0:
            return
        share = min(1.0, cached / expected)
        self._hits.add(True, now, share)
        self._hits.add(False, now, 1 - share)
        self.confirm = self._hits.share(now, 0.5, 2.0)

    def called_tools(self, well_formed: bool, now: float) -> None:
        self._tools.add(well_formed, now)

    def uptime(self, now: float) -> float:
        """Share of recent attempts that succeeded, from the published figure when there are few."""
        return self._minutes.share(now, self.endpoint.priors.uptime or DEFAULT_UPTIME, 10.0)

    def tools_ok(self, now: float) -> float:
        """Share of tool calls that were well formed: the published score as 20 samples, then own traffic."""
        return self._tools.share(now, self.endpoint.priors.tools_ok or DEFAULT_TOOLS, 20.0)

    def measured(self, measure: str, now: float) -> float | None:
        """A measured figure, or None while there are fewer than `ENOUGH` samples: unknown passes."""
        if measure.startswith("ttft_"):
            return self._quantile_over_sizes(float(measure[6:]) / 100, now)
        if measure == "throughput_p50":
            return self.speed_p50 if self._speed.count(now) >= ENOUGH else None
        if measure == "uptime_5m":
            return self._minutes.share(now, 1.0, 0.01) if self._minutes.count(now) >= ENOUGH else None
        if measure == "uptime_1h":
            return self._hour.share(now, 1.0, 0.01) if self._hour.count(now) >= ENOUGH else None
        return self.tools_ok(now)

    def _quantile_over_sizes(self, share: float, now: float) -> float | None:
        known = [(sketch.count(now), sketch.quantile(share)) for sketch in self._ttft if sketch.count(now) >= 1]
        total = sum(count for count, _ in known)
        return sum(count * value for count, value in known) / total if total >= ENOUGH else None

    def __repr__(self) -> str:
        return f"<EndpointState {self.endpoint.id} in_flight={self.in_flight} {self.breaker!r}>"


class Fleet:
    """All endpoints in use, what each was sent, and how long answers usually are."""

    __slots__ = ("_output", "prefixes", "states", "ttls")

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self.states: dict[str, EndpointState] = {}
        self.ttls: dict[str, float] = {}
        self.prefixes = PrefixIndex()
        self._output: dict[tuple[bool, bool], Sketch] = {}
        self.configure(endpoints)

    def configure(self, endpoints: Iterable[Endpoint]) -> None:
        """Takes the endpoints in use. Those that stay keep what was learned about them."""
        before, self.states = self.states, {}
        for endpoint in endpoints:
            state = before.get(endpoint.id) or EndpointState(endpoint)
            if state.endpoint != endpoint:
                state.configure(endpoint)
            self.states[endpoint.id] = state
        self.ttls = {name: state.ttl for name, state in self.states.items()}

    def expected_output(self, thinking: bool, tools: bool, max_tokens: int | None) -> float:
        """Mean output tokens that such requests get, as far as is known, at most what the client allows."""
        sketch = self._output.get((thinking, tools))
        usual = (sketch.quantile(0.5) if sketch else 0.0) or DEFAULT_OUTPUT
        return min(usual, max_tokens) if max_tokens else usual

    def longest_output(self, thinking: bool, tools: bool, max_tokens: int | None) -> float:
        """Output tokens that 99 of 100 such requests stay under, at most what the client allows."""
        sketch = self._output.get((thinking, tools))
        usual = (sketch.quantile(0.99) if sketch else 0.0) or 16 * DEFAULT_OUTPUT
        return min(usual, max_tokens) if max_tokens else usual

    def sent(self, attempt: Try, now: float) -> None:
        state = self.states.get(attempt.endpoint)
        if state is None:
            return
        state.in_flight += 1
        state.breaker.sent(now)
        self.prefixes.sent(attempt.request.prefix, attempt.endpoint, now)

    def succeeded(self, attempt: Try, usage: Usage, ttft: float | None, speed: float | None, now: float) -> None:
        """An attempt ended well. `ttft` (s) and `speed` (output tokens/s) are None where they say nothing."""
        state = self.states.get(attempt.endpoint)
        if state is None:
            return
        state.in_flight -= 1
        state.breaker.succeeded(now)
        state.ended(True, now)
        request = attempt.request
        if ttft is not None:
            state.answered(ttft, max(0, (usage.prompt or request.prompt_tokens) - usage.cached), speed, now)
        if usage.source == "host":
            state.confirmed(attempt.expected_cached, usage.cached, now)
            output = self._output.setdefault((request.thinking, attempt.tools), Sketch(3_600.0))
            output.add(max(1, usage.completion), now)

    def failed(self, attempt: Try, failure: Failure, now: float, chance: float) -> None:
        """An attempt failed. `chance` is one draw in [0, 1)."""
        state = self.states.get(attempt.endpoint)
        if state is None:
            return
        state.in_flight -= 1
        if failure.fault == "rate_limited":
            state.not_before = max(state.not_before, now + (failure.retry_after or 1.0))
        elif failure.fault == "rejected" and (failure.param == "context" or failure.param in attempt.request.body):
            state.rejected[failure.param] = (now + REJECTION_MEMORY, attempt.request.prompt_tokens)
        if failure.fault in BLAMED and self._blames(state, failure, attempt):
            state.ended(False, now)
            state.breaker.failed(now, chance, failure.fault)
        else:
            state.breaker.released()

    def released(self, endpoint: str) -> None:
        """An attempt was cancelled: it says nothing about health."""
        state = self.states.get(endpoint)
        if state is not None:
            state.in_flight -= 1
            state.breaker.released()

    def distrust(self, endpoint: str, why: str, now: float, chance: float) -> None:
        """The account's fault was confirmed: opens the breaker of every endpoint that uses the same credential."""
        state = self.states.get(endpoint)
        if state is None:
            return
        credential = state.endpoint.api_key_env
        for other in self.states.values():
            if other is state or (credential and other.endpoint.api_key_env == credential):
                other.breaker.trip(now, chance, why)

    def _blames(self, state: EndpointState, failure: Failure, attempt: Try) -> bool:
        """A timeout counts only where peers meet that clock at that size."""
        if failure.fault not in TIMEOUTS or len(self.states) < 2:
            return True
        index = size_class(attempt.request.prompt_tokens - attempt.expected_cached)
        peers = (other for other in self.states.values() if other is not state)
        return any(peer.ttft_p95[index] <= attempt.deadline for peer in peers)

    def __repr__(self) -> str:
        return f"<Fleet {list(self.states)}>"
