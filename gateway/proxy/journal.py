"""One exchange's journal: what each attempt cost, what the fleet learns from its end, and its row.

Book ──> attempted: settle, learn, row ──> ledger, metrics, recent exchanges        the last row closes the exchange
"""

from gateway.keys.limit_reservation import LimitReservation
from gateway.proxy.attempt import Attempt
from gateway.proxy.runtime import Runtime
from gateway.route.plan import Plan, regret
from gateway.route.signals import Book
from gateway.telemetry.series import hashed_user
from gateway.types import PICO, CacheResult, OutcomeName, RegretReason, Request, Row

_Decision = tuple[int, RegretReason, bool, str]  # regret, regret_reason, explored, relaxed
_Closing = tuple[bool, int, float | None, float, float, CacheResult]  # last, client_*, overhead, cache
_Names = tuple[str, str, str]  # key, group, user
_LATER: _Decision = (0, "", False, "")  # of an attempt behind the first one
_OPEN: _Closing = (False, 0, None, 0.0, 0.0, "off")  # of a row that does not close its exchange


class Journal:
    """Times are on the loop's clock, in seconds.

    `received` is when the request's last byte came, `first_at` when the client was sent the first token. `closed` says
    whether the last row is written, and `ended` its outcome. `reservation` is what is reserved of the request's limits,
    if it has any.
    """

    __slots__ = (
        "_names",
        "_paused_at",
        "_plan",
        "_received",
        "_request",
        "_runtime",
        "_since",
        "_waited",
        "cache",
        "closed",
        "ended",
        "first_at",
        "reservation",
    )

    def __init__(
        self, runtime: Runtime, request: Request, plan: Plan | None, received: float, cache: CacheResult
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._plan = plan
        self._received = received
        self._paused_at: float | None = None
        self._waited = 0.0  # seconds spent waiting for hosts
        self._since: float | None = None  # start of a wait that is not yet counted, because another attempt goes on
        user = request.body.get("user")
        hashed = hashed_user(request.tenant, user) if user and isinstance(user, str) else ""
        self._names = (request.key or request.tenant, request.group, hashed)
        self.cache = cache
        self.closed = False
        self.ended: OutcomeName = "unrouted"
        self.first_at: float | None = None
        self.reservation: LimitReservation | None = None

    def attempted(self, attempt: Attempt, book: Book, outcome: OutcomeName, status: int | None, alone: bool) -> None:
        """An attempt is over. `status` is what the client gets where that ends the exchange; `alone` says that no other
        attempt goes on. Written before the client sees the end."""
        runtime, plan, request, failure = self._runtime, self._plan, self._request, book.failure
        assert plan is not None
        now = runtime.clock()
        sent = runtime.wall_clock() - (now - attempt.sent_at)
        cut_off = book.cancelled or (failure is not None and failure.fault.is_timeout)
        seen = attempt.settle(now, int(sent // 3600) % 24, cut_off, plan.demand.output_tokens)
        if self.reservation is not None:
            self.reservation.spend(attempt.usage.prompt + attempt.usage.completion, attempt.cost)
        runtime.fleets[request.model].learn(attempt.send.tried, book, seen, now, runtime.rng)
        since = attempt.sent_at if self._since is None else min(self._since, attempt.sent_at)
        if alone:
            waited_to_the_end = failure is not None or attempt.first_at is None
            self._waited += (now if waited_to_the_end else attempt.received_at) - since
        self._since = None if alone else since
        decision = _decision(plan) if book.attempt == 1 else _LATER
        closing = _OPEN if status is None else self._close(outcome, status, now)
        row = self._row(attempt, sent, book, outcome, decision, closing)
        runtime.outcomes.write(row, plan, request)
        if runtime.sent is not None:
            runtime.sent.ended(attempt.slot)

    def sending(self, attempt: Attempt) -> None:
        """An attempt is about to be sent: a pause ends, and it is recorded, to be booked if this worker is killed."""
        if self._paused_at is not None:
            self._end_pause(attempt.sent_at, self._paused_at)
        runtime, plan, request, send = self._runtime, self._plan, self._request, attempt.send
        if runtime.sent is None:
            return
        assert plan is not None
        (key, group, user), choice, tried = self._names, send.choice, send.tried
        endpoint, parts = choice.endpoint.id, choice.parts
        attempt.slot = runtime.sent.begin(
            (request.id, request.tenant, request.app, request.model, request.policy, endpoint, key, group, user),
            (
                runtime.wall_clock(),
                parts.hit,
                plan.demand.output_tokens,
                parts.ttft,
                parts.seconds,
                round((parts.input_usd + parts.output_usd) * PICO),
                tried.request.prompt_tokens,
                send.attempt,
                request.stream,
                tried.streams,
                send.hedge,
            ),
        )

    def unattempted(self, outcome: OutcomeName, status: int, saved: int = 0) -> None:
        """The exchange is over, and no attempt's row has closed it: mostly because no request was sent. `saved` is the
        cost in 1e-12 USD of a cached answer when it was made."""
        (key, group, user), request, runtime = self._names, self._request, self._runtime
        last, client_status, client_ttft, client_duration, overhead, cache = self._close(
            outcome, status, runtime.clock()
        )
        row = Row(
            id=f"{request.id}-0",
            exchange=request.id,
            at=runtime.wall_clock(),
            tenant=request.tenant,
            app=request.app,
            model=request.model,
            policy=request.policy,
            stream=request.stream,
            endpoint="",
            provider="",
            attempt=0,
            outcome=outcome,
            saved=saved,
            last=last,
            client_status=client_status,
            client_ttft=client_ttft,
            client_duration=client_duration,
            overhead=overhead,
            cache=cache,
            key=key,
            group=group,
            user=user,
        )
        runtime.outcomes.write(row, self._plan, request)

    def paused(self) -> None:
        """A pause before a retry: no host is being waited for."""
        self._paused_at = self._runtime.clock()

    def _end_pause(self, now: float, since: float) -> None:
        self._waited += now - since
        self._paused_at = None

    def _close(self, outcome: OutcomeName, status: int, now: float) -> _Closing:
        self.closed, self.ended = True, outcome
        if self._paused_at is not None:
            self._end_pause(now, self._paused_at)
        duration = now - self._received
        ttft = None if self.first_at is None else self.first_at - self._received
        overhead = duration - self._waited
        return True, status, ttft, duration, overhead if overhead > 0 else 0.0, self.cache

    def _row(
        self, attempt: Attempt, sent: float, book: Book, outcome: OutcomeName, decision: _Decision, closing: _Closing
    ) -> Row:
        """The row of a settled attempt. By position, because msgspec takes 4 us to match these keywords."""
        request, send, usage, reader = self._request, attempt.send, attempt.usage, attempt.reader
        endpoint, parts = send.choice.endpoint, send.choice.parts
        regretted, reason, explored, relaxed = decision
        last, status, ttft, duration, overhead, cache = closing
        key, group, user = self._names
        return Row(
            f"{request.id}-{send.attempt}",
            request.id,
            sent,
            request.tenant,
            request.app,
            request.model,
            request.policy,
            request.stream,
            endpoint.id,
            endpoint.provider,
            send.attempt,
            outcome,
            reader.status,
            "" if book.failure is None else book.failure.message,
            reader.finish_reason,
            attempt.ttft,
            attempt.duration,
            usage.prompt,
            usage.cached,
            usage.completion,
            usage.reasoning,
            usage.source,
            attempt.cost,
            book.hedge,
            send.continues,
            round((parts.input_usd + parts.output_usd) * PICO),
            parts.seconds,
            regretted,
            reason,
            explored,
            relaxed,
            attempt.tools,
            reader.repairs,
            attempt.held,
            attempt.throughput,
            attempt.prompt_cost,
            attempt.saved,
            last,
            status,
            ttft,
            duration,
            overhead,
            cache,
            key,
            group,
            user,
            endpoint.price.version if endpoint.price else "",
        )


def _decision(plan: Plan) -> _Decision:
    """What the first attempt's row says of its plan."""
    usd, reason = regret(plan)
    return round(usd * PICO), reason, plan.picked == "explore", plan.relaxed or ""
