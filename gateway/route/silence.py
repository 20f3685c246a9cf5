"""Detects an unresponsive endpoint from requests that still wait for their first token.

    sent ──> waiting ──┬─ began: a first token came, so the endpoint answers          nothing is held against it
                       ├─ ended: counts as its outcome
                       └─ still waiting: the longer beyond the usual, the likelier it will never be answered

The logarithm of a usual time to first token is about normal, so every wait has a tail probability. Those of requests
sent after the last one that began are multiplied: if the product is below `SILENT`, the endpoint is silent. Any single
one that waits beyond `HUNG` standard deviations counts as failed, until it begins.
"""

from math import erfc, log, sqrt

SILENT = 1e-5
HUNG = 4.0  # standard deviations
SOON = 1e-3  # seconds
LEAST = 1e-12  # probability of a single wait
LOOKED_AT = 64  # of the oldest waiting requests
LEAST_SCATTER = 0.45  # standard deviation of the logarithm: few samples show too little of the tail


class Silence:
    """The requests of one endpoint that wait for their first token. `now` in seconds."""

    __slots__ = ("_begun", "_waiting", "hung", "silent", "why")

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[float, float, float]] = {}  # ticket -> sent at, usual seconds, scatter
        self._begun = -1.0  # when the latest request was sent that has begun
        self.silent = False
        self.hung = 0  # requests that currently count as failed
        self.why = ""

    def sent(self, ticket: int, usual: float, scatter: float, now: float) -> None:
        """A request was sent; its first token usually takes `usual` seconds."""
        self._waiting[ticket] = now, usual, scatter

    def began(self, ticket: int) -> None:
        """Its first token came."""
        found = self._waiting.pop(ticket, None)
        if found is not None and found[0] > self._begun:
            self._begun = found[0]
            self.silent = False

    def ended(self, ticket: int) -> None:
        """It is over without a first token."""
        self._waiting.pop(ticket, None)

    def __len__(self) -> int:
        return len(self._waiting)

    def judge(self, now: float) -> None:
        """Evaluates the requests that wait."""
        against, self.hung, together, longest = 0.0, 0, 0, 0.0
        for place, (sent, usual, scatter) in enumerate(self._waiting.values()):
            waited = now - sent
            if place >= LOOKED_AT:
                break
            z = log(max(waited, SOON) / usual) / max(scatter, LEAST_SCATTER)
            self.hung += z >= HUNG
            if sent > self._begun:
                against -= log(max(LEAST, erfc(z / sqrt(2)) / 2))
                together += 1
                longest = max(longest, waited)
        self.silent = against >= -log(SILENT)
        if self.silent:
            self.why = f"{together} request{'s' * (together > 1)} without a first token for up to {longest:.0f} s"

    def __repr__(self) -> str:
        return f"<Silence {len(self._waiting)} waiting, {self.hung} hung, silent={self.silent}>"
