"""`/page/exchanges.json` and `/page/exchanges/{id}.json`: the last exchanges, filtered, and one with its attempts.

feed ──filters──> a page of the list
feed ──not found──> ledger of this machine ──not found──> the store's stream of rows ──not found──> 404
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from starlette.datastructures import QueryParams
from starlette.requests import Request

from gateway.errors import BadRequest, NotFound, StoreAway
from gateway.page.exchange_feed import ExchangeFeed, KeptExchange
from gateway.page.exchange_view import KINDS, kinds, shown_attempts, shown_exchange
from gateway.page.page_types import ExchangeDetail, ExchangePage, ShownExchange
from gateway.telemetry.archive import Archive
from gateway.telemetry.ledger_search import began, find
from gateway.types import Row

LIMIT, MOST = 50, 200  # exchanges in one answer
AT_ONCE = 2  # searches of the ledger at a time


class ExchangeFilter(NamedTuple):
    """Which exchanges to show; empty means any. An endpoint is that of any attempt the exchange shows."""

    model: str = ""
    kinds: frozenset[str] = frozenset()
    policy: str = ""
    endpoint: str = ""
    app: str = ""

    @classmethod
    def of(cls, query: QueryParams) -> Self:
        """Raises BadRequest for an unknown kind."""
        wanted = frozenset(filter(None, query.get("kind", "").split(",")))
        if unknown := wanted.difference(KINDS):
            raise BadRequest(f"`kind` may be {', '.join(KINDS)}, not `{min(unknown)[:20]}`", param="kind")
        return cls(query.get("model", ""), wanted, *(query.get(name, "") for name in ("policy", "endpoint", "app")))

    def takes(self, one: ShownExchange) -> bool:
        return (
            self.model in ("", one.model)
            and self.policy in ("", one.policy)
            and self.app in ("", one.app)
            and (not self.endpoint or self.endpoint in one.endpoints)
            and (not self.kinds or not self.kinds.isdisjoint(kinds(one)))
        )


class ExchangeRoutes:
    """Answers from the feed, and for older exchanges from the ledger and the archive."""

    def __init__(self, feed: ExchangeFeed, ledger: Path, archive: Archive) -> None:
        self._feed = feed
        self._ledger = ledger
        self._archive = archive
        self._searching = asyncio.Semaphore(AT_ONCE)

    async def listed(self, request: Request) -> ExchangePage:
        """Raises BadRequest."""
        query = request.query_params
        wanted, limit = ExchangeFilter.of(query), _limit(query)
        await self._feed.refresh()
        found = [one for one in _older(self._feed.newest(), query.get("before", "")) if wanted.takes(one)]
        return ExchangePage(found[:limit], len(found) > limit)

    async def one(self, request: Request) -> ExchangeDetail:
        """Raises NotFound, or StoreAway where that is not known."""
        name = request.path_params["id"]
        await self._feed.refresh()
        kept = self._feed.find(name) or await self._earlier(name)
        if kept is None:
            raise NotFound(f"there is no exchange `{name[:100]}`, or it has not ended")
        return ExchangeDetail(shown_exchange(kept.rows, kept.slow), shown_attempts(kept.rows), kept.explained)

    async def _earlier(self, name: str) -> KeptExchange | None:
        if began(name) is None:
            return None
        async with self._searching:
            rows = await asyncio.to_thread(find, self._ledger, name)
            if not rows:
                try:
                    rows = await self._archive.exchange(name)
                except OSError:
                    raise StoreAway("this machine has no such exchange, those of others are unknown") from None
        return KeptExchange(closing_last(rows), slow=False) if rows else None


def closing_last(rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: row.last))


def _limit(query: QueryParams) -> int:
    text = query.get("limit", str(LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST):
        raise BadRequest(f"`limit` must be a number from 1 to {MOST}", param="limit")
    return int(text)


def _older(found: list[ShownExchange], before: str) -> list[ShownExchange]:
    """Those behind the one with this id; all where it is not among them any more."""
    place = next((place for place, one in enumerate(found) if one.id == before), -1) if before else -1
    return found[place + 1 :]
