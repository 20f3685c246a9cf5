"""What is known about one endpoint: measured on own traffic, published figures until then.

    attempts' ends ──answered, ended, confirmed, ...──> sketches ──refresh──> figures <── decisions

Learning only adds samples. What a decision reads are plain attributes, computed from the samples when they are due:
soon after something was learned, rarely when only time has passed.
"""

from bisect import bisect_left
from math import inf

from gateway.route.health import Breaker
from gateway.route.refusals import Refusals
from gateway.route.sketch import Rate, Sketch
from gateway.types import Endpoint, Measure, Price

SIZES = (2_000, 8_000, 32_000)  # uncached prompt tokens: TTFT is learned apart for each class
ENOUGH = 20.0  # samples before a measured figure binds
PRIOR_SAMPLES = 3.0  # samples that a published figure counts for
PREFILL = 8_000.0  # tokens a second, for sizes not yet seen
DEFAULT_TTFT = 1.5
DEFAULT_SPEED = 30.0
DEFAULT_UPTIME = 0.99
DEFAULT_TOOLS = 0.9
DEFAULT_TTL = 300.0
LEARNED_WITHIN = 0.1  # seconds until figures show what was learned
FADED_WITHIN = 10.0  # seconds until they show that old samples have faded
_FREE = Price(0.0, 0.0)


def size_class(uncached: float) -> int:
    """Index of the class of prompt sizes that `uncached` tokens fall in, 0 to 3."""
    return bisect_left(SIZES, uncached)


