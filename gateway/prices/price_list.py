"""The prices in force in a running gateway: read at its start, and again when the file of changes changes.

    prices.yaml ──watch──> PriceBook ──> every fleet: the endpoints in use with their prices, for the next plans
                                    └──> metrics, the page
    weekly, where `prices.sync` says so: a sync that writes prices.yaml

An attempt costs what its endpoint cost when its plan was made. A first price of an endpoint that had none counts from
the next start, because it has no connections yet.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from time import time
from typing import TYPE_CHECKING

from gateway.config import PriceSync, Settings
from gateway.errors import ConfigError, Unreadable
from gateway.files import Stamp, stamp
from gateway.prices.price_book import EMPTY, NOTHING, PriceBook, PriceHistory, book_path, read_book, with_prices
from gateway.state.conditions import Conditions
from gateway.types import Endpoint

if TYPE_CHECKING:
    from gateway.prices.price_sync import Synced

CHECK_EVERY = 1.0  # seconds
WEEK = 7 * 86_400.0  # seconds
DUE_EVERY = 3_600.0  # seconds between looks whether a week has passed
SOURCES: Mapping[PriceSync, tuple[str, ...]] = {
    "off": (),
    "litellm": ("litellm",),
    "hosts": ("hosts",),
    "all": ("litellm", "hosts"),
}

_log = logging.getLogger("gateway")


class PriceList:
    """The settings as they were read, and the book. Raises ConfigError where the book is invalid."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = book_path(settings)
        self.book: PriceBook = EMPTY
        self.problems: tuple[str, ...] = ()
        self._stamp: Stamp = None
        with suppress(OSError):  # a folder of another user: there is no book for this one
            self._stamp = stamp(self.path)
        self.book = read_book(self.path)

    def __repr__(self) -> str:
        return f"PriceList({self.path}, {len(self.book.endpoints)} endpoints)"

    @property
    def priced(self) -> Settings:
        """The settings with the prices in force."""
        return replace(self.settings, models=with_prices(self.settings.models, self.book, self.settings.own_prices))

    def history(self, endpoint: Endpoint) -> PriceHistory:
        """What the book says about an endpoint; a price in gateway.yaml has no changes."""
        found = self.book.endpoints.get(endpoint.id, NOTHING)
        return PriceHistory((), found.flags) if endpoint.id in self.settings.own_prices else found

    def reload(self) -> bool:
        """Reads the book again. Where it is invalid, the old one stays and False is returned."""
        self._stamp = stamp(self.path)
        try:
            self.book = read_book(self.path)
        except ConfigError as error:
            if error.problems != self.problems:
                _log.error("prices not reloaded, the old ones stay in force:\n%s", error)
            self.problems = error.problems
            if isinstance(error, Unreadable):
                self._stamp = None  # it may become readable without a change
            return False
        self.problems = ()
        _log.info("prices read again from %s", self.path)
        return True

    async def watch(self, apply: Callable[[], None], conditions: Conditions) -> None:
        """Calls `apply` after each change of the book, until cancelled. A change counts once two checks agree."""
        seen = self._stamp
        while True:
            await asyncio.sleep(CHECK_EVERY)
            with conditions.noted("prices"):
                before, seen = seen, await asyncio.to_thread(stamp, self.path)
                if before == seen != self._stamp and await asyncio.to_thread(self.reload):
                    apply()

    async def sync_weekly(self) -> None:
        """Syncs when a week has passed since the last time, until cancelled. With several workers, one of them does."""
        while True:
            if self.stale(time()):
                await asyncio.to_thread(self.sync)
            await asyncio.sleep(DUE_EVERY)

    def stale(self, now: float) -> bool:
        """Whether the last sync was a week ago, or there was none."""
        return now - (self.book.synced or 0.0) >= WEEK

    def sync(self) -> None:
        """One sync from the sources of the setting. Whatever prevents it is logged."""
        from gateway.prices.price_sync import SyncRunning, sync  # with an HTTP client that nothing else here needs

        try:
            _log_synced(sync(self.settings, SOURCES[self.settings.price_sync], (), time()))
        except SyncRunning:
            pass  # another worker does it
        except ConfigError as error:
            _log.warning("no price sync: %s", error)


def _log_synced(done: "Synced") -> None:
    taken = [line.endpoint.id for line in done.lines if line.result == "taken"]
    _log.info("price sync: %d endpoints compared, taken: %s", len(done.lines), ", ".join(taken) or "none")
    for line in done.lines:
        for flag in line.flags:
            if flag.at == done.book.synced:  # what was flagged before was logged then
                _log.warning("price sync: %s: %s: %s", line.endpoint.id, flag.kind, flag.text)
    for problem in done.problems:
        _log.warning("price sync: %s", problem)
