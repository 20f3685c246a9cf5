"""What one endpoint was sent in the last minute, by all workers.

    add, refused ──> own slices of 5 s ──own──> other workers
    merge ─────────> their slices, each where it lies on this worker's clock

A slice counts until all of it is a minute old. What the others sent since the last merge is not known: each is expected
to have sent as much as this worker.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil
from operator import add
from typing import Annotated

import msgspec

from gateway.route.posted import Posted

SLICE = 5.0  # seconds
SLICES = 13  # the current one, and the 12 that end within the minute before
REQUESTS, TOKENS, REFUSED = range(3)  # units
_MILLIS = 1_000 * SLICE
_KNOWN = 3  # offset from a unit's total to the part of it that was there at the last merge
_JITTER = 0.05  # of a slice, by which two readings of the same age differ at most

_Amount = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Slice = tuple[_Amount, _Amount, _Amount, _Amount]  # milliseconds since its begin, requests, tokens, 429s


class Minute:
    """Requests, tokens and 429s of the last minute, as far as they are known."""

    __slots__ = ("_current", "_earlier", "_ends", "_latest", "_others", "_slices")

    def __init__(self) -> None:
        self._latest = [0.0] * 5  # what this worker sent in the current slice
        self._earlier = [0.0] * 5  # the rest: what it sent in earlier slices, and what all others sent
        self._current = -1  # number of the slice that is added to
        self._ends = 0.0  # when it ends
        self._slices: deque[tuple[int, list[float]]] = deque()  # at most `SLICES`, the latest last
        self._others: dict[int, list[float]] = {}  # all of them together, by the slice's number

    def add(self, tokens: float, now: float) -> None:
        """Records one request of `tokens` tokens."""
        if now >= self._ends:
            self.pass_to(now)
        latest = self._latest
        latest[0] += 1  # numbers here, because it is for every request
        latest[1] += tokens

    def refused(self, now: float) -> None:
        """One request was answered 429."""
        self.pass_to(now)
        self._latest[REFUSED] += 1

    @property
    def totals(self) -> list[float]:
        """[requests, tokens, 429s] of the last minute, then the first two as of the last merge."""
        return list(map(add, self._earlier, self._latest))

    def pass_to(self, now: float) -> None:
        """Leaves out what is a minute old."""
        number = int(now // SLICE)
        if number <= self._current:
            return
        self._current = number
        self._ends = (number + 1) * SLICE
        slices = self._slices
        while slices and slices[0][0] <= number - SLICES:
            slices.popleft()
        self._latest = [0.0] * 5
        slices.append((number, self._latest))
        if self._others:
            self._others = {one: amounts for one, amounts in self._others.items() if one > number - SLICES}
        self._sum()

    def expected(self, unit: int, others: int) -> float:
        """The total of requests or tokens, if `others` workers each sent as much as this one since the last merge."""
        earlier, latest = self._earlier, self._latest
        total = earlier[unit] + latest[unit]
        return total + others * (total - earlier[_KNOWN + unit] - latest[_KNOWN + unit])

    def under(self, unit: int, limit: float, others: int) -> float:
        """When what is expected of this unit will be under this limit, if nothing is added."""
        left = self.expected(unit, others)
        for number, amounts in sorted((*self._slices, *self._others.items())):
            left -= amounts[unit] + others * (amounts[unit] - amounts[_KNOWN + unit])
            if left < limit:
                return (number + SLICES) * SLICE
        return (self._current + SLICES) * SLICE

    # what workers share

    def own(self, now: float) -> list[Slice]:
        """What this worker sent, for others."""
        self.pass_to(now)
        return [
            (round(1_000 * (now - number * SLICE)), round(amounts[REQUESTS]), round(amounts[TOKENS]), round(amounts[2]))
            for number, amounts in self._slices
            if any(amounts)
        ]

    def merge(self, others: Iterable[Posted[Sequence[Slice]]], now: float) -> None:
        """Takes what each other worker sent, in place of what was known of them."""
        self.pass_to(now)
        found: dict[int, list[float]] = {}
        for one in others:
            latest = (now - one.age) / SLICE - _JITTER
            for age, requests, tokens, refused in one.value:
                number = ceil(latest - age / _MILLIS)  # it ends here no sooner than there
                amounts = found.get(number)
                if amounts is None:
                    amounts = found[number] = [0.0] * 5
                amounts[REQUESTS] += requests
                amounts[TOKENS] += tokens
                amounts[REFUSED] += refused
        self._others = {number: one for number, one in found.items() if number > self._current - SLICES}
        for amounts in (*found.values(), *(own for _, own in self._slices)):
            amounts[_KNOWN:] = amounts[:REFUSED]
        self._sum()

    def _sum(self) -> None:
        amounts = [one for _, one in self._slices if one is not self._latest]
        self._earlier = list(map(sum, zip([0.0] * 5, *amounts, *self._others.values(), strict=True)))

    def __repr__(self) -> str:
        return f"<Minute {self.totals[:_KNOWN]}>"
