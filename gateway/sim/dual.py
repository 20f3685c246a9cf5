"""The cheapest assignment of requests to hosts under a cap, from below: a Lagrangian dual, and its highest point.

    bound(tolls) = sum over requests of min over hosts (dollars + toll[host] x tokens) - share x all tokens x sum(tolls)

Every bound is valid, whatever the tolls. It is concave in them and has kinks, so it is climbed by Shor's r-algorithm:
go uphill until the way leads down, then shrink space along the change of slope. Plain subgradient steps jump to and fro
across a kink; here it becomes flat, and hosts whose tolls differ a hundredfold get steps of their own size.
"""

from collections.abc import Sequence
from math import hypot
from operator import add

SHRINK = 0.6  # how much space shrinks along a change of slope
FIRST_STEP = 0.1  # of what a token costs, hosts weighing alike
LONGER, SHORTER = 1.15, 0.9  # a step, after many in one direction, and after a single one
MANY = 2
PRECISE = 1e-6  # of the same: a shorter step ends the climb
MOST = 300  # bounds computed

Bill = tuple[int, Sequence[float]]  # tokens of a request, and dollars at each host


class Dual:
    """The bound for these requests, at least one, when no host may take more than `share` of all tokens.

    A share that all hosts together could not serve the requests with is taken as an equal part of them.
    """

    def __init__(self, bills: Sequence[Bill], share: float) -> None:
        self.hosts = len(bills[0][1])
        self.total = sum(tokens for tokens, _ in bills)
        self.price = sum(sum(dollars) for _, dollars in bills) / self.hosts / max(1, self.total)  # USD per token
        self._share = max(share, 1 / self.hosts)
        self._rates = [
            (tokens, [usd / tokens for usd in dollars]) for tokens, dollars in bills if tokens
        ]  # USD per token

    def at(self, tolls: Sequence[float]) -> tuple[float, list[float]]:
        """The bound in dollars at these tolls in USD per token; and its slope, the share of each host above the cap."""
        bound, loads = 0.0, [0] * self.hosts
        for tokens, rates in self._rates:
            tolled = list(map(add, rates, tolls))
            least = min(tolled)
            bound += tokens * least
            loads[tolled.index(least)] += tokens
        slope = [load / self.total - self._share for load in loads]
        return bound - self._share * self.total * sum(tolls), slope

    def __repr__(self) -> str:
        return f"<Dual of {len(self._rates)} requests and {self.hosts} hosts>"


class Climb:
    """One way up. `best` is the highest bound so far, in dollars, `computed` the number of bounds."""

    def __init__(self, dual: Dual) -> None:
        self.best = 0.0
        self.computed = 0
        self._dual = dual
        self._tolls = [0.0] * dual.hosts
        self._space = [[float(row == column) for column in range(dual.hosts)] for row in range(dual.hosts)]
        self._slope = self._look()
        self._step = FIRST_STEP * dual.price

    def top(self) -> float:
        """The highest bound found until steps are short."""
        while self.computed < MOST:
            direction = self._direction()
            if self._step * hypot(*direction) <= PRECISE * self._dual.price:
                break
            before = self._slope
            self._walk(direction)
            self._shrink([now - then for now, then in zip(self._slope, before, strict=True)])
        return self.best

    def _look(self) -> list[float]:
        """The slope here, flat where it leads below a toll of nought."""
        bound, slope = self._dual.at(self._tolls)
        self.best = max(self.best, bound)
        self.computed += 1
        return [rise if toll > 0 or rise > 0 else 0.0 for rise, toll in zip(slope, self._tolls, strict=True)]

    def _direction(self) -> list[float]:
        """Uphill in the space as it is now; no direction where nothing leads up."""
        seen = [_dot(column, self._slope) for column in zip(*self._space, strict=True)]
        length = hypot(*seen)
        return [_dot(row, seen) / length for row in self._space] if length else [0.0] * len(seen)

    def _walk(self, direction: Sequence[float]) -> None:
        """Takes steps in one direction until the slope leads down."""
        steps = 0
        while self.computed < MOST:
            steps += 1
            moved = (toll + self._step * way for toll, way in zip(self._tolls, direction, strict=True))
            self._tolls = [max(0.0, toll) for toll in moved]
            self._slope = self._look()
            if _dot(self._slope, direction) <= 0:
                break
            if steps > MANY:
                self._step *= LONGER
        if steps == 1:
            self._step *= SHORTER

    def _shrink(self, change: Sequence[float]) -> None:
        """Shrinks space along a change of slope."""
        seen = [_dot(column, change) for column in zip(*self._space, strict=True)]
        length = hypot(*seen)
        if not length:
            return
        unit = [part / length for part in seen]
        for row in self._space:
            along = SHRINK * _dot(row, unit)
            row[:] = [cell - along * part for cell, part in zip(row, unit, strict=True)]

    def __repr__(self) -> str:
        return f"<Climb to {self.best:g} USD after {self.computed} bounds>"


def _dot(some: Sequence[float], others: Sequence[float]) -> float:
    return sum(one * other for one, other in zip(some, others, strict=True))
