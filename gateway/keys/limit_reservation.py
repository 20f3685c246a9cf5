"""What one request has reserved, and what it turned out to take."""

from collections.abc import Sequence

from gateway.keys.meter import Meter
from gateway.keys.need import Need
from gateway.keys.period import PER_NANO
from gateway.keys.quota import Quota

Held = tuple[Quota, Meter, int]  # what is reserved of a limit


class LimitReservation:
    """Settled once, at the end of its exchange, whatever the end is."""

    __slots__ = ("_cost", "_held", "_tokens")

    def __init__(self, held: Sequence[Held]) -> None:
        self._held = held
        self._cost = 0
        self._tokens = 0

    def __repr__(self) -> str:
        return f"<LimitReservation of {len(self._held)} limits>"

    @property
    def limits(self) -> list[Quota]:
        """Empty once it is settled."""
        return [quota for quota, _, _ in self._held]

    def spend(self, tokens: int, cost: int) -> None:
        """One attempt is over: its tokens, in and out, and its cost in 1e-12 USD."""
        self._tokens += tokens
        self._cost += cost

    def settle(self) -> None:
        """The exchange is over."""
        if self._held:
            used = Need(1, self._tokens, -(-self._cost // PER_NANO))
            for quota, meter, amount in self._held:
                if quota.name != "requests_per_minute":
                    meter.settle(amount, used.of(quota.name))
            self._held = ()
