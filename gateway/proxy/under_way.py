"""The exchanges that one worker has under way, so that each of them ends when the worker stops."""

from collections.abc import Callable, Iterator
from typing import Protocol


class Stoppable(Protocol):
    def stop(self) -> None:
        """Ends the exchange: its outcome is written, and its client gets an error or is cut off."""


class UnderWay:
    """`count` is called with +1 for each exchange that begins, and with -1 for each that ends."""

    __slots__ = ("_count", "_exchanges", "closed")

    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count
        self._exchanges: set[Stoppable] = set()
        self.closed = False

    def __len__(self) -> int:
        return len(self._exchanges)

    def __iter__(self) -> Iterator[Stoppable]:
        return iter(self._exchanges)

    def __contains__(self, exchange: Stoppable) -> bool:
        return exchange in self._exchanges

    def __repr__(self) -> str:
        return f"<UnderWay {len(self)} exchanges{', closed' if self.closed else ''}>"

    def add(self, exchange: Stoppable) -> None:
        self._exchanges.add(exchange)
        self._count(1)

    def discard(self, exchange: Stoppable) -> None:
        self._exchanges.discard(exchange)
        self._count(-1)

    def close(self) -> None:
        """Stops every exchange. Those that begin later are to be stopped by who begins them."""
        self.closed = True
        for exchange in list(self._exchanges):
            exchange.stop()
