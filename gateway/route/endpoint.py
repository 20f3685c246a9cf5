"""What is known about one endpoint: measured on own traffic; until then published, or else usual among its peers.

    attempts' ends ──answered, ended, confirmed, ...──> sketches ──refresh──> figures <── decisions
    other workers ──────────────────heard──────────────────┘ peers ──┘

Learning only adds samples. What a decision reads are plain attributes, computed from the samples when they are due:
soon after something was learned, rarely when only time has passed.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import ceil, exp, inf, log

from gateway.route.crowd import Crowd
from gateway.route.health import Breaker
from gateway.route.measured import Measured
from gateway.route.outliers import Standing
from gateway.route.peers import Peers
from gateway.route.ramp import Ramp
from gateway.route.ratelimit import RateLimit
from gateway.route.refusals import Refusals
from gateway.route.sketch import Rate, Sketch
from gateway.types import Endpoint, Measure, Price, Priors

SIZES = (2_000, 8_000, 32_000)  # uncached prompt tokens: TTFT is learned apart for each class
ENOUGH = 20.0  # samples before a measured figure binds
PRIOR_SAMPLES = 3.0  # samples that a published figure counts for
PREFILL = 8_000.0  # tokens a second, for sizes not yet seen
STEPS = tuple((size - smaller) / PREFILL for smaller, size in zip((0, *SIZES), SIZES, strict=False))  # seconds
DEFAULT_TTFT = 1.5  # this and what follows, where nothing is published, and nothing known of any peer
DEFAULT_SPEED = 30.0
SPREAD_TTFT = 0.557  # of its logarithm, where no p90 is published: the p95 is 2.5 times the median
MEAN_TOKEN = 1.15  # times the median of seconds per token, where the slowest tenth has half the usual speed
DEFAULT_UPTIME = 0.99
DEFAULT_TOOLS = 0.9
DEFAULT_TTL = 300.0
HITS = 0.9  # of a match that was probably cached: a host is taken at its word until its usage speaks
HITS_SAMPLES = 2.0
LEARNED_WITHIN = 0.1  # seconds until figures show what was learned
FADED_WITHIN = 10.0  # seconds until they show that old samples have faded
NO_PEERS = Peers((None,) * (len(SIZES) + 1))
_FREE = Price(0.0, 0.0)
_TTFTS = (0.5, 0.75, 0.9, 0.95, 0.99)
_TTFT_MEASURES: tuple[Measure, ...] = ("ttft_p50", "ttft_p75", "ttft_p90", "ttft_p95", "ttft_p99")
_SPEEDS = (0.1, 0.5, 0.25, 0.01)  # the speed that 90 % of answers reach is the slowest tenth's best
_SPEED_MEASURES: tuple[Measure, ...] = ("throughput_p90", "throughput_p50", "throughput_p75", "throughput_p99")
_UNKNOWN = (None,) * len(_TTFTS)


def size_class(uncached: float) -> int:
    """Index of the class of prompt sizes that `uncached` tokens fall in, 0 to 3."""
    return bisect_left(SIZES, uncached)


class EndpointState:
    """One endpoint's figures. Seconds, tokens per second, shares in [0, 1]; lists hold one figure per size class.

    What an answer is expected to take is told by means, `ttft_mean` and `token_mean` (seconds per output token): a host
    whose median is good and whose tail is long takes longer than one that is steady.

    `figures` has every measure that a policy can limit; None while there are fewer than `ENOUGH` samples. `revision`
    grows with every refresh, so that whoever worked something out from figures knows whether it still holds. What
    changes with every request stands apart from them: `in_flight` and how `crowded` that makes the endpoint, a factor
    on its seconds; `concurrency`, how many it may have in flight; `held_until`, the end of all that sets it back.
    """

    __slots__ = (
        "_hits",
        "_hour",
        "_minutes",
        "_most_at_once",
        "_peers",
        "_ramp",
        "_speed",
        "_spread",
        "_tools",
        "_ttft",
        "_ttft_all",
        "breaker",
        "concurrency",
        "confirm",
        "crowd",
        "crowded",
        "due",
        "endpoint",
        "fails",
        "figures",
        "held_until",
        "in_flight",
        "price",
        "rate_limit",
        "refusals",
        "revision",
        "speed_p10",
        "speed_p50",
        "standing",
        "token_mean",
        "tools_ok",
        "ttft_mean",
        "ttft_p50",
        "ttft_p95",
        "ttft_p99",
        "ttl",
    )

    def __init__(self, endpoint: Endpoint, workers: int = 1) -> None:
        """`workers` is how many of this gateway share what the endpoint allows."""
        self.breaker = Breaker()
        self.refusals = Refusals()
        self.rate_limit = RateLimit()
        self.standing = Standing()
        self.crowd = Crowd()
        self.revision = 0
        self.in_flight = 0
        self.crowded = 1.0
        self.held_until = 0.0
        self._ramp = Ramp()
        self._peers = NO_PEERS
        self._ttft = tuple(Sketch() for _ in range(len(SIZES) + 1))
        self._ttft_all = Sketch()
        self._speed = Sketch()
        self._minutes = Rate(half_life=150.0)
        self._hour = Rate(half_life=1_800.0)
        self._tools = Rate(half_life=86_400.0)
        self._hits = Rate(half_life=3_600.0)
        self.figures: dict[Measure, float | None] = {}
        self.ttft_mean = [0.0] * len(self._ttft)
        self.ttft_p50 = [0.0] * len(self._ttft)
        self.ttft_p95 = [0.0] * len(self._ttft)
        self.ttft_p99 = [0.0] * len(self._ttft)  # 0 while unknown
        self.configure(endpoint, workers)
        self.refresh(0.0)
        self.due = 0.0

    def configure(self, endpoint: Endpoint, workers: int = 1) -> None:
        """Takes a (changed) configuration; what was measured stays."""
        self.endpoint = endpoint
        self.rate_limit.publish(endpoint.limits, 1 / workers)
        most = endpoint.limits.concurrency
        self._most_at_once = inf if most is None else ceil(most / workers)
        self.concurrency = min(self._most_at_once, self._ramp.window)
        self.ttl = endpoint.cache.ttl or (0.0 if endpoint.cache.automatic is False else DEFAULT_TTL)
        self._spread = _spread(endpoint.priors)
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

    def sent(self, tokens: float, now: float) -> None:
        """A request with so many tokens, its expected answer included, goes out."""
        self.in_flight += 1
        self._crowd()
        self.rate_limit.sent(tokens, now)
        self.hold()

    def done(self) -> None:
        """A request that went out is over, however it ended."""
        self.in_flight -= 1
        self._crowd()

    def answered(self, ttft: float, uncached: float, speed: float | None, in_flight: int, now: float) -> None:
        """A good answer to a request that was one of `in_flight` when it was sent.

        `ttft` is its time to first token, at this prompt size; `speed` its output speed, if that says something.
        """
        size = size_class(uncached)
        self.crowd.answered(in_flight, ttft / self.ttft_p50[size] if self.ttft_p99[size] else None, now)
        self._crowd()
        self._timed(ttft, size, now)
        if speed:
            self._speed.add(speed, now)

    def waited(self, seconds: float, size: int, now: float) -> None:
        """No first token came in that time, and then nobody waited any more.

        It counts as what those take that take longer: left out, or taken for the whole, slow answers would stay unseen.
        """
        mean, count = self._ttft[size].beyond(seconds, now)
        self._timed(_blend(mean, count, max(seconds, self.ttft_p95[size])), size, now)

    def ended(self, good: bool, now: float) -> None:
        """An attempt succeeded or failed."""
        self._minutes.add(good, now)
        self._hour.add(good, now)
        self.standing.ended(good, now)
        if self._ramp.window != inf:
            self._ramp.ended(good)
            self.concurrency = min(self._most_at_once, self._ramp.window)
        self._learned(now)

    def refused(self, sent_at: float, wait: float | None, now: float) -> None:
        """A request of that time was answered 429, which may have said how many seconds to wait."""
        self.rate_limit.refused(sent_at, wait, now)
        self.hold()

    def starts_slowly(self) -> None:
        """It came into use, or back: it is trusted with few requests at first."""
        self._ramp.begin()
        self.concurrency = min(self._most_at_once, self._ramp.window)

    def hold(self) -> None:
        """Its rate limit or its standing may have changed."""
        self.held_until = max(self.rate_limit.until, self.standing.until)

    def confirmed(self, share: float, now: float) -> None:
        """Of a prefix that was sent before, this share was billed as cached."""
        self._hits.add(share, now)
        self._learned(now)

    def called_tools(self, well_formed: bool, now: float) -> None:
        """An answer called tools."""
        self._tools.add(well_formed, now)
        self._learned(now)

    # what other workers tell

    def measured(self, now: float) -> Measured:
        """Its own samples, for other workers."""
        return Measured([one.own(now) for one in self._sketches], [one.own(now) for one in self._rates])

    def heard(self, others: Sequence[tuple[Measured, float]], now: float) -> None:
        """Takes what each other worker measured, and how many seconds ago, in place of what was heard before."""
        for place, sketch in enumerate(self._sketches):
            sketch.hear([(one.sketches[place], age) for one, age in others], now)
        for place, rate in enumerate(self._rates):
            rate.hear([(one.rates[place], age) for one, age in others], now)
        self._learned(now)

    @property
    def _sketches(self) -> tuple[Sketch, ...]:
        return *self._ttft, self._ttft_all, self._speed

    @property
    def _rates(self) -> tuple[Rate, ...]:
        return self._minutes, self._hour, self._tools, self._hits

    def _timed(self, ttft: float, size: int, now: float) -> None:
        self._ttft[size].add(ttft, now)
        self._ttft_all.add(ttft, now)
        usual = self._peers.ttft[size]
        if usual:
            self.standing.waited(ttft / usual, now)
        self._learned(now)

    def _crowd(self) -> None:
        self.crowded = self.crowd.factor(self.in_flight + 1)  # with one more: the one that a decision is about

    def _learned(self, now: float) -> None:
        if now + LEARNED_WITHIN < self.due:
            self.due = now + LEARNED_WITHIN

    # what decisions read

    def refresh(self, now: float, peers: Peers = NO_PEERS) -> None:
        """Computes the figures from the samples; whoever reads them calls this when `due` is past."""
        self.revision += 1
        self.due = now + FADED_WITHIN
        self._peers = peers
        self._refresh_ttft(now, peers)
        priors = self.endpoint.priors
        count = self._speed.count(now)
        p10, p50 = self._speed.quantiles(_SPEEDS)[:2]
        usual = priors.throughput_p50 or peers.speed or DEFAULT_SPEED
        self.speed_p50 = _blend(p50, count, usual)
        self.speed_p10 = _blend(p10, count, usual / 2)
        self.token_mean = _blend(self._speed.mean_inverse(), count, MEAN_TOKEN / usual)
        self.fails = 1 - self._minutes.share(now, priors.uptime or peers.uptime or DEFAULT_UPTIME, 10.0)
        self.tools_ok = self._tools.share(now, priors.tools_ok or peers.tools_ok or DEFAULT_TOOLS, 20.0)
        self.confirm = self._hits.share(now, HITS, HITS_SAMPLES)  # how much of a match its usage usually confirms
        self._refresh_measures(now)

    @property
    def known(self) -> Peers:
        """What its peers may go by: figures that were published for it or measured, as of the last refresh."""
        priors, figures = self.endpoint.priors, self.figures
        times = [p50 if p99 else None for p50, p99 in zip(self.ttft_p50, self.ttft_p99, strict=True)]
        if priors.ttft_p50:
            times[0] = self.ttft_p50[0]
        return Peers(
            tuple(times),
            self.speed_p50 if priors.throughput_p50 or figures["throughput_p50"] is not None else None,
            1 - self.fails if priors.uptime or figures["uptime_1h"] is not None else None,
            self.tools_ok if priors.tools_ok else None,
        )

    def _refresh_ttft(self, now: float, peers: Peers) -> None:
        """By size class, each with the one below as its starting point."""
        prior = self.endpoint.priors.ttft_p50 or peers.ttft[0] or DEFAULT_TTFT
        slow = exp(1.645 * self._spread)  # p95 over p50 of a log-normal
        mean = prior * exp(self._spread**2 / 2)
        for index, sketch in enumerate(self._ttft):
            if index:
                step = _step(peers, index)
                prior = self.ttft_p50[index - 1] + step
                mean = self.ttft_mean[index - 1] + step
            count = sketch.count(now)
            p50, p95, p99 = sketch.quantiles((0.5, 0.95, 0.99))
            self.ttft_p50[index] = _blend(p50, count, prior)
            self.ttft_mean[index] = _blend(sketch.mean(), count, mean)
            self.ttft_p95[index] = _blend(p95, count, slow * prior)
            self.ttft_p99[index] = p99 if count >= ENOUGH else 0.0

    def _refresh_measures(self, now: float) -> None:
        timed = self._ttft_all.count(now) >= ENOUGH
        spoke = self._speed.count(now) >= ENOUGH
        self.figures |= zip(_TTFT_MEASURES, self._ttft_all.quantiles(_TTFTS) if timed else _UNKNOWN, strict=False)
        self.figures |= zip(_SPEED_MEASURES, self._speed.quantiles(_SPEEDS) if spoke else _UNKNOWN, strict=False)
        self.figures |= {
            "throughput_p50": self.speed_p50 if spoke else None,
            "uptime_5m": self._minutes.share(now, 1.0, 0.01) if self._minutes.count(now) >= ENOUGH else None,
            "uptime_1h": self._hour.share(now, 1.0, 0.01) if self._hour.count(now) >= ENOUGH else None,
            "tools_ok": self.tools_ok,
        }

    def __repr__(self) -> str:
        return f"<EndpointState {self.endpoint.id} in_flight={self.in_flight} {self.breaker!r}>"


def _spread(priors: Priors) -> float:
    """The standard deviation of the logarithm of times to first token, as published."""
    if not priors.ttft_p50 or not priors.ttft_p90:
        return SPREAD_TTFT
    return log(max(1.0, priors.ttft_p90 / priors.ttft_p50)) / 1.2816


def _blend(measured: float, count: float, prior: float) -> float:
    return (measured * count + prior * PRIOR_SAMPLES) / (count + PRIOR_SAMPLES)


def _step(peers: Peers, index: int) -> float:
    """Seconds that prompts of this size class wait longer than those of the one below."""
    below, here = peers.ttft[index - 1], peers.ttft[index]
    return here - below if here and below and here > below else STEPS[index - 1]
