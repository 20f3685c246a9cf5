"""A share of one endpoint as it is now: recent samples, which start from what is usual.

    samples ─┬─> usual     over hours, starting from what is published
             └─> recent    over minutes, and at most so many samples, starting from what is usual

Evidence is bounded, so a change shows after some dozen samples, however many came before; and it fades, so that without
new samples the share returns to what is usual within minutes. What never was otherwise is not forgiven.
"""

from gateway.route.sketch import Rate


class Estimate:
    """Shares in [0, 1]. Half-lives in seconds; `strength` is how many recent samples what is usual counts for."""

    __slots__ = ("_strength", "recent", "usual")

    def __init__(self, recent: float, most: float, usual: float, strength: float) -> None:
        self.recent = Rate(recent, most)
        self.usual = Rate(usual)
        self._strength = strength

    def add(self, share: float, now: float) -> None:
        self.recent.add(share, now)
        self.usual.add(share, now)

    def share(self, now: float, prior: float, strength: float) -> float:
        """The share now; `prior` is what was published, which counts like `strength` samples."""
        return self.recent.share(now, self.usual.share(now, prior, strength), self._strength)

    def __repr__(self) -> str:
        return f"<Estimate recent={self.recent!r} usual={self.usual!r}>"
