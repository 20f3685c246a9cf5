"""The way in: the response cache first, then a plan, then a reservation where limits apply, then an exchange."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.cache.cache_key import cache_key
from gateway.cache.reasoning_vault import ReasoningVault, gaps
from gateway.cache.response_cache import CachedAnswer, ResponseCache, fresh, replay, spent
from gateway.keys.limiter import Refusal
from gateway.keys.refusal import refused
from gateway.keys.reserved import Reserved
from gateway.proxy.answer_recorder import AnswerRecorder, Hidden
from gateway.proxy.journal import Journal
from gateway.proxy.likely_use import likely_use
from gateway.proxy.live_exchange import LiveExchange
from gateway.proxy.reply import Reply
from gateway.proxy.runtime import Runtime
from gateway.route.decide import make_plan
from gateway.route.plan import Plan
from gateway.surface import answer
from gateway.types import CacheResult, Policy, Request
from gateway.types.sink import Sink

DEFAULT_TTL = 300.0  # seconds that an answer is kept when the request asks for caching and the policy does not
CALLS = b'"finish_reason":"tool_calls"'  # in the end of a stream that called tools
_log = logging.getLogger(__name__)


class Proxy:
    """One worker's data path."""

    def __init__(self, runtime: Runtime, cache: ResponseCache, vault: ReasoningVault | None = None) -> None:
        self._runtime = runtime
        self._cache = cache
        self._vault = vault

    def plan(self, request: Request, policy: Policy) -> Plan:
        runtime = self._runtime
        hour = int(runtime.wall_clock() // 3600) % 24
        return make_plan(request, policy, runtime.fleets[request.model], runtime.clock(), hour, runtime.rng)

    def serve(self, request: Request, policy: Policy, sink: Sink, received: float) -> None:
        """Answers one request; `received` is when its last byte came, on the loop's clock.

        If it raises, no response has started.
        """
        vault = self._vault
        if vault is None or not request.thinking or not (missing := gaps(request)):
            self._answer(request, policy, sink, received)
            return

        def restored(whole: Request) -> None:
            with _guarded(request, sink):
                fits = self.plan(whole, policy).first is not None  # it is longer than what the client sent
                self._answer(whole if fits else request, policy, sink, received)

        vault.restore(request, missing, restored)

    def close(self) -> None:
        """Ends every exchange: its outcome is written, and its client gets an error or is cut off. Later ones end at
        once."""
        self._runtime.under_way.close()
        self._runtime.wheel.close()

    def _answer(self, request: Request, policy: Policy, sink: Sink, received: float) -> None:
        """From the response cache where the request or the policy wants that, else from a host."""
        ttl = _cache_ttl(request, policy)
        if not ttl:
            self._exchange(request, policy, sink, received, "off", self._recorder(request, None))
            return
        key = cache_key(request, policy)
        recorder = self._recorder(request, lambda one: self._cache.save(key, one, ttl))
        if request.cache == "refresh":
            self._exchange(request, policy, sink, received, "refresh", recorder)
            return

        def found(hit: CachedAnswer | None) -> None:
            with _guarded(request, sink):
                if hit is None:
                    self._exchange(request, policy, sink, received, "miss", recorder)
                else:
                    self._replay(request, sink, received, hit)

        self._cache.lookup(key, found)

    def _recorder(self, request: Request, save: Callable[[CachedAnswer], object] | None) -> AnswerRecorder | None:
        """Gathers the answer for the response cache (`save`), the vault or both; None where neither keeps it."""
        vault, runtime = self._vault, self._runtime
        if vault is None or not (request.thinking and _may_be_read_again(request)):
            if save is None:
                return None
            return AnswerRecorder(lambda one, _: save(one), runtime.wheel.soon, runtime.wall_clock)

        def both(one: CachedAnswer, hidden: Hidden) -> None:
            vault.keep(request, one.completion, hidden)
            if save is not None:
                save(one)

        alone = save is None and request.reasoning_history == "interleaved"
        return AnswerRecorder(both, runtime.wheel.soon, runtime.wall_clock, CALLS if alone else b"")

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
        if limiter is None or not limits or plan.first is None:
            self._begin(request, plan, reply, journal)
            return

        def decided(result: Reserved | Refusal) -> None:
            with _guarded(request, sink):
                if isinstance(result, Refusal):
                    reply.fail(refused(result, limits, request.surface, self._runtime.wall_clock()))
                    return
                journal.reservation = reply.reservation = result
                self._begin(request, plan, reply, journal)

        reserved = limiter.reserve(limits, likely_use(request, plan, plan.first.endpoint), decided)
        if reserved is not None:
            journal.reservation = reply.reservation = reserved
            self._begin(request, plan, reply, journal)

    def _begin(self, request: Request, plan: Plan, reply: Reply, journal: Journal) -> None:
        runtime, sink = self._runtime, reply.sink
        exchange = LiveExchange(runtime, request, plan, reply, journal)
        runtime.under_way.add(exchange)
        sink.attach(exchange)  # first: a client that has left by now is no reason to pay a host
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
        Journal(self._runtime, request, None, received, "hit").unattempted("cached", 200, spent(hit))
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
