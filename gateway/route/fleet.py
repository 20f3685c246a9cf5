"""All endpoints in use, what each was sent, and what is learned when an attempt ends.

    sent ─┬─> succeeded    figures, prompt cache, answer lengths, prompt tokens, breaker
          ├─> failed       by the kind of fault: breaker, rate limit, refusals, or none of them
          └─> released     the client left: health is unchanged

States are keyed by endpoint id and outlive a reload of the configuration. An attempt holds its endpoint's state, so
that its end counts for the endpoint where it began, even when the endpoint was taken out of use meanwhile.
"""

from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from gateway.route.cost import Demand
from gateway.route.endpoint_state import LEARNED_WITHIN, Changes, EndpointState
from gateway.route.explore import Explorers
from gateway.route.output_size import OutputSize
from gateway.route.peers import JUDGE_EVERY, MEDIANS_EVERY, NO_PEERS, fleet_medians, judge
from gateway.route.prompt_cache import Prefix, PrefixIndex, Rereads
from gateway.route.retry_budget import RetryBudget
from gateway.route.shortlist import Shortlist
from gateway.route.signals import Book
from gateway.route.slot_queue import SlotQueue
from gateway.route.tokens import Lengths, Tokens
from gateway.route.toll import Tolls
from gateway.route.tracked_attempt import Observation, TrackedAttempt
from gateway.route.waits import scale
from gateway.types import PROBE, Endpoint, Failure, Fault, Policy, Request, Usage
from gateway.types.units import RETRY_SHARE

Note = tuple[Prefix, str, float]  # what prompt was sent to which endpoint, and when

SHORTLISTS = 256  # kept at most, the latest ones; there is one for every policy and set of needs


