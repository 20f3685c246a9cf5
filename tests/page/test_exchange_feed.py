"""The feed over a real store: a failure is found after 10,000 good exchanges, at another worker, after a restart."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from gateway.page import exchange_feed
from gateway.page.exchange_feed import MOST_SHARED, ExchangeFeed
from gateway.page.exchange_view import kinds
from gateway.proxy.recent_exchanges import KEPT, RecentExchanges
from gateway.route.fleet import Fleet
from gateway.types import Row
from tests.route.world import endpoint, plan
from tests.support.rows import row

PLAN = plan(Fleet([endpoint("a/fp8"), endpoint("b/fp8")]))
Worker = tuple[RecentExchanges, ExchangeFeed]


@pytest.fixture
def worker(engine: str, client: redis.Redis) -> Callable[[], Worker]:
    """Makes workers that share an empty store."""

    def made() -> Worker:
        recent = RecentExchanges()
        return recent, ExchangeFeed(recent, engine)

    return made


def ids(feed: ExchangeFeed, kind: str = "") -> list[str]:
    return [one.id for one in feed.newest() if not kind or kind in kinds(one)]


def add(recent: RecentExchanges, *rows: Row) -> None:
    for one in rows:
        recent.add(one, PLAN)


async def test_a_failure_is_found_after_10_000_good_exchanges(worker: Callable[[], Worker]) -> None:
    recent, feed = worker()
    add(recent, row(exchange="failed", outcome="server", at=1.0))
    await feed.tick()
    for _ in range(50):
        add(recent, *(row() for _ in range(200)))
        await feed.tick()
    assert ids(feed, "failed") == ["failed"]
    assert len(ids(feed)) == KEPT + 1
    found = feed.find("failed")
    assert found is not None
    assert found.explained is not None
    feed.close()


async def test_other_workers_and_the_next_start_see_it_with_its_attempts_and_plan(
    worker: Callable[[], Worker],
) -> None:
    recent, feed = worker()
    first = row(exchange="x", outcome="server", last=False, error="busy")
    add(recent, first, row(exchange="x", attempt=2, endpoint="b/fp8"), row(exchange="good"))
    add(recent, row(exchange="slow", client_ttft=None, ttft=None, client_duration=100.0))
    assert await feed.tick()
    feed.close()
    _, after = worker()
    await after.refresh()
    assert set(ids(after)) == {"x", "good", "slow"}
    assert ids(after, "retried") == ["x"]
    assert ids(after, "slow") == ["slow"]
    found = after.find("x")
    assert found is not None
    assert [one.error for one in found.rows] == ["busy", ""]
    assert {choice["endpoint"] for choice in (found.explained or {})["ranked"]} == {"a/fp8", "b/fp8"}
    after.close()


async def test_what_it_shared_itself_is_there_once(worker: Callable[[], Worker]) -> None:
    recent, feed = worker()
    add(recent, row(exchange="x", outcome="server"))
    await feed.tick()
    await feed.refresh()
    assert ids(feed) == ["x"]
    assert [one.id for _, one in feed.live] == ["x"]
    feed.close()


async def test_of_one_kind_and_second_a_few_are_shared(worker: Callable[[], Worker], client: redis.Redis) -> None:
    recent, feed = worker()
    add(recent, *(row() for _ in range(100)), *(row(exchange=f"f{n}", outcome="server") for n in range(100)))
    await feed.tick()
    assert client.xlen("gw:{exchanges}:failed") == client.xlen("gw:{exchanges}:all") == MOST_SHARED
    newest = client.xrevrange("gw:{exchanges}:failed", count=1)
    assert b"f99" in newest[0][1][b"record"]
    assert len(ids(feed, "failed")) == 100
    feed.close()


async def test_the_streams_in_the_store_are_bounded_and_expire(
    worker: Callable[[], Worker], client: redis.Redis
) -> None:
    recent, feed = worker()
    for _ in range(KEPT // MOST_SHARED + 3):
        add(recent, *(row(outcome="server") for _ in range(MOST_SHARED)))
        await feed.tick()
    assert client.xlen("gw:{exchanges}:failed") == KEPT
    assert 0 < client.ttl("gw:{exchanges}:failed") <= exchange_feed.KEEP
    _, other = worker()
    await other.refresh()
    assert len(ids(other, "failed")) == KEPT
    feed.close()
    other.close()


async def test_a_record_that_is_too_large_loses_its_plan_or_stays_here(
    worker: Callable[[], Worker], client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent, feed = worker()
    monkeypatch.setattr(exchange_feed, "MOST_BYTES", 700)
    add(recent, row(exchange="x", outcome="server"))
    await feed.tick()
    _, other = worker()
    await other.refresh()
    assert [one.plan for one in [other.find("x")] if one] == [b""]
    monkeypatch.setattr(exchange_feed, "MOST_BYTES", 10)
    add(recent, row(exchange="y", outcome="server"))
    await feed.tick()
    assert client.xlen("gw:{exchanges}:failed") == 1
    assert set(ids(feed)) == {"x", "y"}
    feed.close()
    other.close()


async def test_records_of_another_version_are_skipped(worker: Callable[[], Worker], client: redis.Redis) -> None:
    for record in (b"\xc1", b"\x81\xa1\x80\x01"):  # the second is msgpack, but its name is not UTF-8
        client.xadd("gw:{exchanges}:failed", {"from": "older", "record": record})
    _, feed = worker()
    await feed.refresh()
    assert ids(feed) == []
    feed.close()


async def test_without_a_store_it_has_its_own_workers_exchanges() -> None:
    recent = RecentExchanges()
    feed = ExchangeFeed(recent, "unix:///nonexistent/store.sock")
    add(recent, row(exchange="x", outcome="server"), row(exchange="good"))
    assert not await feed.tick()
    await feed.refresh()
    assert set(ids(feed)) == {"x", "good"}
    assert [one.id for _, one in feed.live] == ["x", "good"]
    feed.close()


def test_its_repr_counts_what_is_kept(engine: str) -> None:
    changes: dict[str, Any] = {"outcome": "server"}
    recent = RecentExchanges()
    feed = ExchangeFeed(recent, engine)
    add(recent, row(**changes))
    feed.take()
    assert repr(feed) == "<ExchangeFeed 0 all, 1 failed, 0 slow, 0 several>"
