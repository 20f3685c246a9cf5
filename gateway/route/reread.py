"""How often a prompt is read again, as the next turn of its conversation: apart for each kind of request.

    re-reads = tokens that were sent before / tokens that were not

A token that is sent for the first time is usually read so many times more, which is what the choice of its endpoint is
about where cached input is cheaper. The same for every endpoint; whether an endpoint then has it in its cache is
another question (`EndpointState.confirm`).
"""

from math import exp2

PRIOR = 1.0  # half of what hosts of this model are sent was sent before, by public statistics
PRIOR_TOKENS = 1_000_000.0  # that this counts for
HALF_LIFE = 3_600.0  # seconds


class Rereads:
    """Requests of one kind. `usual` is how many times a token is read again; it fades back to what is published."""

    __slots__ = ("_again", "_at", "_fresh", "usual")

    def __init__(self) -> None:
        self.usual = PRIOR
        self._again = self._fresh = self._at = 0.0

    def add(self, prompt: float, known: float, now: float) -> None:
        """A prompt was sent of which some endpoint has `known` tokens already."""
        if now > self._at:
            keep = exp2((self._at - now) / HALF_LIFE)
            self._again *= keep
            self._fresh *= keep
            self._at = now
        known = min(known, prompt)
        self._again += known
        self._fresh += prompt - known
        self.usual = (self._again + PRIOR * PRIOR_TOKENS) / (self._fresh + PRIOR_TOKENS)

    def __repr__(self) -> str:
        return f"<Rereads {self.usual:.2f}>"
