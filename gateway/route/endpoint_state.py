"""What is known about one endpoint: figures measured on the gateway's own traffic; until there are enough, the
published ones, or those of its peers.

    attempts' ends ──answered, ended, cached, ...─────> samples ──refresh──> figures <── decisions
    other workers ─────────────────shared──────────────────┘ peers ──┘

Learning only adds samples, and ends of attempts are counted together. What a decision reads are plain attributes,
recomputed from the samples at `due`: soon after something was learned, rarely when only time has passed.

Every quantity has two memories (`trend.py`): what is usual over hours, and what it is now over minutes.
The time constants were chosen by replays of changes (`python -m bench.routing --sections changes`).
"""

from collections.abc import Mapping
from math import ceil, inf
from typing import NamedTuple

from gateway.route.breaker import Breaker, SlowStart
from gateway.route.output_size import OutputSize
from gateway.route.peers import NO_PEERS, FleetMedians, OutlierStats
from gateway.route.prompt_cache import HitRate
from gateway.route.ratelimit import RateLimit
from gateway.route.refusals import Refusals
from gateway.route.silence import Silence
from gateway.route.sketch import Rate, Sketch
from gateway.route.speeds import Speeds
from gateway.route.trend import Estimate
from gateway.route.waits import MIDDLES, SHARES, Waits, scale, size_class
from gateway.types import Endpoint, Measure, Price

ENOUGH = 20.0  # samples before a measured figure is shown
DEFAULT_UPTIME = 0.99  # this and what follows, where nothing is published, and nothing known of any peer
DEFAULT_TOOLS = 0.9
DEFAULT_TTL = 300.0
UPTIME_SAMPLES = 10.0  # that a published uptime counts for
TOOLS_SAMPLES = 20.0
LEARNED_WITHIN = 0.1  # seconds until figures show what was learned
MOST_ENDS = 10  # attempts whose ends are counted together: fewer than the recent memory of a share holds
WAITED_WITHIN = 0.5  # seconds until they show requests that wait for a first token
FADED_WITHIN = 10.0  # seconds until they show that old samples have faded
DAY = 86_400.0
_FREE = Price(0.0, 0.0)
_TTFTS: tuple[Measure, ...] = ("ttft_p50", "ttft_p75", "ttft_p90", "ttft_p95", "ttft_p99")
_SPEEDS: tuple[Measure, ...] = ("throughput_p50", "throughput_p75", "throughput_p90", "throughput_p99")
_UNKNOWN = (None,) * len(_TTFTS)


class Load(NamedTuple):
    """How many times as long as without load the first token (`crowded`) and the writing (`slowed`) are expected to
    take with one more request in flight."""

    crowded: float
    slowed: float


UNLOADED = Load(1.0, 1.0)


class Changes:
    """What changed at a fleet's endpoints since it looked, so that no decision has to look at each of them.

    `due`: no figures have to be computed before then, in seconds. `revision` grows whenever figures were computed, and
    `loads` whenever an endpoint's load has changed.
    `suspects`: endpoints that something else than figures may count against, see `EndpointState.is_suspect`.
    """

    __slots__ = ("due", "loads", "revision", "suspects")

    def __init__(self) -> None:
        self.due = 0.0
        self.revision = 0
        self.loads = 0
        self.suspects: set[EndpointState] = set()

    def suspected(self, now: float) -> set["EndpointState"]:
        """The suspects, without those that no longer are."""
        self.suspects -= {one for one in self.suspects if not one.is_suspect(now)}
        return self.suspects

    def __repr__(self) -> str:
        return f"<Changes due={self.due:.1f} revision={self.revision} {len(self.suspects)} suspects>"


