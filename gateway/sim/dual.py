"""A lower bound for the cheapest assignment of requests to hosts under a cap: a Lagrangian dual, and its maximum.

    bound(tolls) = sum over requests of min over hosts (dollars + toll[host] x tokens) - share x all tokens x sum(tolls)

The bound is valid for any tolls. It is concave in them and has kinks, so it is maximised by Shor's r-algorithm: ascend
until the slope turns downhill, then contract space along the change of slope. Plain subgradient steps oscillate across
a kink; the contraction flattens it, and scales the steps of hosts whose tolls differ a hundredfold.
"""

from collections.abc import Sequence
from math import hypot
from operator import add

SHRINK = 0.6  # contraction of space along a change of slope
FIRST_STEP = 0.1  # in units of a token's mean price
LONGER, SHORTER = 1.15, 0.9  # factors on the step, after many steps in one direction, and after a single one
MANY = 2
PRECISE = 1e-6  # in the same unit: a shorter step ends the ascent
MOST = 300  # bounds computed

Bill = tuple[int, Sequence[float]]  # tokens of a request, and dollars at each host


class Dual:
    """The bound for these requests, at least one, when no host may take more than `share` of all tokens.

    A share below 1 / hosts, which no assignment satisfies, is raised to that.
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
    """One ascent. `best` is the highest bound so far, in dollars; `computed` counts the bounds."""

    def __init__(self, dual: Dual) -> None:
        self.best = 0.0
        self.computed = 0
        self._dual = dual
        self._tolls = [0.0] * dual.hosts
        self._space = [[float(row == column) for column in range(dual.hosts)] for row in range(dual.hosts)]
        self._slope = self._evaluate()
        self._step = FIRST_STEP * dual.price

    def top(self) -> float:
        """Ascends until the steps are short; returns the highest bound."""
        while self.computed < MOST:
            direction = self._direction()
            if self._step * hypot(*direction) <= PRECISE * self._dual.price:
                break
            before = self._slope
            self._walk(direction)
            self._shrink([now - then for now, then in zip(self._slope, before, strict=True)])
        return self.best

    def _evaluate(self) -> list[float]:
        """The slope here, 0 where it would make a toll negative."""
        bound, slope = self._dual.at(self._tolls)
        self.best = max(self.best, bound)
        self.computed += 1
        return [rise if toll > 0 or rise > 0 else 0.0 for rise, toll in zip(slope, self._tolls, strict=True)]

    def _direction(self) -> list[float]:
        """The uphill direction in the contracted space; zero where none leads up."""
        scaled = [_dot(column, self._slope) for column in zip(*self._space, strict=True)]
        length = hypot(*scaled)
        return [_dot(row, scaled) / length for row in self._space] if length else [0.0] * len(scaled)

    def _walk(self, direction: Sequence[float]) -> None:
        """Steps in one direction until the slope turns downhill."""
        steps = 0
        while self.computed < MOST:
            steps += 1
            moved = (toll + self._step * way for toll, way in zip(self._tolls, direction, strict=True))
            self._tolls = [max(0.0, toll) for toll in moved]
            self._slope = self._evaluate()
            if _dot(self._slope, direction) <= 0:
                break
            if steps > MANY:
                self._step *= LONGER
        if steps == 1:
            self._step *= SHORTER

    def _shrink(self, change: Sequence[float]) -> None:
        """Contracts space along a change of slope."""
        scaled = [_dot(column, change) for column in zip(*self._space, strict=True)]
        length = hypot(*scaled)
        if not length:
            return
        unit = [part / length for part in scaled]
        for row in self._space:
            along = SHRINK * _dot(row, unit)
            row[:] = [cell - along * part for cell, part in zip(row, unit, strict=True)]

    def __repr__(self) -> str:
        return f"<Climb to {self.best:g} USD after {self.computed} bounds>"


def _dot(some: Sequence[float], others: Sequence[float]) -> float:
    return sum(one * other for one, other in zip(some, others, strict=True))
