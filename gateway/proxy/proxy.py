"""Everything that exchanges share, and the way in: response cache first, then a plan, then an exchange."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random

from gateway.cache.key import cache_key
from gateway.cache.reasoning_vault import ReasoningVault, gaps
from gateway.cache.response_cache import CachedAnswer, ResponseCache, fresh, replay
from gateway.proxy.books import Books
from gateway.proxy.journal import Journal
from gateway.proxy.keeper import AnswerRecorder, Hidden
from gateway.proxy.probe import AccountProbe
from gateway.proxy.reply import Reply
from gateway.proxy.serving import Serving
from gateway.proxy.wheel import Wheel
from gateway.route.decide import make_plan
from gateway.route.fleet import Fleet
from gateway.route.hedge import Budgets
from gateway.route.plan import Choice, Plan
from gateway.surface import answer
from gateway.types import CacheResult, Failure, Policy, Request
from gateway.types.sink import Sink
from gateway.upstream.transport.hosts import Upstreams

DEFAULT_TTL = 300.0  # seconds that an answer is kept when the request asks for caching and the policy does not
CALLS = b'"finish_reason":"tool_calls"'  # in the end of a stream that called tools
OF_THE_CREDENTIAL = frozenset({401, 402})  # other refusals may concern one model only
_log = logging.getLogger(__name__)


class Proxy:
    """One worker's data path."""

    def __init__(
        self,
        fleets: Mapping[str, Fleet],
        hosts: Upstreams,
        wheel: Wheel,
        cache: ResponseCache,
        books: Books,
        in_flight: Callable[[int], None],
        clock: Callable[[], float],
        chance: Callable[[], float] | None = None,
        vault: ReasoningVault | None = None,
    ) -> None:
        self.fleets = fleets
        self.hosts = hosts
        self.wheel = wheel
        self.cache = cache
        self.vault = vault
        self.books = books
        self.budgets = Budgets()
        self.clock = clock
        self._in_flight = in_flight
        self.unix = time.time
        self.chance = chance or Random().random
        self.live: set[Serving] = set()
        self._probing: set[str] = set()
        self.closed = False

    def plan(self, request: Request, policy: Policy) -> Plan:
        hour = int(self.unix() // 3600) % 24
        return make_plan(request, policy, self.fleets[request.model], self.clock(), hour, self.chance)

    def serve(self, request: Request, policy: Policy, sink: Sink, received: float) -> None:
        """Answers one request; `received` is when its last byte came, on the loop's clock.

        Raises only what has not been told to the client.
        """
        vault = self.vault
        missing = gaps(request) if vault is not None else []
        if vault is None or not missing:
            self._serve(request, policy, sink, received)
            return

        def restored(whole: Request) -> None:
            with _telling(request, sink):
                fits = self.plan(whole, policy).first is not None  # it is longer than what the client sent
                self._serve(whole if fits else request, policy, sink, received)

        vault.restore(request, missing, restored)

    def _serve(self, request: Request, policy: Policy, sink: Sink, received: float) -> None:
        ttl = _cache_ttl(request, policy)
        if not ttl:
            self._exchange(request, policy, sink, received, "off", self._keeper(request, None))
            return
        key = cache_key(request, policy)
        keeper = self._keeper(request, lambda one: self.cache.save(key, one, ttl))
        if request.cache == "refresh":
            self._exchange(request, policy, sink, received, "refresh", keeper)
            return

        def found(hit: CachedAnswer | None) -> None:
            with _telling(request, sink):
                if hit is None:
                    self._exchange(request, policy, sink, received, "miss", keeper)
                else:
                    self._replay(request, sink, received, hit)

        self.cache.lookup(key, found)

    def close(self) -> None:
        """Ends every exchange: each is booked, and its client is told or cut off. Later ones end at once."""
        self.closed = True
        for serving in list(self.live):
            serving.stop()
        self.wheel.close()

    def ended(self, serving: Serving) -> None:
        self.live.discard(serving)
        self._in_flight(-1)

    def probe(self, fleet: Fleet, choice: Choice) -> None:
        """Asks the endpoint the least possible, to tell the account's fault from the request's. One at a time."""
        endpoint = choice.endpoint
        if endpoint.id in self._probing:
            return
        self._probing.add(endpoint.id)

        def told(failure: Failure | None) -> None:
            self._probing.discard(endpoint.id)
            if failure is not None:
                why = f"account {failure.status or ''}".rstrip()  # not the host's words: they may repeat the key
                alone = failure.status not in OF_THE_CREDENTIAL
                fleet.distrust(endpoint.id, why, self.clock(), self.chance(), alone=alone)

        AccountProbe(endpoint, told).begin(self.hosts, self.wheel, self.unix())

    def _keeper(self, request: Request, save: Callable[[CachedAnswer], object] | None) -> AnswerRecorder | None:
        """What gathers the answer, for the response cache (`save`), the vault or both; None where nobody wants it."""
        vault = self.vault
        if vault is None or not _may_be_read_again(request) or request.cache == "no-store":
            return None if save is None else AnswerRecorder(lambda one, _: save(one), self.wheel.soon, self.unix)

        def both(one: CachedAnswer, hidden: Hidden) -> None:
            vault.keep(request, one.completion, hidden)
            if save is not None:
                save(one)

        alone = save is None and request.reasoning_history == "interleaved"
        return AnswerRecorder(both, self.wheel.soon, self.unix, CALLS if alone else b"")

    def _exchange(
        self,
        request: Request,
        policy: Policy,
        sink: Sink,
        received: float,
        cache: CacheResult,
        keeper: AnswerRecorder | None,
    ) -> None:
        plan = self.plan(request, policy)
        journal = Journal(self, request, plan, received, cache)
        serving = Serving(self, request, plan, Reply(request, sink, plan, cache, keeper), journal)
        self.live.add(serving)
        self._in_flight(1)
        sink.attach(serving)  # first: a client that has left by now is no reason to ask a paid host
        if self.closed:
            serving.stop()
        else:
            serving.begin()

    def _replay(self, request: Request, sink: Sink, received: float, hit: CachedAnswer) -> None:
        """Answers from the response cache: a new id, cost 0, in the mode that was asked for."""
        openai = request.surface == "openai"
        whole = fresh(hit, request.id, int(self.unix()), counted=openai)
        stream = b"".join(replay(whole, request.include_usage)) if request.stream else b""
        head = answer.about(request, "hit", 0, hit.endpoint)
        if not openai:
            head.append((b"x-openrouter-cache-age", b"%d" % max(0, int(self.unix() - hit.at))))
        Journal(self, request, None, received, "hit").unattempted("cached", 200)
        if request.stream:
            sink.start(200, answer.stream_head(head))
            sink.write(stream)
            sink.end()
        else:
            answer.send_json(sink, 200, whole, head)


@contextmanager
def _telling(request: Request, sink: Sink) -> Iterator[None]:
    """For what the event loop calls: nobody else would tell the client what is raised."""
    try:
        yield
    except Exception:
        _log.exception("request %s failed inside the gateway", request.id)
        error = answer.internal_error()
        answer.send_error(sink, error, [], answer.error_body(error, request.surface, request))


def _may_be_read_again(request: Request) -> bool:
    """Whether a later request may lack what the model thinks in the answer to this one."""
    return request.thinking and "tools" in request.needs and request.reasoning_history != "disabled"


def _cache_ttl(request: Request, policy: Policy) -> float:
    """Seconds to keep this answer; 0 when the response cache has nothing to do with it."""
    if request.cache == "no-store":
        return 0.0
    if request.cache in ("on", "refresh"):
        return request.cache_ttl or policy.cache.ttl or DEFAULT_TTL
    return policy.cache.ttl and (request.cache_ttl or policy.cache.ttl)