class EndpointState:
    """One endpoint's figures. Seconds, tokens per second, shares in [0, 1].

    `waits` and `speeds` say how long answers take; `fails`, `tools_ok` and `hit_rate` are shares as they are now, and
    `recent` and `attempted` count the attempts of the last minutes and hours, faded by their age.
    They are computed again at `due`. What changes with every request stands apart from them: `in_flight`, `elsewhere`
    (what other workers have in flight) and the `load` that both make; `concurrency`, how many it may have in flight;
    `held_until`, the end of all that sets it back. `changes` are its fleet's.
    """

    __slots__ = (
        "_ends",
        "_ends_at",
        "_figures",
        "_good_ends",
        "_hit_rate",
        "_hour",
        "_most_at_once",
        "_peers",
        "_ramp",
        "_refreshed_at",
        "_success",
        "_tools",
        "_ttft_all",
        "_unloaded",
        "_usual_uptime",
        "_workers",
        "attempted",
        "breaker",
        "changes",
        "concurrency",
        "due",
        "elsewhere",
        "endpoint",
        "fails",
        "held_until",
        "hit_rate",
        "in_flight",
        "load",
        "output_size",
        "price",
        "rate_limit",
        "recent",
        "refusals",
        "silence",
        "speeds",
        "standing",
        "tools_ok",
        "ttl",
        "waits",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        workers: int = 1,
        changes: Changes | None = None,
        output_size: OutputSize | None = None,
    ) -> None:
        """`workers` is how many of this gateway share what the endpoint allows; `output_size` is the model's."""
        self.output_size = OutputSize(output_size)
        self.changes = changes or Changes()
        self.breaker = Breaker(self._suspect)
        self.refusals = Refusals(self._suspect)
        self.rate_limit = RateLimit()
        self.standing = OutlierStats()
        self.silence = Silence()
        self.waits = Waits()
        self.speeds = Speeds()
        self.in_flight = 0
        self.load = UNLOADED
        self._unloaded = 0.0  # up to so many requests in flight at this worker there is no load
        self.due = 0.0
        self._ramp = SlowStart()
        self._ttft_all = Sketch(1_800.0)
        self._success = Estimate(recent=60.0, most=40.0, usual=3_600.0, strength=10.0)
        self._hour = Rate(half_life=1_800.0)
        self._ends = self._good_ends = 0  # attempts that have ended, not yet counted above; and those that ended well
        self._ends_at = 0.0  # when the first of them did
        self._tools = Estimate(recent=900.0, most=50.0, usual=DAY, strength=20.0)
        self._hit_rate = HitRate()
        self.configure(endpoint, workers)
        self.refresh(0.0)
        self._refresh_at(0.0)

    def configure(self, endpoint: Endpoint, workers: int = 1) -> None:
        """Takes a (changed) configuration; what was measured stays."""
        self.endpoint = endpoint
        self.rate_limit.publish(endpoint.limits, workers)
        self._workers = workers
        self.shares(None, 0)
        self.ttl = endpoint.cache.ttl or (0.0 if endpoint.cache.automatic is False else DEFAULT_TTL)
        self.waits.renew()
        self._refresh_at(0.0)
        self.price = endpoint.price or _FREE
        self._figures: dict[Measure, float | None] | None = None  # made when read

    # learning from attempts

    def sent(self, tokens: float, now: float) -> None:
        """Records a request of `tokens` tokens, including its expected output."""
        self.in_flight += 1
        if self.in_flight > self._unloaded:
            self._weigh_load()
        if self.in_flight >= self.concurrency:
            self._suspect()
        self.rate_limit.sent(tokens, now)
        if self.rate_limit.limited or self.silence.silent:
            self.hold(now)

    def waiting(self, ticket: int, uncached: float, writing: float, now: float) -> None:
        """A request waits for its first token. `writing`: seconds before it, of an answer that is not streamed."""
        size = size_class(uncached)
        usual = self.waits.p50[size] * scale(uncached) * self.load.crowded + writing
        self.silence.sent(ticket, usual, self.waits.scatter[size], now)
        if now + WAITED_WITHIN < self.due:
            self._refresh_at(now + WAITED_WITHIN)

    def began(self, ttft: float, uncached: float, in_flight: float, now: float) -> None:
        """A first token came `ttft` seconds after a request with `uncached` tokens expected to be outside the cache."""
        self.waits.began(ttft, uncached, in_flight, now)
        self._learned(now)

    def done(self) -> None:
        """A request that was sent is over, however it ended."""
        self.in_flight -= 1
        if self.load is not UNLOADED:
            self._weigh_load()

    def answered(self, ttft: float, uncached: float, speed: float | None, in_flight: float, now: float) -> None:
        """A good answer to a request that was one of `in_flight` when it was sent.

        `ttft` is its time to first token for `uncached` prompt tokens; `speed` its output speed, if that says
        something.
        """
        self.waits.ended(ttft, uncached, in_flight, now)
        self._timed(ttft, uncached, now)
        if speed:
            self.speeds.add(speed, in_flight, now)

    def censored(self, seconds: float, uncached: float, in_flight: float, now: float) -> None:
        """No first token came within `seconds`, when the attempt ended: a right-censored sample."""
        self.waits.censored(seconds, uncached, in_flight, now)
        self._timed(seconds, uncached, now)

    def ended(self, good: bool, now: float) -> None:
        """An attempt succeeded or failed."""
        if not self._ends:
            self._ends_at = now
        elif self._ends >= MOST_ENDS or now > self._ends_at + LEARNED_WITHIN:
            self._count_ends()
            self._ends_at = now
        self._ends += 1
        self._good_ends += good
        if self._ramp.window != inf:
            self._ramp.ended(good)
            self._limit()
        self._learned(now)

    def refused(self, sent_at: float, wait: float | None, now: float) -> None:
        """A request sent at `sent_at` was answered 429, with a Retry-After of `wait` seconds or none."""
        self.rate_limit.refused(sent_at, wait, now)
        self.hold(now)

    def hold_for(self, wait: float, now: float) -> None:
        """A failure that has nothing to do with rates came with a Retry-After of `wait` seconds."""
        self.rate_limit.hold(wait, now)
        self.hold(now)

    def starts_slowly(self) -> None:
        """Starts slow start, for a new endpoint and for one that recovered."""
        self._ramp.begin()
        self._limit()

    def hold(self, now: float) -> None:
        """Call when its rate limit, outlier state or silence may have changed."""
        silent = now + FADED_WITHIN if self.silence.silent else 0.0
        self.held_until = max(self.rate_limit.until, self.standing.until, silent)
        if self.held_until > now:
            self._suspect()

    def cached(self, expected: float, cached: float, now: float) -> None:
        """Of a prompt, the share `expected` was sent before and the share `cached` was billed as cached."""
        self._hit_rate.add(expected, cached, now)
        self._learned(now)

    def called_tools(self, well_formed: bool, now: float) -> None:
        """An answer called tools."""
        self._tools.add(well_formed, now)
        self._learned(now)

    # what workers share

    def renew(self, now: float) -> None:
        """Other workers' samples were replaced: every figure is stale."""
        self.waits.renew()
        self.speeds.renew()
        self._learned(now)

    def shares(self, elsewhere: int | None, others: int) -> None:
        """`others` workers have `elsewhere` requests in flight here (None where unknown).

        What is free of the host's limit is for all of them.
        """
        most, workers = self.endpoint.limits.concurrency, max(self._workers, others + 1)
        self.elsewhere = elsewhere or 0
        if most is None:
            self._most_at_once = inf
        elif elsewhere is None:
            self._most_at_once = float(ceil(most / workers))
        else:
            left = most - self.in_flight - elsewhere
            self._most_at_once = float(self.in_flight + max(0, ceil(left / workers)))
        self._limit()
        self._weigh_load()

    @property
    def full(self) -> bool:
        """Whether the host's own limit on requests at once is reached."""
        return self.in_flight >= self._most_at_once

    @property
    def ramping(self) -> bool:
        """Whether slow start keeps it from more requests at once, and not the host's own limit."""
        return self._ramp.window < self._most_at_once

    @property
    def sketches(self) -> tuple[Sketch, ...]:
        """In the order in which workers share them."""
        return *(trend.usual for trend in self.waits.trends), self._ttft_all, self.speeds.trend.usual

    @property
    def rates(self) -> tuple[Rate, ...]:
        """In the order in which workers share them."""
        self._count_ends()
        shares = self._success, self._tools, self._hit_rate.shares
        return (
            self._hour,
            *(rate for share in shares for rate in (share.recent, share.usual)),
            *(trend.recent for trend in self.waits.trends),
            self.speeds.trend.recent,
            *self.waits.load.rates,
            *self.speeds.load.rates,
        )

    def _count_ends(self) -> None:
        """Counts attempts that have ended since the last refresh: together, because nothing reads them before."""
        good, ends, at = self._good_ends, self._ends, self._ends_at
        if ends:
            self._good_ends = self._ends = 0
            self._success.add_all(good, ends, at)
            self._hour.add_all(good, ends, at)
            self.standing.ended(ends - good, ends, at)

    def _timed(self, ttft: float, uncached: float, now: float) -> None:
        self._ttft_all.add(ttft, now)
        size = size_class(uncached)
        usual = self._peers.ttft[size]
        if usual:
            self.standing.waited(ttft / scale(uncached) / (usual / scale(MIDDLES[size])), now)
        self._learned(now)

    def _weigh_load(self) -> None:
        waits, speeds = self.waits.load, self.speeds.load
        others = self.elsewhere + 1  # one more than in flight: the one that a decision is about
        self._unloaded = min(waits.carried, speeds.carried) - others
        load = UNLOADED
        if self.in_flight > self._unloaded:
            load = Load(waits.factor(self.in_flight + others), speeds.factor(self.in_flight + others))
        if load is not self.load:
            self.load = load
            self.changes.loads += 1

    def _limit(self) -> None:
        self.concurrency = min(self._most_at_once, self._ramp.window)
        if self.in_flight >= self.concurrency:
            self._suspect()

    def is_suspect(self, now: float) -> bool:
        """Whether a restriction may hold at the moment: see `filters.tier` and `refused_before`."""
        return (
            self.held_until > now
            or self.in_flight >= self.concurrency
            or self.breaker.until is not None
            or self.refusals.until > now
        )

    def _suspect(self) -> None:
        self.changes.suspects.add(self)

    def _learned(self, now: float) -> None:
        if now + LEARNED_WITHIN < self.due:
            self._refresh_at(now + LEARNED_WITHIN)

    def _refresh_at(self, at: float) -> None:
        """Its figures are due at that time, or earlier."""
        if at < self.due:
            self.due = at
        if at < self.changes.due:
            self.changes.due = at

    # what decisions read

    def refresh(self, now: float, peers: FleetMedians = NO_PEERS) -> None:
        """Computes the figures from the samples. Call it when `due` is past."""
        self.changes.revision += 1
        self.due = now + (WAITED_WITHIN if len(self.silence) else FADED_WITHIN)
        self.changes.due = min(self.changes.due, self.due)
        self._peers = peers
        priors = self.endpoint.priors
        self.waits.refresh(now, priors, peers)
        self.speeds.refresh(now, priors, peers)
        self._weigh_load()
        self.silence.judge(now)
        self.hold(now)
        self._count_ends()
        self._usual_uptime = priors.uptime or peers.uptime or DEFAULT_UPTIME
        uptime = self._success.share(now, self._usual_uptime, UPTIME_SAMPLES)
        self.recent = self._success.recent.count(now)
        counted = self.recent + UPTIME_SAMPLES
        self.fails = 1 - uptime * counted / (counted + self.silence.hung)
        self.tools_ok = self._tools.share(now, priors.tools_ok or peers.tools_ok or DEFAULT_TOOLS, TOOLS_SAMPLES)
        self.hit_rate = self._hit_rate.probability(now)
        self.attempted = self._hour.count(now)
        self._refreshed_at = now
        self._figures = None

    @property
    def figures(self) -> Mapping[Measure, float | None]:
        """Every measure, over all prompts, for listings and for a policy's limits; None while there are fewer than
        `ENOUGH` samples of a figure that is only measured."""
        if self._figures is None:
            self._figures = self._measures(self._refreshed_at)
        return self._figures

    @property
    def retry_at(self) -> float:
        """Until when its Retry-After holds where no other endpoint serves; past means that none holds."""
        return self.rate_limit.retry_at

    @property
    def known(self) -> FleetMedians:
        """The figures that serve as a prior for its peers: published or measured, as of the last refresh."""
        priors, waits = self.endpoint.priors, self.waits
        published = bool(priors.ttft_p50)
        times = [
            p50 * scale(middle) if sure or (published and not place) else None
            for place, (p50, middle, sure) in enumerate(zip(waits.p50, MIDDLES, waits.known, strict=True))
        ]
        return FleetMedians(
            tuple(times),
            self.speeds.p50 if priors.throughput_p50 or self.speeds.known else None,
            1 - self.fails if priors.uptime or self.attempted >= ENOUGH else None,
            self.tools_ok if priors.tools_ok else None,
        )

    def _measures(self, now: float) -> dict[Measure, float | None]:
        endpoint, price = self.endpoint, self.price
        timed = self._ttft_all.count(now) >= ENOUGH
        return {
            "context": endpoint.context,
            "max_output": endpoint.max_output or endpoint.context,
            "price.input": price.input,
            "price.output": price.output,
            "price.cached_input": price.input if price.cached_input is None else price.cached_input,
            **dict(zip(_TTFTS, self._ttft_all.quantiles(SHARES) if timed else _UNKNOWN, strict=False)),
            **dict(zip(_SPEEDS, self.speeds.quantiles if self.speeds.known else _UNKNOWN, strict=False)),
            "uptime_5m": 1 - self.fails,
            "uptime_1h": self._hour.share(now, self._usual_uptime, UPTIME_SAMPLES),
            "tools_ok": self.tools_ok,
        }

    def __repr__(self) -> str:
        return f"<EndpointState {self.endpoint.id} in_flight={self.in_flight} {self.breaker!r}>"