class Fleet:
    """The only writer of endpoint states. It is one of `workers`, which share what endpoints allow.

    `retry_share`: the share of requests that may have attempts beyond the first.
    """

    __slots__ = (
        "_judge_at",
        "_medians_at",
        "_output_size",
        "_peers",
        "_rereads",
        "_shortlists",
        "_workers",
        "changes",
        "explorers",
        "lengths",
        "notes",
        "prefixes",
        "retry_budget",
        "slots",
        "states",
        "tokens",
        "tolls",
        "ttls",
    )

    def __init__(self, endpoints: Iterable[Endpoint] = (), workers: int = 1, retry_share: float = RETRY_SHARE) -> None:
        self._workers = workers
        self.retry_budget = RetryBudget(retry_share)
        self.slots = SlotQueue()
        self._judge_at = 0.0
        self._medians_at = 0.0
        self._peers = NO_PEERS
        self.changes = Changes()
        self.states: dict[str, EndpointState] = {}
        self.ttls: dict[str, float] = {}
        self.prefixes = PrefixIndex()
        self.tokens = Tokens()
        self._output_size = OutputSize()
        self.notes: deque[Note] | None = None  # for other workers; None without a store
        self._shortlists: dict[tuple[int, frozenset[str]], Shortlist] = {}
        kinds = [(thinking, tools) for thinking in (False, True) for tools in (False, True)]
        self.lengths = {kind: Lengths() for kind in kinds}
        self._rereads = {kind: Rereads() for kind in kinds}
        self.tolls = Tolls()
        self.explorers = Explorers()
        self.configure(endpoints)

    def reconfigured(self, endpoints: Iterable[Endpoint], retry_share: float) -> "Fleet":
        """A fleet of these endpoints that shares with this one what was learned. This one keeps its endpoints, for the
        exchanges that it has under way."""
        fleet = Fleet(workers=self._workers)
        fleet.changes, fleet.states, fleet.notes = self.changes, self.states, self.notes
        fleet.prefixes, fleet.tokens, fleet.tolls = self.prefixes, self.tokens, self.tolls
        fleet.lengths, fleet._rereads, fleet.explorers = self.lengths, self._rereads, self.explorers
        fleet.retry_budget, fleet.retry_budget.share = self.retry_budget, retry_share
        fleet.slots, fleet._output_size = self.slots, self._output_size
        fleet.configure(endpoints)
        return fleet

    def configure(self, endpoints: Iterable[Endpoint]) -> None:
        """Takes the endpoints in use. Those that stay keep what was learned about them, unless they are at another host
        or serve another model now."""
        before, self.states = self.states, {}
        for endpoint in endpoints:
            state = before.get(endpoint.id)
            if state is None or not _is_same_host(state.endpoint, endpoint):
                state = EndpointState(endpoint, self._workers, self.changes, self._output_size)
                if before:
                    state.starts_slowly()
            elif state.endpoint != endpoint:
                state.configure(endpoint, self._workers)
            self.states[endpoint.id] = state
        self.ttls = {name: state.ttl for name, state in self.states.items()}
        self._shortlists = {}
        self._medians_at = 0.0

    def demand(self, request: Request, policy: Policy, known: int | None, now: float, hour: int) -> Demand:
        """What a request needs of any endpoint. `hour` of the day in UTC.

        `known` tokens of its prompt are in the cache of some endpoint; None where caches do not matter.
        """
        tools = "tools" in request.needs
        kind = request.thinking, tools
        usual, longest = self.lengths[kind].expected(request.max_tokens, now)
        counts = known is not None and policy.score.price == "effective"
        rereads = self._rereads[kind].usual if counts else 0.0
        return Demand(request.prompt_tokens, usual, longest, hour, tools, known, rereads, self.tolls.of(policy))

    def shortlist(self, policy: Policy, needs: frozenset[str], now: float) -> Shortlist:
        """What this policy says about every endpoint, with the figures of this moment."""
        if now >= self.changes.due:
            self.refresh(now)
        key = id(policy), needs  # hashing a policy is expensive; `found.policy` shows whether the id is still its own
        found = self._shortlists.get(key)
        if found is None or found.policy is not policy or found.revision != self.changes.revision:
            self._shortlists.pop(key, None)
            if len(self._shortlists) >= SHORTLISTS:
                del self._shortlists[next(iter(self._shortlists))]  # the oldest
            by_id = [state for _, state in sorted(self.states.items())]
            found = self._shortlists[key] = Shortlist(policy, needs, by_id, self.changes)
        return found

    def refresh(self, now: float) -> None:
        """Computes the figures whose time has come, and looks for outliers every `JUDGE_EVERY` seconds.

        Those of the next moment are computed with them, because each time costs new shortlists.
        """
        states, changes = self.states.values(), self.changes
        changes.due = min([state.due for state in states], default=inf)
        if now < changes.due:
            return
        if now >= self._medians_at:
            self._medians_at = now + MEDIANS_EVERY
            self._peers = fleet_medians([state.known for state in states])
        for state in states:
            if now + LEARNED_WITHIN >= state.due:
                state.refresh(now, self._peers)
        if now >= self._judge_at:
            self._judge_at = now + JUDGE_EVERY
            judge(states, now)
            for state in states:
                state.hold(now)
        changes.due = min([state.due for state in states], default=inf)

    def sent(self, attempt: TrackedAttempt, now: float) -> None:
        """An attempt is sent."""
        state, demand, request = attempt.state, attempt.demand, attempt.request
        state.sent(demand.tokens, now)
        attempt.sent_at = now
        attempt.in_flight = state.in_flight + state.elsewhere
        attempt.ticket = state.breaker.sent(now)
        writing = 0.0 if attempt.streams else demand.longest_output / state.speeds.p10
        state.waiting(attempt.ticket, attempt.parts.uncached, writing, now)
        if demand.known is not None:
            self._rereads[request.thinking, demand.tools].add(demand.prompt_tokens, demand.known, now)
        if demand.toll is not None:
            usd = attempt.parts.plain - attempt.parts.toll_usd
            demand.toll.sent(state.endpoint.id, demand.tokens, usd, now)
        self.prefixes.sent(request.prefix, state.endpoint.id, now)
        if self.notes is not None and request.prefix:
            self.notes.append((request.prefix, state.endpoint.id, now))

    def began(self, attempt: TrackedAttempt, now: float) -> None:
        """An attempt's first token came. That of a hedge says little about usual times: only quick ones are seen."""
        state = attempt.state
        state.silence.began(attempt.ticket)
        if attempt.streams and not attempt.hedge:
            state.began(now - attempt.sent_at, attempt.parts.uncached, attempt.in_flight, now)

    def learn(
        self, attempt: TrackedAttempt, book: Book, seen: Observation, now: float, rng: Callable[[], float]
    ) -> None:
        """Learns from an attempt that is over. `now` in seconds, `rng` draws from [0, 1).

        A hedge says nothing about the time to first token: it is read to its end only where it was quick.
        """
        self.billed(attempt, seen.usage)
        hedge = book.hedge not in ("", "beaten")
        ttft = None if hedge else seen.ttft
        if book.cancelled:
            self.released(attempt, ttft is None and not hedge, now)
        elif book.failure is not None:
            self.failed(attempt, book.failure, now, rng())
        else:
            self.succeeded(attempt, seen.usage, ttft, seen.speed, now)
            if not seen.empty:
                for earlier in attempt.empties:
                    self.contradicted(earlier, now, rng())
            if seen.usage.source == "host":
                attempt.state.output_size.learn(seen.usage.completion, seen.deltas, seen.size)
            if seen.tools is not None:
                attempt.state.called_tools(seen.tools, now)

    def succeeded(
        self, attempt: TrackedAttempt, usage: Usage, ttft: float | None, speed: float | None, now: float
    ) -> None:
        """An attempt ended well. `ttft` (s) and `speed` (output tokens/s) are None where they say nothing."""
        state, request = attempt.state, attempt.request
        state.done()
        state.silence.began(attempt.ticket)
        if state.breaker.succeeded(attempt.ticket, now):
            state.starts_slowly()
        state.ended(True, now)
        if ttft is not None:
            uncached = (usage.prompt or request.prompt_tokens) - usage.cached
            state.answered(ttft, uncached, speed, attempt.in_flight, now)
        if usage.source == "host":
            if request.tenant != PROBE:  # their answers are as long as the gateway wants them
                self.lengths[request.thinking, attempt.demand.tools].add(usage.completion, now)
            self.tokens.learn(request.prompt_size, usage.prompt, attempt.demand.tools, now)
            if attempt.parts.matched_tokens:
                self._compare_cached(attempt, usage, now)

    def billed(self, attempt: TrackedAttempt, usage: Usage) -> None:
        """Corrects the endpoint's share of the cap to the tokens that an attempt really used, however it ended."""
        toll = attempt.demand.toll
        if toll is not None:
            more = usage.prompt + usage.completion - attempt.demand.tokens
            toll.corrected(attempt.state.endpoint.id, more, attempt.sent_at)

    def failed(self, attempt: TrackedAttempt, failure: Failure, now: float, draw: float) -> None:
        """An attempt failed. `draw` is one draw in [0, 1)."""
        state, fault = attempt.state, failure.fault
        state.done()
        state.silence.ended(attempt.ticket)
        if fault.missed_deadline and attempt.streams:
            state.censored(now - attempt.sent_at, attempt.parts.uncached, attempt.in_flight, now)
        if failure.retry_after and fault.delays_endpoint:
            state.hold_for(failure.retry_after, now)
        if fault.blamed and fault is not Fault.EMPTY and self._blames(attempt, fault):
            if fault.counts:
                state.ended(False, now)
            state.breaker.failed(attempt.ticket, now, draw, fault)
            return
        state.breaker.released(attempt.ticket)
        if fault is Fault.RATE_LIMITED:
            state.ended(False, now)
            state.refused(attempt.sent_at, failure.retry_after, now)
        elif fault is Fault.REJECTED and failure.param is not None:
            state.refusals.remember(failure.param, failure.about, attempt.request, now)

    def contradicted(self, attempt: TrackedAttempt, now: float, draw: float) -> None:
        """An attempt ended without content, and another host answered: it counts as a failure after all."""
        attempt.state.ended(False, now)
        attempt.state.breaker.failed(attempt.ticket, now, draw, Fault.EMPTY)

    def released(self, attempt: TrackedAttempt, unanswered: bool, now: float) -> None:
        """The client left: health is unchanged. Without a first token (`unanswered`), the wait is a censored sample."""
        state = attempt.state
        state.done()
        state.silence.ended(attempt.ticket)
        state.breaker.released(attempt.ticket)
        if unanswered and attempt.streams:
            state.censored(now - attempt.sent_at, attempt.parts.uncached, attempt.in_flight, now)

    def distrust(self, endpoint: str, why: str, now: float, draw: float, *, alone: bool = False) -> None:
        """The credential was refused: opens the breaker of every endpoint that uses the same one.

        `alone`: of this endpoint only, because it is about the model (403, 404) and not about the credential.
        """
        state = self.states.get(endpoint)
        if state is None:
            return
        credential = None if alone else state.endpoint.api_key_env
        for other in self.states.values():
            if other is state or (credential and other.endpoint.api_key_env == credential):
                other.breaker.trip(now, draw, why)

    def turns_away(self, tenant: str, now: float) -> bool:
        """Whether one more request of this tenant would be shed: every endpoint is full, and it would not wait."""
        if not self.slots.turns_away(tenant, now):
            return False
        return all(state.full or not state.breaker.allows(now) for state in self.states.values())

    def _compare_cached(self, attempt: TrackedAttempt, usage: Usage, now: float) -> None:
        matched, prompt = attempt.parts.matched_tokens, attempt.demand.prompt_tokens
        if prompt and usage.prompt:
            attempt.state.cached(matched / prompt, usage.cached / usage.prompt, now)

    def _blames(self, attempt: TrackedAttempt, fault: Fault) -> bool:
        """Whether the fault is the endpoint's. A timeout is, if a peer would probably have met the deadline."""
        peers = [state for state in self.states.values() if state is not attempt.state]
        return not fault.missed_deadline or not peers or any(_meets(peer, attempt) for peer in peers)

    def __repr__(self) -> str:
        return f"<Fleet {list(self.states)}>"


def _is_same_host(one: Endpoint, other: Endpoint) -> bool:
    return (one.base_url, one.model, one.adapter) == (other.base_url, other.model, other.adapter)


def _meets(peer: EndpointState, attempt: TrackedAttempt) -> bool:
    seconds = peer.waits.p95[attempt.parts.size] * scale(attempt.parts.uncached)
    if not attempt.streams:
        seconds += attempt.demand.longest_output / peer.speeds.p10
    return seconds <= attempt.timeout
