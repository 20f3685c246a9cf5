"""What this worker did last, for people to look at. Kept by reference and rendered when somebody looks."""

from collections import deque
from collections.abc import Iterator

import msgspec

from gateway.route.plan import Plan
from gateway.types import Row

KEPT = 20  # exchanges
MOST_OPEN = 1_000  # exchanges under way whose failed attempts have already cost something


class FinishedExchange(msgspec.Struct, frozen=True, gc=False):
    """An exchange that ended: the row that closed it, what all its attempts cost (1e-12 USD), the plan it followed."""

    row: Row
    cost: int
    plan: Plan | None


class RecentExchanges:
    """The last exchanges, newest first. Holds no prompt and no answer."""

    __slots__ = ("_past", "_spent")

    def __init__(self) -> None:
        self._past: deque[FinishedExchange] = deque(maxlen=KEPT)
        self._spent: dict[str, int] = {}  # exchange -> cost of its attempts so far

    def __iter__(self) -> Iterator[FinishedExchange]:
        return reversed(self._past)

    def __repr__(self) -> str:
        return f"<Recent {len(self._past)} exchanges, {len(self._spent)} open>"

    def add(self, row: Row, plan: Plan | None) -> None:
        if row.last:
            before = self._spent.pop(row.exchange, 0) if self._spent else 0
            self._past.append(FinishedExchange(row, before + row.cost, plan))
        elif row.cost:
            self._spent[row.exchange] = self._spent.get(row.exchange, 0) + row.cost
            if len(self._spent) > MOST_OPEN:
                del self._spent[next(iter(self._spent))]
