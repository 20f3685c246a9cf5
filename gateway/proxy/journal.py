"""One exchange's rows: one for each attempt, of which the last also says what the client saw."""

from gateway.proxy.attempt import Attempt
from gateway.proxy.books import Books
from gateway.route.plan import Plan
from gateway.types import CacheResult, Failure, OutcomeName, Request, Row


class Journal:
    """Times are on the loop's clock, in seconds, except `unix`.

    `received` is when the request's last byte came, `first_at` when the client was sent the first token. `closed` says
    whether the last row is written.
    """

    __slots__ = ("_books", "_plan", "_received", "_request", "_waited", "cache", "closed", "first_at")

    def __init__(self, books: Books, request: Request, plan: Plan | None, received: float, cache: CacheResult) -> None:
        self._books = books
        self._request = request
        self._plan = plan
        self._received = received
        self._waited = 0.0  # seconds during which an endpoint was being waited for
        self.cache = cache
        self.closed = False
        self.first_at: float | None = None

    def attempted(
        self,
        attempt: Attempt,
        outcome: OutcomeName,
        failure: Failure | None,
        now: float,
        unix: float,
        status: int | None,
    ) -> None:
        """An attempt, sent at `unix`, is over. `status` is what the client gets where that ends the exchange."""
        until = now if attempt.first_at is None or failure is not None else attempt.heard_at
        self._waited += until - attempt.sent_at
        row = attempt.row(self._request, outcome, unix)
        if failure is not None:
            row.error = failure.message
        if status is not None:
            self._close(row, status, now)
        self._books.write(row, self._plan)

    def unattempted(self, outcome: OutcomeName, status: int, now: float, unix: float) -> None:
        """The exchange is over, and no attempt's row has closed it: mostly because no endpoint was asked."""
        request = self._request
        row = Row(
            id=f"{request.id}-0",
            exchange=request.id,
            at=unix,
            tenant=request.tenant,
            app=request.app,
            model=request.model,
            policy=request.policy,
            stream=request.stream,
            endpoint="",
            provider="",
            attempt=0,
            outcome=outcome,
        )
        self._close(row, status, now)
        self._books.write(row, self._plan)

    def _close(self, row: Row, status: int, now: float) -> None:
        self.closed = True
        row.last = True
        row.cache = self.cache
        row.client_status = status
        row.client_duration = now - self._received
        row.client_ttft = None if self.first_at is None else self.first_at - self._received
        row.overhead = max(0.0, row.client_duration - self._waited)
