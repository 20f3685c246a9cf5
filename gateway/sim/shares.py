"""Each endpoint's share of a replay's tokens, and which endpoints are below the cap."""

from collections.abc import Iterable, Sequence

from gateway.route.plan import Choice
from gateway.route.toll import SLACK_TOKENS


class Shares:
    """Tokens of each endpoint, counted over the whole trace. `cap` is the largest share of one endpoint; 1 is no
    cap."""

    def __init__(self, endpoints: Iterable[str], cap: float) -> None:
        self._tokens = dict.fromkeys(endpoints, 0)
        self._cap = cap

    def add(self, endpoint: str, tokens: int) -> None:
        self._tokens[endpoint] += tokens

    def under(self, choices: Sequence[Choice], part: float = 1.0) -> list[Choice]:
        """The choices at or below this part of the cap."""
        if self._cap >= 1:
            return list(choices)
        limit = sum(self._tokens.values()) * part * self._cap + SLACK_TOKENS
        return [choice for choice in choices if self._tokens[choice.endpoint.id] <= limit]

    def __repr__(self) -> str:
        return f"<Shares {self._tokens}>"
