"""Books the attempts that were under way when their worker was killed, by the next start or by another worker.

    *.sent of a dead worker ──> attempts ──> without a row in the ledger ──> rows `killed`, with an estimate ──> deleted

The file is locked meanwhile, and deleted only when the rows are on disk. If this worker is killed between the two, the
next one finds its rows in the ledger: no attempt is booked twice.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from math import ceil
from pathlib import Path
from types import MappingProxyType

from gateway.route.fleet import Fleet
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.ledger_search import rows_since
from gateway.telemetry.sent_attempts import LeftBehind, SentAttempt, left_behind
from gateway.types import Endpoint, Row, Usage
from gateway.upstream.usage import NO_USAGE, bill, billed_share

LOOK_EVERY = 2.0  # seconds
LONGEST = 2.0  # times the usual output, that an answer had at most when its worker died: it may have stalled
STATUS = 502  # of a client whose connection broke


class KilledAttempts:
    """`record` takes each row for the metrics."""

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        record: Callable[[Row], object],
        fleets: Mapping[str, Fleet] = MappingProxyType({}),
    ) -> None:
        self._folder = folder
        self._ledger = ledger
        self._record = record
        self._fleets = fleets

    def __repr__(self) -> str:
        return f"<KilledAttempts {self._folder}>"

    def take(self, fleets: Mapping[str, Fleet]) -> None:
        """From now on these are the endpoints in use, by model."""
        self._fleets = fleets

    async def run(self) -> None:
        """Books until cancelled."""
        while True:
            await self.book()
            await asyncio.sleep(LOOK_EVERY)

    async def book(self) -> None:
        """Books the attempts of workers that have died."""
        for found in await asyncio.to_thread(left_behind, self._folder):
            booked = False
            try:
                for row in await asyncio.to_thread(self._rows, found):
                    self._ledger.append(row)
                    self._record(row)
                await self._ledger.written()
                booked = True
            finally:
                found.close("delete" if booked else "keep")

    def _rows(self, found: LeftBehind) -> list[Row]:
        """One for each attempt without a row, oldest exchange first."""
        sent = sorted(found.attempts.values(), key=lambda one: (one.exchange, one.attempt))
        if not sent:
            return []
        exchanges = {one.exchange for one in sent}
        written = rows_since(self._folder, min(one.at for one in sent), exchanges)
        booked, closed = {row.id for row in written}, {row.exchange for row in written if row.last}
        rows: list[Row] = []
        for exchange, attempts in groupby((one for one in sent if one.id not in booked), lambda one: one.exchange):
            rows += self._of_exchange(list(attempts), found.last_sign, exchange not in closed)
        return rows

    def _of_exchange(self, attempts: list[SentAttempt], died: float, closes: bool) -> Iterator[Row]:
        for one in attempts:
            fleet = self._fleets.get(one.model)
            state = fleet.states.get(one.endpoint) if fleet is not None else None
            yield killed_row(one, state.endpoint if state else None, died, closes and one is attempts[-1])


def killed_row(sent: SentAttempt, endpoint: Endpoint | None, died: float, last: bool) -> Row:
    """The row of an attempt whose worker died at this Unix time. Without its endpoint no cost is estimated."""
    duration = max(0.0, died - sent.at)
    usage, price = NO_USAGE if endpoint is None else estimate(sent, endpoint, duration), endpoint and endpoint.price
    cost, prompt_cost, saved = bill(usage, price, int(sent.at // 3600) % 24) if price else (0, 0, 0)
    return Row(
        id=sent.id,
        exchange=sent.exchange,
        at=sent.at,
        tenant=sent.tenant,
        app=sent.app,
        model=sent.model,
        policy=sent.policy,
        stream=sent.stream,
        endpoint=sent.endpoint,
        provider=endpoint.provider if endpoint else sent.endpoint.partition("/")[0],
        attempt=sent.attempt,
        outcome="killed",
        error="the worker died while this attempt was under way",
        duration=duration,
        prompt_tokens=usage.prompt,
        cached_tokens=usage.cached,
        completion_tokens=usage.completion,
        usage_source=usage.source,
        cost=cost,
        hedge="cancelled" if sent.hedge else "",
        predicted_usd=sent.usd,
        predicted_s=sent.seconds,
        prompt_cost=prompt_cost,
        saved=saved,
        last=last,
        client_status=STATUS if last else 0,
        client_duration=duration if last else 0.0,
        key=sent.key,
        group=sent.group,
        user=sent.user,
        price=price.version if price else "",
    )


def estimate(sent: SentAttempt, endpoint: Endpoint, waited: float) -> Usage:
    """What the host will probably bill for an attempt that broke off after so many seconds, of which nothing else is
    known: as for a cancelled one, with the output that the answer probably had by then."""
    bills_rest = endpoint.cancel == "bills" or (endpoint.cancel == "unknown" and not sent.streams)
    begun = sent.streams and waited >= sent.ttft
    share = 1.0 if begun else billed_share(endpoint.cancel, sent.streams, cut_off=True)
    if not share:
        return NO_USAGE
    done = sent.output if bills_rest else 0.0
    if begun and (left := sent.seconds - sent.ttft) > 0:
        written = sent.output * (waited - sent.ttft) / left  # also beyond the usual length: it was under way
        done = max(done, min(written, LONGEST * sent.output))
    prompt = ceil(share * sent.prompt)
    return Usage(prompt, int(sent.hit * prompt), round(done), 0, source="estimated")
