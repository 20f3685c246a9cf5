"""How much of each limit a request takes, or may take."""

from typing import NamedTuple

from gateway.config import LimitName


class Need(NamedTuple):
    """Requests, tokens in and out, and the cost in 1e-9 USD."""

    requests: int
    tokens: int
    cost: int

    def of(self, name: LimitName) -> int:
        """In the unit of this limit."""
        if name == "requests_per_minute":
            return self.requests
        return self.tokens if name == "tokens_per_minute" else self.cost
