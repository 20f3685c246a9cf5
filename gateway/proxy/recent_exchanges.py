"""The last exchanges of this worker, for the model page. Kept as they are, and rendered only for a request of the page.

rows of attempts ──> open exchanges ──closing row──> newest      the last of all
                                               └───> notable     the last that failed, were slow, or took several
                                                                 attempts: taken out once a second (`taken`)
"""

from collections import deque
from collections.abc import Iterator, Mapping

import msgspec

from gateway.route.plan import Plan
from gateway.types import Row

KEPT = 200  # exchanges of each kind
MOST_OPEN = 1_000  # exchanges under way with an attempt that is over
UNEXPECTED = 4.0  # times the expected seconds, from which an answer without a time to first token is slow
UNTROUBLED = frozenset({"ok", "cached", "cancelled"})  # outcomes of exchanges that did not fail

SlowFrom = Mapping[tuple[str, str], float]  # (policy, endpoint) -> seconds to the first token


class FinishedExchange(msgspec.Struct, frozen=True, gc=False):
    """An exchange that ended: the rows of its attempts, the closing one last; whether it was slow; and its plan, if
    the response cache did not answer."""

    rows: tuple[Row, ...]
    slow: bool
    plan: Plan | None

    @property
    def closing(self) -> Row:
        return self.rows[-1]


class RecentExchanges:
    """The last exchanges, newest first. Holds no prompt and no answer.

    `slow_from` says from which time to first token an exchange counts as slow; the page keeps it up to date.
    """

    __slots__ = ("_newest", "_notable", "_open", "slow_from")

    def __init__(self) -> None:
        self._newest: deque[FinishedExchange] = deque(maxlen=KEPT)
        self._notable: deque[FinishedExchange] = deque(maxlen=KEPT)
        self._open: dict[str, list[Row]] = {}
        self.slow_from: SlowFrom = {}

    def __iter__(self) -> Iterator[FinishedExchange]:
        return reversed(self._newest)

    def __repr__(self) -> str:
        return f"<Recent {len(self._newest)} exchanges, {len(self._open)} open>"

    def add(self, row: Row, plan: Plan | None) -> bool:
        """Whether the row closes an exchange that was slow."""
        if not row.last:
            self._keep_open(row)
            return False
        earlier = self._open.pop(row.exchange, None) if self._open else None
        slow = self._is_slow(row)
        past = FinishedExchange((row,) if earlier is None else (*earlier, row), slow, plan)
        self._newest.append(past)
        if slow or earlier is not None or row.outcome not in UNTROUBLED:
            self._notable.append(past)
        return slow

    def taken(self) -> list[FinishedExchange]:
        """The notable ones since the last call, oldest first."""
        found = list(self._notable)
        self._notable.clear()
        return found

    def _keep_open(self, row: Row) -> None:
        self._open.setdefault(row.exchange, []).append(row)
        if len(self._open) > MOST_OPEN:
            del self._open[next(iter(self._open))]  # the oldest

    def _is_slow(self, row: Row) -> bool:
        waited = row.client_ttft if row.client_ttft is not None else row.ttft
        if waited is None:
            return row.client_duration > UNEXPECTED * row.predicted_s > 0
        limit = self.slow_from.get((row.policy, row.endpoint))
        return limit is not None and waited > limit
