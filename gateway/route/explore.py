"""Exploration: every endpoint keeps a small share, so that newcomers and those that have recovered are found.

    each request of a policy   saves `pick.explore`          an exploration takes 1

What is saved is spent as soon as a request allows it: one that begins a conversation, at an endpoint of the best tier
with few recent answers, whose score is at most `BOUND` times the best one and above it by at most `EXTRA` of what a
request of this policy usually scores: so small requests explore, and large ones stay. A prompt that some endpoint has
in its cache is never used, because reading it elsewhere is expensive. The endpoints tried least are the likeliest.

Savings are bounded, so a quiet hour does not pay for a burst, and never negative, so explorations stay within their
share at every moment.
"""

from collections.abc import Sequence
from typing import Protocol

from gateway.route.cost import Parts
from gateway.types import Policy

BOUND = 1.5  # times the best score
EXTRA = 0.5  # of the usual score
FEW = 5.0  # recent answers of one that is near the best score, or little known
NEAR = 1.2  # times the best score
FEW_OF_FAR = 0.06  # of one that is known to be far: one answer in four minutes
USUAL_OVER = 100.0  # requests that count for what one usually scores
KEPT = 2.0  # explorations that savings are worth at most
MOST_POLICIES = 256


class Scored(Protocol):
    """An endpoint of a plan, as far as exploring it is concerned."""

    @property
    def score(self) -> float: ...
    @property
    def parts(self) -> Parts: ...
    @property
    def recent(self) -> float: ...
    @property
    def attempted(self) -> float: ...
    @property
    def familiar(self) -> bool: ...


class Explorer:
    """What one policy has saved for explorations."""

    __slots__ = ("saved", "usual")

    def __init__(self) -> None:
        self.saved = 0.0
        self.usual = 0.0  # score, in dollars

    def decided(self, share: float, score: float, explored: bool) -> None:
        """A request with this score went out under a policy with this share; whether it explored."""
        saved = self.saved + share
        self.saved = (saved if saved < KEPT else KEPT) - explored
        self.usual += (score - self.usual) / USUAL_OVER

    @property
    def ready(self) -> bool:
        """Whether enough is saved for an exploration."""
        return self.saved >= 1

    def limit(self, best: float) -> float:
        """The highest score that may be explored, where this is the best one."""
        return best + min((BOUND - 1) * best, EXTRA * self.usual)

    def places(self, top: Sequence[Scored]) -> list[tuple[int, float]]:
        """(place, weight) of those that may be explored now; `top` is sorted by score, the best first."""
        if not self.ready:
            return []
        best = top[0].score
        limit = self.limit(best)
        shortest = min(one.parts.time_usd for one in top)
        return [
            (place, 1 / (1 + one.recent) / (1 + one.attempted))
            for place, one in enumerate(top)
            if one.recent < _few(one, best) and _hoped(one, shortest) <= limit
        ]

    def __repr__(self) -> str:
        return f"<Explorer {self.saved:.2f}>"


def _few(one: Scored, best: float) -> float:
    """Recent answers from which on this endpoint needs no exploration."""
    return FEW_OF_FAR if one.familiar and one.score > NEAR * best else FEW


def _hoped(one: Scored, shortest: float) -> float:
    """Its score at the fastest speed that its figures do not rule out."""
    return one.score if one.familiar else one.score - one.parts.time_usd + shortest


class Explorers:
    """The explorer of every policy, by the policy's name: it outlives a reload of the file."""

    __slots__ = ("_explorers",)

    def __init__(self) -> None:
        self._explorers: dict[str, Explorer] = {}

    def of(self, policy: Policy) -> Explorer | None:
        """The policy's explorer; None where it does not explore."""
        if not policy.pick.explore:
            return None
        found = self._explorers.get(policy.name)
        if found is None:
            if len(self._explorers) >= MOST_POLICIES:
                del self._explorers[next(iter(self._explorers))]  # the oldest
            found = self._explorers[policy.name] = Explorer()
        return found

    def __repr__(self) -> str:
        return f"<Explorers {self._explorers}>"
