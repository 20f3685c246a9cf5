"""What the probes of one endpoint have shown: its last speed runs, and each canary's results with their test for drift.

It is kept in the store as JSON, for `KEPT` after the last probe, and is bounded.
"""

from collections.abc import Sequence
from math import ceil

import msgspec

from gateway.probe.drift import GREEDY, USUAL
from gateway.probe.fingerprint import NAME as FINGERPRINT

MOST_RUNS = 200
MOST_RESULTS = 100  # of a canary: the window of its score
LONGEST_MISTAKE = 160  # characters


class SpeedRun(msgspec.Struct, frozen=True, gc=False):
    """One speed run. Times in seconds, `at` in unix time, `throughput` in output tokens/s after the first token."""

    at: float
    ttft: float | None
    throughput: float | None
    seconds: float
    outcome: str


class CanaryRecord(msgspec.Struct, gc=False):
    """`results`: a letter for each answer, oldest first: p(assed) or f(ailed). `total` is the sum of the drift test,
    `of` counts all answers, `mistake` is the last one."""

    results: str = ""
    of: int = 0
    last: float | None = None
    total: float = 0.0
    drift: bool = False
    mistake: str = ""

    @property
    def passed(self) -> int:
        return self.results.count("p")

    def add(self, name: str, mistake: str | None, at: float) -> None:
        """Takes one answer into account; `mistake` is None for a right one."""
        test = GREEDY if name == FINGERPRINT else USUAL
        self.total, self.drift = test.after(self.total, self.drift, mistake is None)
        self.results = (self.results + ("p" if mistake is None else "f"))[-MOST_RESULTS:]
        self.of += 1
        self.last = at
        if mistake is not None:
            self.mistake = mistake[:LONGEST_MISTAKE]


class EndpointRecord(msgspec.Struct, gc=False):
    """`rounds` counts the rounds so far, `last` is when the last one began (unix time)."""

    rounds: int = 0
    last: float | None = None
    runs: list[SpeedRun] = []
    canaries: dict[str, CanaryRecord] = {}

    def ran(self, run: SpeedRun) -> None:
        self.runs = [*self.runs, run][-MOST_RUNS:]

    def judged(self, canary: str, mistake: str | None, at: float) -> CanaryRecord:
        """Takes one answer to a canary into account; `mistake` is None for a right one."""
        record = self.canaries.setdefault(canary, CanaryRecord())
        record.add(canary, mistake, at)
        return record

    @property
    def score(self) -> float | None:
        """The share of right answers among the last ones of all canaries; None without any."""
        results = "".join(canary.results for canary in self.canaries.values())
        return results.count("p") / len(results) if results else None


_decoder = msgspec.json.Decoder(EndpointRecord)


def encoded(record: EndpointRecord) -> bytes:
    return msgspec.json.encode(record)


def decoded(data: object) -> EndpointRecord:
    """A new record where the store has none, or none that can be read."""
    if not isinstance(data, bytes):
        return EndpointRecord()
    try:
        return _decoder.decode(data)
    except ValueError:
        return EndpointRecord()


def percentile(ranked: Sequence[float], share: float) -> float | None:
    """The value that this share of the values does not exceed, one of them; `ranked` is sorted. None without any."""
    return ranked[ceil(share * len(ranked)) - 1] if ranked else None
