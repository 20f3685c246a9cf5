"""The parts of one worker that outlive its configuration: connections, counts, ledger, store."""

from dataclasses import dataclass
from pathlib import Path

from starlette.routing import Route

from gateway.api.health_routes import Health
from gateway.intake.auth import Keys
from gateway.keys.key_book import KeyBook
from gateway.keys.limit_view import LimitView
from gateway.keys.limiter import Limiter
from gateway.page.exchange_feed import ExchangeFeed
from gateway.proxy.outcomes import OutcomeLog
from gateway.proxy.recent_exchanges import RecentExchanges
from gateway.proxy.timer_wheel import TimerWheel
from gateway.proxy.under_way import UnderWay
from gateway.server.admission import Admission
from gateway.server.connections import Connections
from gateway.state.store import Store
from gateway.telemetry.archive import Archive
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.sent_attempts import SentAttempts
from gateway.telemetry.tracing import Tracing
from gateway.upstream.transport.transport import Transport


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """`ledger_folder` and `store_url` are where their readers look."""

    store: Store
    store_url: str
    ledger: Ledger
    ledger_folder: Path
    archive: Archive
    metrics: Metrics
    recent: RecentExchanges
    feed: ExchangeFeed
    outcomes: OutcomeLog
    tracing: Tracing | None
    transport: Transport
    limiter: Limiter
    limit_view: LimitView
    sent: SentAttempts
    keys: Keys
    key_book: KeyBook
    under_way: UnderWay
    wheel: TimerWheel
    load: Admission
    connections: Connections
    health: Health
    routes: tuple[Route, ...]  # of health, metrics and the administration of keys
