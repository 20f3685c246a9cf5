"""What a policy says about every endpoint, computed once for many requests.

    (policy, needs) ──────> Shortlist: candidates with their terms, and the dropped      until a figure changes
    request ──sift────────> the same two lists, usually as they are                      in every decision

Most of a decision is the same from request to request. What does differ rarely matters: a prompt or an answer that is
too large for an endpoint, a parameter that one refused, a breaker, a rate limit. Sizes are checked for all endpoints at
once against the smallest of their limits, the others only if `Changes` has an endpoint as a suspect.
"""

from collections.abc import Set
from math import inf

from msgspec import structs

from gateway.route.endpoint_state import Changes, EndpointState
from gateway.route.explore import FEW
from gateway.route.filters import (
    ANSWER_ROOM,
    Dropped,
    Reason,
    Tier,
    incapable,
    refused_before,
    sized,
    tier,
    too_small,
    usual_tier,
    violates_policy,
)
from gateway.route.latency import is_latency
from gateway.route.offers import Candidate, Field, field_of, terms
from gateway.route.refusals import Digests
from gateway.route.waits import MIDDLES, scale
from gateway.types import Pick, Policy, Request

Sifted = tuple[Field, list[Dropped]]  # not to be changed: it may be the shortlist's own


class Shortlist:
    """All endpoints under one policy and one set of needs, by id, as of `revision` of their figures.

    `has_rare` says whether some endpoint had so few answers lately that a request might explore it.
    """

    __slots__ = (
        "_changes",
        "_context",
        "_input",
        "_output",
        "_rows",
        "_usual",
        "has_rare",
        "objectives",
        "policy",
        "revision",
        "walls",
    )

    def __init__(self, policy: Policy, needs: frozenset[str], states: list[EndpointState], changes: Changes) -> None:
        self.policy = policy
        self.revision = changes.revision
        self._changes = changes
        self._rows = [_row(state, policy, needs) for state in states]
        suited = [candidate.endpoint for candidate, barred in self._rows if not barred]
        self._context = min((one.context for one in suited), default=inf)
        self._input = min((one.max_input for one in suited if one.max_input is not None), default=inf)
        self._output = min((one.max_output for one in suited if one.max_output), default=inf)
        self._usual = self._sized(None)
        self.has_rare = any(state.recent < FEW for state in states)
        self.walls = tuple(limit for limit in policy.require.limits if is_latency(limit))
        self.objectives = tuple(limit for limit in policy.slo if is_latency(limit))

    def sift(self, request: Request, now: float) -> Sifted:
        """The candidates for this request, and the dropped endpoints."""
        prompt, answer = request.prompt_tokens, request.max_tokens or 0
        fits = prompt + (answer or ANSWER_ROOM) <= self._context and prompt <= self._input and answer <= self._output
        sifted = self._usual if fits else self._sized(request)
        if self._changes.suspects and (suspects := self._changes.suspected(now)):
            return self._examined(sifted, suspects, request, now)
        return sifted

    def _sized(self, request: Request | None) -> Sifted:
        """By size as well, unless the request is known to fit (None)."""
        kept, dropped = [], []
        for candidate, barred in self._rows:
            endpoint = candidate.endpoint
            reason = barred or (too_small(endpoint, request) if request else None)
            if reason:
                dropped.append(Dropped(endpoint, reason))
            else:
                kept.append(_behind(candidate, *sized(endpoint, request)) if request else candidate)
        return field_of(kept, self.policy, self._changes), dropped

    def _examined(self, sifted: Sifted, suspects: Set[EndpointState], request: Request, now: float) -> Sifted:
        """Also by the current state of the suspects: rejections, rate limits, breakers."""
        kept, digests = [], Digests()
        for candidate in sifted[0]:
            state = candidate.state
            if state in suspects:
                candidate = _behind(candidate, *tier(state, self.policy, now))
                if reason := refused_before(state, request, now, digests):
                    candidate = _behind(candidate, Tier.LIKELY_REFUSAL, reason)
            kept.append(candidate)
        return sifted[0].in_tiers(kept), sifted[1]

    def __repr__(self) -> str:
        return f"<Shortlist {self.policy.name} of {len(self._rows)}>"


def _behind(candidate: Candidate, level: Tier, why: Reason | None) -> Candidate:
    """The candidate, set back to this tier unless it is further behind already."""
    return structs.replace(candidate, tier=level, why=why) if level > candidate.tier else candidate


def _row(state: EndpointState, policy: Policy, needs: frozenset[str]) -> tuple[Candidate, Reason | None]:
    """An endpoint with the reason against it that has nothing to do with the request's size."""
    place = _rank(state, policy.pick)
    candidate = Candidate(
        state, state.endpoint, terms(state, policy, "tools" in needs), place, *usual_tier(state, policy)
    )
    return candidate, incapable(state.endpoint, policy, needs) or violates_policy(state, policy.require)


def _rank(state: EndpointState, pick: Pick) -> float:
    """The place that the policy gives it before any score; the lower, the sooner. A place in a list, seconds, minus
    tokens per second, or 0 where the score decides."""
    if pick.how == "order":
        endpoint = state.endpoint
        named = (place for place, name in enumerate(pick.order) if name in (endpoint.id, endpoint.provider))
        return next(named, len(pick.order))
    if pick.how == "latency":
        return state.waits.p50[0] * scale(MIDDLES[0])
    return -state.speeds.p50 if pick.how == "throughput" else 0.0
