"""Serves a request: by the response cache, else by joining an identical request under way, else by a plan, a
reservation of its limits where there are any, and an exchange."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf

from msgspec import structs

from gateway.cache.cache_key import cache_key
from gateway.cache.reasoning_vault import Gap, ReasoningVault, gaps
from gateway.cache.response_cache import CachedAnswer, ResponseCache, fresh, replay, spent
from gateway.keys.limit_reservation import LimitReservation
from gateway.keys.limiter import Limiter, Refusal
from gateway.keys.quota import Quota
from gateway.keys.refusal import refused
from gateway.proxy.answer_recorder import AnswerRecorder, Hidden
from gateway.proxy.flight import Flight
from gateway.proxy.joiner import Joiner
from gateway.proxy.journal import Journal
from gateway.proxy.likely_use import likely_use
from gateway.proxy.live_exchange import LiveExchange
from gateway.proxy.reply import Reply
from gateway.proxy.runtime import Runtime
from gateway.route.decide import make_plan
from gateway.route.plan import Plan
from gateway.surface import answer
from gateway.types import CacheResult, Policy, Request
from gateway.types.sink import Sink, Source

DEFAULT_TTL = 300.0  # seconds that an answer is kept when the request asks for caching and the policy does not
CALLS = b'"finish_reason":"tool_calls"'  # in the end of a stream that called tools
Cached = tuple[bytes, float]  # the key in the response cache, and for how many seconds
_log = logging.getLogger(__name__)


class Proxy:
    """One worker's data path."""

    def __init__(self, runtime: Runtime, cache: ResponseCache, vault: ReasoningVault | None = None) -> None:
        self._runtime = runtime
        self._cache = cache
        self._vault = vault
        self._flights: dict[bytes, Flight] = {}  # by cache key, of exchanges under way
        self.cached_at = -inf  # when a policy last had a request looked up in the response cache

    def plan(self, request: Request, policy: Policy) -> Plan:
        runtime = self._runtime
        hour = int(runtime.wall_clock() // 3600) % 24
        return make_plan(request, policy, runtime.fleets[request.model], runtime.clock(), hour, runtime.rng)

    def serve(self, request: Request, policy: Policy, sink: Sink, received: float) -> None:
        """Answers one request; `received` is when its last byte came, on the loop's clock.

        If it raises, no response has started.
        """
        if self._vault is not None and request.thinking and (missing := gaps(request)):
            self._restore(self._vault, missing, request, policy, sink, received)
        else:
            self._answer(request, policy, sink, received)

    def close(self) -> None:
        """Ends every exchange: its outcome is written, and its client gets an error or is cut off. Later ones end at
        once."""
        self._runtime.under_way.close()
        self._runtime.wheel.close()

    def _restore(
        self,
        vault: ReasoningVault,
        missing: list[Gap],
        request: Request,
        policy: Policy,
        sink: Sink,
        received: float,
    ) -> None:
        """Answers when the reasoning that the client dropped is restored."""

        def restored(whole: Request) -> None:
            with _guarded(request, sink):
                fits = self.plan(whole, policy).first is not None  # it is longer than what the client sent
                self._answer(whole if fits else request, policy, sink, received)

        vault.restore(request, missing, restored)

    def _answer(self, request: Request, policy: Policy, sink: Sink, received: float) -> None:
        """From the response cache if the request or the policy enables it, else from a host."""
        ttl = _cache_ttl(request, policy)
        if ttl:
            self._look_up(request, policy, sink, received, ttl)
        else:
            self._exchange(request, policy, sink, received, "off", self._recorder(request, None))

    def _look_up(self, request: Request, policy: Policy, sink: Sink, received: float, ttl: float) -> None:
        """From the response cache, or from a host: then the answer is kept for `ttl` seconds."""
        if request.cache == "default":
            self.cached_at = received
        key = cache_key(request, policy)
        if request.cache == "refresh":
            self._exchange(request, policy, sink, received, "refresh", self._recorder(request, (key, ttl)))
        elif not self._joins(request, policy, sink, received, key, ttl):

            def found(hit: CachedAnswer | None) -> None:
                with _guarded(request, sink):
                    if hit is None:
                        self._share(request, policy, sink, received, key, ttl)
                    else:
                        self._replay(request, sink, received, hit)

            self._cache.lookup(key, found)

    def _share(self, request: Request, policy: Policy, sink: Sink, received: float, key: bytes, ttl: float) -> None:
        """Joins the flight of an identical request, or starts one that others can join."""
        if self._joins(request, policy, sink, received, key, ttl):
            return
        flights, keep = self._flights, self._keeper(request, (key, ttl))

        def leave_map() -> None:
            if flights.get(key) is flight:
                del flights[key]

        assert keep is not None
        flight = flights[key] = Flight(self._runtime, keep, request.stream, leave_map)
        try:
            self._exchange(request, policy, sink, received, "miss", flight)
        except Exception:
            leave_map()
            raise

    def _joins(self, request: Request, policy: Policy, sink: Sink, received: float, key: bytes, ttl: float) -> bool:
        """Whether an identical request is under way, which this one has joined."""
        flight = self._flights.get(key)
        if flight is None:
            return False

        def anew(begun: bool) -> None:
            with _guarded(request, sink):
                self._share(structs.replace(request, begun=begun), policy, sink, received, key, ttl)

        keepalive = min(policy.keepalive, request.patience) if request.stream else request.patience
        Joiner(self._runtime, request, flight, sink, received, keepalive, anew).begin()
        return True

    def _recorder(self, request: Request, cached: Cached | None) -> AnswerRecorder | None:
        """Collects the answer for the response cache, the vault or both; None where neither stores it."""
        if cached is None and (self._vault is None or not request.thinking):
            return None
        runtime, keep = self._runtime, self._keeper(request, cached)
        if keep is None:
            return None
        alone = cached is None and request.reasoning_history == "interleaved"
        return AnswerRecorder(keep, runtime.wheel.soon, runtime.wall_clock, CALLS if alone else b"")

    def _keeper(self, request: Request, cached: Cached | None) -> Callable[[CachedAnswer, Hidden], None] | None:
        """Stores an answer in the response cache (`cached`: key and seconds), the vault or both; None for neither."""
        vault = self._vault if request.thinking and _may_be_read_again(request) else None
        if vault is None and cached is None:
            return None

        def keep(one: CachedAnswer, hidden: Hidden) -> None:
            if vault is not None:
                vault.keep(request, one.completion, hidden)
            if cached is not None:
                self._cache.save(cached[0], one, cached[1])

        return keep

    def _exchange(
        self,
        request: Request,
        policy: Policy,
        sink: Sink,
        received: float,
        cache: CacheResult,
        recorder: AnswerRecorder | None,
    ) -> None:
        plan, limiter = self.plan(request, policy), self._runtime.limiter
        journal = Journal(self._runtime, request, plan, received, cache)
        reply = Reply(request, sink, plan, cache, recorder)
        limits = limiter.quotas(request.tenant, request.app) if limiter is not None else ()
        flight = recorder if recorder is not None and isinstance(recorder, Flight) else None
        if flight is not None:
            flight.prepares(reply, journal, limits)
        if limiter is None or not limits or plan.first is None:
            self._begin(request, reply, journal, flight)
        else:
            self._reserve(request, limiter, limits, reply, journal, flight)

    def _reserve(
        self,
        request: Request,
        limiter: Limiter,
        limits: Sequence[Quota],
        reply: Reply,
        journal: Journal,
        flight: Flight | None,
    ) -> None:
        """Begins when what the request probably uses of the limits is reserved, or refuses it."""
        first = reply.plan.first
        assert first is not None
        use = likely_use(request, reply.plan, first.endpoint)

        def decided(result: LimitReservation | Refusal) -> None:
            with _guarded(request, reply.sink):
                if isinstance(result, Refusal):
                    if flight is not None:
                        flight.refusal = result
                    reply.fail(refused(result, limits, request.surface, self._runtime.wall_clock()))
                    return
                journal.reservation = reply.reservation = result
                self._begin(request, reply, journal, flight)

        reserved = limiter.reserve(limits, use, decided)
        if reserved is not None:
            journal.reservation = reply.reservation = reserved
            self._begin(request, reply, journal, flight)

    def _begin(self, request: Request, reply: Reply, journal: Journal, flight: Flight | None) -> None:
        runtime, sink = self._runtime, reply.sink
        exchange = LiveExchange(runtime, request, reply.plan, reply, journal)
        runtime.under_way.add(exchange)
        source: Source = exchange
        if flight is not None:
            flight.begins(exchange)
            source = flight
        sink.attach(source)  # first: a client that has left by now is no reason to pay a host
        if runtime.under_way.closed:
            exchange.stop()
        else:
            exchange.begin()

    def _replay(self, request: Request, sink: Sink, received: float, hit: CachedAnswer) -> None:
        """Answers from the response cache: a new id, cost 0, streamed or whole as the request wants."""
        openai, now = request.surface == "openai", self._runtime.wall_clock()
        whole = fresh(hit, request.id, int(now), counted=openai)
        stream = b"".join(replay(whole, request.include_usage)) if request.stream else b""
        head = answer.about(request, "hit", 0, hit.endpoint)
        if not openai:
            head.append((b"x-openrouter-cache-age", b"%d" % max(0, int(now - hit.at))))
        Journal(self._runtime, request, None, received, "hit").unattempted("cached", 200, spent(hit.completion))
        if request.stream:
            sink.start(200, answer.stream_head(head))
            sink.write(stream)
            sink.end()
        else:
            answer.send_json(sink, 200, whole, head)


@contextmanager
def _guarded(request: Request, sink: Sink) -> Iterator[None]:
    """Guards callbacks of the event loop: what they raise is logged, and answered with 500."""
    try:
        yield
    except Exception:
        _log.exception("request %s failed inside the gateway", request.id)
        error = answer.internal_error()
        answer.send_error(sink, error, [], answer.error_body(error, request.surface, request))


def _may_be_read_again(request: Request) -> bool:
    """Whether a later request may omit the reasoning of this answer."""
    return "tools" in request.needs and request.reasoning_history != "disabled" and request.cache != "no-store"


def _cache_ttl(request: Request, policy: Policy) -> float:
    """Seconds to keep this answer; 0 when the response cache has nothing to do with it."""
    if request.cache == "no-store":
        return 0.0
    if request.cache in ("on", "refresh"):
        return request.cache_ttl or policy.cache.ttl or DEFAULT_TTL
    return policy.cache.ttl and (request.cache_ttl or policy.cache.ttl)
