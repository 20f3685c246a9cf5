"""A replay request by request, for questions about a part of its time: to which host, how long, at what cost.

number     0     1     2     3   ...        one array for each column, in the order of arrival
arrived    0.0   0.4   0.9   1.1
sent_to    2     2     0     2              the host of the first attempt, as an index into `hosts`
ttft       1.2   0.8   nan   1.0            nan: no first token
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import ceil, inf, nan

from gateway.sim.tally import PER
from gateway.types import Usage

WINDOW_REQUESTS, WINDOW_SECONDS = 30, 20.0  # the least requests and seconds that a share is computed over


class Log:
    """Columns of one replay of `count` requests. Seconds and dollars; times are those of arrival.

    `answered_by`: the host of the first token, -1 without one. `usd`: all that was spent on a request. `predicted_usd`
    and `predicted_seconds`: the prediction for its first attempt. `actual_usd` and `actual_seconds`: the measurement of
    its successful attempt, nan without one; `tokens`: those of its prompt and answer.
    """

    __slots__ = (
        "actual_seconds",
        "actual_usd",
        "answered_by",
        "arrived",
        "hosts",
        "predicted_seconds",
        "predicted_usd",
        "sent_to",
        "tokens",
        "ttft",
        "usd",
    )

    def __init__(self, count: int, hosts: Sequence[str]) -> None:
        self.hosts = tuple(hosts)
        self.arrived = array("d")
        self.sent_to = array("h", [-1]) * count
        self.answered_by = array("h", [-1]) * count
        self.ttft = array("d", [nan]) * count
        self.usd = array("d", [0.0]) * count
        self.tokens = array("q", [0]) * count
        self.predicted_usd = array("d", [nan]) * count
        self.predicted_seconds = array("d", [nan]) * count
        self.actual_usd = array("d", [nan]) * count
        self.actual_seconds = array("d", [nan]) * count

    # recorded by the engine

    def sent(self, number: int, host: str, usd: float, seconds: float) -> None:
        """The first attempt was sent, with this prediction."""
        self.sent_to[number] = self.hosts.index(host)
        self.predicted_usd[number] = usd
        self.predicted_seconds[number] = seconds

    def answered(self, number: int, host: str, ttft: float) -> None:
        self.answered_by[number] = self.hosts.index(host)
        self.ttft[number] = ttft

    def booked(self, number: int, usd: float, seconds: float, usage: Usage, good: bool) -> None:
        """An attempt ended, successful or not, after `seconds`."""
        self.usd[number] += usd
        if good:
            self.actual_usd[number] = usd
            self.actual_seconds[number] = seconds
            self.tokens[number] = usage.prompt + usage.completion

    # of the requests that arrived from `start` on and before `end`

    def within(self, start: float, end: float) -> range:
        return range(bisect_left(self.arrived, start), bisect_left(self.arrived, end))

    def share(self, host: str, start: float, end: float) -> float:
        """Share of requests whose first attempt went to this host; 0 without requests."""
        return self._share(self.hosts.index(host), self.within(start, end))

    def quantile(self, share: float, start: float, end: float) -> float:
        """Quantile of the times to first token; nan without any."""
        waits = sorted(ttft for ttft in (self.ttft[one] for one in self.within(start, end)) if ttft == ttft)
        return waits[ceil(len(waits) * share) - 1] if waits else nan

    def spent(self, start: float, end: float) -> float:
        """Dollars."""
        return sum(self.usd[one] for one in self.within(start, end))

    def price(self, start: float, end: float) -> float:
        """Dollars per 1M tokens of whole answers; nan without any."""
        tokens = sum(self.tokens[one] for one in self.within(start, end))
        return self.spent(start, end) / tokens * PER if tokens else nan

    def waited(self, seconds: float, start: float, end: float) -> int:
        """Requests without a first token after `seconds`."""
        return sum(not self.ttft[one] <= seconds for one in self.within(start, end))

    # times until a share changes

    def until_below(self, host: str, share: float, start: float, end: float = inf) -> float | None:
        """Seconds from `start` until the host gets less than this share of requests; None where not before `end`."""
        return self._until(host, start, end, lambda found: found < share)

    def until_above(self, host: str, share: float, start: float, end: float = inf) -> float | None:
        """Seconds from `start` until it gets more."""
        return self._until(host, start, end, lambda found: found > share)

    def _until(self, host: str, start: float, end: float, holds: Callable[[float], bool]) -> float | None:
        """The start of the first window for whose share `holds` is true: the larger of both window sizes."""
        place, arrived = self.hosts.index(host), self.arrived
        for first in self.within(start, end):
            last = max(first + WINDOW_REQUESTS, bisect_left(arrived, arrived[first] + WINDOW_SECONDS))
            if last > len(arrived):
                return None
            if holds(self._share(place, range(first, last))):
                return arrived[first] - start
        return None

    def _share(self, place: int, numbers: range) -> float:
        return sum(self.sent_to[one] == place for one in numbers) / len(numbers) if numbers else 0.0

    def __repr__(self) -> str:
        return f"<Log of {len(self.arrived)} requests>"