class EndpointState:
    """One endpoint's figures. Seconds, tokens per second, shares in [0, 1]; lists hold one figure per size class.

    `figures` has every measure that a policy can limit; None while there are fewer than `ENOUGH` samples. `revision`
    grows with every refresh, so that whoever worked something out from figures knows whether it still holds.
    """

    __slots__ = (
        "_hits",
        "_hour",
        "_minutes",
        "_speed",
        "_tools",
        "_ttft",
        "_ttft_all",
        "breaker",
        "concurrency",
        "confirm",
        "due",
        "endpoint",
        "fails",
        "figures",
        "in_flight",
        "not_before",
        "price",
        "refusals",
        "revision",
        "speed_p10",
        "speed_p50",
        "tools_ok",
        "ttft_p50",
        "ttft_p95",
        "ttft_p99",
        "ttl",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self.breaker = Breaker()
        self.refusals = Refusals()
        self.revision = 0
        self.in_flight = 0
        self.not_before = 0.0  # a 429 asked to wait until then
        self._ttft = tuple(Sketch() for _ in range(len(SIZES) + 1))
        self._ttft_all = Sketch()
        self._speed = Sketch()
        self._minutes = Rate(half_life=150.0)
        self._hour = Rate(half_life=1_800.0)
        self._tools = Rate(half_life=86_400.0)
        self._hits = Rate(half_life=3_600.0)
        self.figures: dict[Measure, float | None] = {}
        self.ttft_p50 = [0.0] * len(self._ttft)
        self.ttft_p95 = [0.0] * len(self._ttft)
        self.ttft_p99 = [0.0] * len(self._ttft)  # 0 while unknown
        self.configure(endpoint)
        self.refresh(0.0)
        self.due = 0.0

    def configure(self, endpoint: Endpoint) -> None:
        """Takes a (changed) configuration; what was measured stays."""
        self.endpoint = endpoint
        self.concurrency = inf if endpoint.limits.concurrency is None else endpoint.limits.concurrency
        self.ttl = endpoint.cache.ttl or (0.0 if endpoint.cache.automatic is False else DEFAULT_TTL)
        self.due = 0.0
        self.price = price = endpoint.price or _FREE
        self.figures |= {
            "context": endpoint.context,
            "max_output": endpoint.max_output or endpoint.context,
            "price.input": price.input,
            "price.output": price.output,
            "price.cached_input": price.input if price.cached_input is None else price.cached_input,
        }

    # what attempts tell

    def answered(self, ttft: float, uncached: float, speed: float | None, now: float) -> None:
        """A good answer: time to first token at this prompt size, and output speed if it says something."""
        self._ttft[size_class(uncached)].add(ttft, now)
        self._ttft_all.add(ttft, now)
        if speed:
            self._speed.add(speed, now)
        self._learned(now)

    def waited(self, seconds: float, size: int, now: float) -> None:
        """No first token came in that time. A wait longer than usual counts as a slow one, or slow ones stay unseen."""
        if seconds > self.ttft_p50[size]:
            self._ttft[size].add(seconds, now)
            self._ttft_all.add(seconds, now)
            self._learned(now)

    def ended(self, good: bool, now: float) -> None:
        """An attempt succeeded or failed."""
        self._minutes.add(good, now)
        self._hour.add(good, now)
        self._learned(now)

    def confirmed(self, share: float, now: float) -> None:
        """Of a prefix that was sent before, this share was billed as cached."""
        self._hits.add(share, now)
        self._learned(now)

    def called_tools(self, well_formed: bool, now: float) -> None:
        """An answer called tools."""
        self._tools.add(well_formed, now)
        self._learned(now)

    def _learned(self, now: float) -> None:
        if now + LEARNED_WITHIN < self.due:
            self.due = now + LEARNED_WITHIN

    # what decisions read

    def refresh(self, now: float) -> None:
        """Computes the figures from the samples; whoever reads them calls this when `due` is past."""
        self.revision += 1
        self.due = now + FADED_WITHIN
        priors = self.endpoint.priors
        base = priors.ttft_p50 or DEFAULT_TTFT
        for index, smallest in enumerate((0, *SIZES)):
            self._refresh_ttft(index, base + smallest / PREFILL, now)
        count = self._speed.count(now)
        p10, p50 = self._speed.quantiles((0.1, 0.5))
        usual = priors.throughput_p50 or DEFAULT_SPEED
        self.speed_p50 = _blend(p50, count, usual)
        self.speed_p10 = _blend(p10, count, usual / 2)
        self.fails = 1 - self._minutes.share(now, priors.uptime or DEFAULT_UPTIME, 10.0)
        self.tools_ok = self._tools.share(now, priors.tools_ok or DEFAULT_TOOLS, 20.0)
        self.confirm = self._hits.share(now, 0.5, 2.0)  # how much of a match the host's usage usually confirms
        self._refresh_measures(now)

    def _refresh_ttft(self, index: int, prior: float, now: float) -> None:
        sketch = self._ttft[index]
        count = sketch.count(now)
        p50, p95, p99 = sketch.quantiles((0.5, 0.95, 0.99))
        self.ttft_p50[index] = _blend(p50, count, prior)
        self.ttft_p95[index] = _blend(p95, count, 2.5 * prior)
        self.ttft_p99[index] = p99 if count >= ENOUGH else 0.0

    def _refresh_measures(self, now: float) -> None:
        p50, p95, p99 = self._ttft_all.quantiles((0.5, 0.95, 0.99))
        timed = self._ttft_all.count(now) >= ENOUGH
        self.figures |= {
            "ttft_p50": p50 if timed else None,
            "ttft_p95": p95 if timed else None,
            "ttft_p99": p99 if timed else None,
            "throughput_p50": self.speed_p50 if self._speed.count(now) >= ENOUGH else None,
            "uptime_5m": self._minutes.share(now, 1.0, 0.01) if self._minutes.count(now) >= ENOUGH else None,
            "uptime_1h": self._hour.share(now, 1.0, 0.01) if self._hour.count(now) >= ENOUGH else None,
            "tools_ok": self.tools_ok,
        }

    def __repr__(self) -> str:
        return f"<EndpointState {self.endpoint.id} in_flight={self.in_flight} {self.breaker!r}>"


def _blend(measured: float, count: float, prior: float) -> float:
    return (measured * count + prior * PRIOR_SAMPLES) / (count + PRIOR_SAMPLES)
