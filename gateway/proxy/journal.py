"""One exchange's books: what each attempt cost, what the fleet learns from its end, and its row.

Book ──> attempted: settle, learn, row ──> ledger, metrics, recent exchanges        the last row closes the exchange
"""

from typing import TYPE_CHECKING

from gateway.proxy.attempt import Attempt
from gateway.route.plan import Plan, regret
from gateway.route.signals import Book
from gateway.route.tracked_attempt import Observation
from gateway.types import PICO, CacheResult, OutcomeName, Request, Row

if TYPE_CHECKING:
    from gateway.proxy.proxy import Proxy


class Journal:
    """Times are on the loop's clock, in seconds.

    `received` is when the request's last byte came, `first_at` when the client was sent the first token. `closed` says
    whether the last row is written.
    """

    __slots__ = (
        "_paused_at",
        "_plan",
        "_proxy",
        "_received",
        "_request",
        "_since",
        "_waited",
        "cache",
        "closed",
        "first_at",
    )

    def __init__(
        self, proxy: "Proxy", request: Request, plan: Plan | None, received: float, cache: CacheResult
    ) -> None:
        self._proxy = proxy
        self._request = request
        self._plan = plan
        self._received = received
        self._paused_at: float | None = None
        self._waited = 0.0  # seconds during which an endpoint was being waited for
        self._since: float | None = None  # from when that is not yet counted, because another attempt goes on
        self.cache = cache
        self.closed = False
        self.first_at: float | None = None

    def attempted(self, attempt: Attempt, book: Book, outcome: OutcomeName, status: int | None, alone: bool) -> None:
        """An attempt is over. `status` is what the client gets where that ends the exchange; `alone` says that no other
        attempt goes on. Written before the client sees the end."""
        proxy, plan = self._proxy, self._plan
        assert plan is not None
        now = proxy.clock()
        sent = proxy.unix() - (now - attempt.sent_at)
        cut_off = book.cancelled or (book.failure is not None and book.failure.fault.is_timeout)
        attempt.settle(self._request, sent, cut_off, plan.demand.output_tokens)
        self._learn(attempt, book, now)
        self._wait(attempt, attempt.first_at is None or book.failure is not None, now, alone)
        endpoint = attempt.send.choice.endpoint
        row = _row(self._request, attempt.send.attempt, sent, endpoint.id, endpoint.provider, outcome)
        attempt.fill(row)
        row.hedge = book.hedge
        if row.attempt == 1:
            usd, row.regret_reason = regret(plan)
            row.regret = round(usd * PICO)
            row.relaxed = plan.relaxed or ""
            row.explored = plan.picked == "explore"
        if book.failure is not None:
            row.error = book.failure.message
        if status is not None:
            self._close(row, status, now)
        proxy.books.write(row, plan, self._request)

    def unattempted(self, outcome: OutcomeName, status: int) -> None:
        """The exchange is over, and no attempt's row has closed it: mostly because no endpoint was asked."""
        request, proxy = self._request, self._proxy
        row = _row(request, 0, proxy.unix(), "", "", outcome)
        self._close(row, status, proxy.clock())
        proxy.books.write(row, self._plan, request)

    def paused(self) -> None:
        """Nothing is sent for a while, because an endpoint is asked again after it."""
        self._paused_at = self._proxy.clock()

    def pause_ended(self, now: float) -> None:
        """A pause, if there was one, is over: an attempt goes out, or the exchange ends."""
        if self._paused_at is not None:
            self._waited += now - self._paused_at
            self._paused_at = None

    def _learn(self, attempt: Attempt, book: Book, now: float) -> None:
        tools = attempt.tools == "ok" if attempt.tools else None
        seen = Observation(attempt.usage, attempt.ttft, attempt.speed(), tools, attempt.reader.empty)
        self._proxy.fleets[self._request.model].learn(attempt.send.tried, book, seen, now, self._proxy.chance)

    def _wait(self, attempt: Attempt, to_the_end: bool, now: float, alone: bool) -> None:
        """Counts the time for which a host was waited for; where two were, once."""
        since = attempt.sent_at if self._since is None else min(self._since, attempt.sent_at)
        if alone:
            self._waited += (now if to_the_end else attempt.heard_at) - since
        self._since = None if alone else since

    def _close(self, row: Row, status: int, now: float) -> None:
        self.closed = True
        self.pause_ended(now)
        row.last = True
        row.cache = self.cache
        row.client_status = status
        row.client_duration = now - self._received
        row.client_ttft = None if self.first_at is None else self.first_at - self._received
        row.overhead = max(0.0, row.client_duration - self._waited)


def _row(request: Request, attempt: int, at: float, endpoint: str, provider: str, outcome: OutcomeName) -> Row:
    """A row that says no more than which request it is about, and how it ended where. `at` in unix time."""
    return Row(
        id=f"{request.id}-{attempt}",
        exchange=request.id,
        at=at,
        tenant=request.tenant,
        app=request.app,
        model=request.model,
        policy=request.policy,
        stream=request.stream,
        endpoint=endpoint,
        provider=provider,
        attempt=attempt,
        outcome=outcome,
    )


def outcome_of(book: Book) -> OutcomeName:
    """How a booked attempt ended."""
    if book.failure is not None:
        return book.failure.fault
    return "cancelled" if book.cancelled else "ok"
