import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from redis.asyncio import Redis

from gateway.state.conditions import Conditions
from gateway.telemetry import shipper
from gateway.telemetry.ledger import Ledger, segments
from gateway.telemetry.packed import SIZE, Packed
from gateway.telemetry.rollups import DAY, RETENTION
from gateway.telemetry.series import MOST, OTHER, Kind, Series
from gateway.telemetry.shipper import BATCH_BYTES, ENTRY_BYTES, RESTS, ROUNDS, Shipper
from gateway.telemetry.shipping_script import STREAM, STREAM_BYTES, Arguments
from tests.support.closing import stop
from tests.support.rows import cached_row, row
from tests.support.valkey import until
from tests.support.wire import talker, wire
from tests.telemetry.conftest import Store

AT = 4_000_000_000.0  # far ahead: the store's own clock expires what is old
MINUTE = int(AT // 60)


@pytest.fixture
async def redis(store: Store) -> AsyncIterator[Redis]:
    async with Redis.from_url(store.url, decode_responses=True) as client:
        yield client


class Ship:
    """A shipper of one folder, with what it reported about its store."""

    def __init__(self, folder: Path, url: str, now: float = AT + 60) -> None:
        self.reports: list[bool] = []
        self.shipper = Shipper(folder, url, self.reports.append, clock=lambda: now)

    async def __aenter__(self) -> "Ship":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.shipper.close()

    async def __call__(self) -> bool:
        return await self.shipper.ship()


NOVITA = Series("deepseek/deepseek-v3.2", "endpoint", "novita/fp8")


async def rollup(store: Store, series: Series = NOVITA, minute: int = MINUTE) -> Packed:
    async with Redis.from_url(store.url) as binary:
        return Packed.of(await binary.get(series.key("minute", minute)) or b"")


def write(folder: Path, count: int, **changes: object) -> Ledger:
    ledger = Ledger(folder)
    for _ in range(count):
        ledger.append(row(**{"at": AT} | changes))
    return ledger


async def test_rows_arrive_in_the_stream_and_in_their_minute(tmp_path: Path, store: Store, redis: Redis) -> None:
    ledger = write(tmp_path, 2)
    ledger.append(row(at=AT, outcome="server", cost=0, prompt_tokens=0, cached_tokens=0, completion_tokens=0))
    ledger.append(row(at=AT + 60))
    async with Ship(tmp_path, store.url) as ship:
        assert await ship()
    found = await rollup(store)
    counted = ("attempts", "ok", "prompt", "cached", "completion", "reasoning", "cost")
    assert [found[name] for name in counted] == [3, 2, 2000, 800, 202, 60, 500_000_000]
    assert (await rollup(store, minute=MINUTE + 1))["attempts"] == 1
    assert [row["outcome"] for row in await stream(redis)] == ["ok", "ok", "server", "ok"]


async def stream(redis: Redis) -> list[dict[str, Any]]:
    """Every row in the stream, of which each entry holds some."""
    return [orjson.loads(line) for _, fields in await redis.xrange(STREAM) for line in fields["rows"].splitlines()]


async def test_money_stays_an_exact_integer(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 3, cost=2**53 + 1)  # no double holds this
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    assert (await rollup(store))["cost"] == 3 * (2**53 + 1)


async def test_each_bucket_has_its_expiry(tmp_path: Path, store: Store, redis: Redis) -> None:
    now = int(await _now(redis))
    write(tmp_path, 1, at=float(now))
    async with Ship(tmp_path, store.url, now=now) as ship:
        await ship()
    kept = {"minute": (60, 3 * 3_600), "hour": (3_600, 31 * DAY), "day": (DAY, 400 * DAY)}
    for unit, (seconds, retention) in kept.items():
        key = NOVITA.key(unit, now // seconds)  # type: ignore[arg-type]
        assert await redis.expiretime(key) == now // seconds * seconds + retention
    assert (
        await redis.expiretime(f"gw:{{books}}:names:{now // DAY}:endpoint:{NOVITA.model}")
        == now // DAY * DAY + 400 * DAY
    )


async def test_nothing_stays_for_ever(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 1, app="Chat")
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    bounded_by_length = {STREAM}
    assert {key for key in await redis.keys("*") if await redis.ttl(key) < 0} == bounded_by_length


async def test_more_apps_than_a_day_may_have_are_counted_as_one(tmp_path: Path, store: Store, redis: Redis) -> None:
    ledger = Ledger(tmp_path)
    for number in range(MOST["app"] + 5):
        ledger.append(row(at=AT, app=f"app {number}"))
    ledger.append(row(at=AT, app="app 0"))
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    assert await redis.scard(f"gw:{{books}}:names:{int(AT // DAY)}:app:{NOVITA.model}") == MOST["app"]
    app: Kind = "app"
    counted = [
        (await rollup(store, Series(NOVITA.model, app, name)))["requests"]
        for name in ("app 0", "app 1", f"app {MOST['app']}", OTHER)
    ]
    assert counted == [2, 1, 0, 5]


async def test_a_string_has_its_size_from_the_start(tmp_path: Path, store: Store, redis: Redis) -> None:
    """Strings that grow are given twice the memory that they need."""
    write(tmp_path, 1)
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    assert await redis.strlen(NOVITA.key("day", int(AT // DAY))) == SIZE


async def _now(redis: Redis) -> int:
    seconds, _ = await redis.time()
    return int(seconds)


async def test_a_row_just_as_old_as_that_is_shipped(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 1)
    async with Ship(tmp_path, store.url, now=AT + RETENTION) as ship:
        assert await ship()
    assert len(await stream(redis)) == 1


async def test_an_offset_outlives_the_rows_that_it_counts(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 1)
    (segment,) = segments(tmp_path)
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    key = f"gw:{{books}}:shipped:{segment.name}"
    size = str(segment.stat().st_size)
    assert await redis.hgetall(key) == {"rows": size, "sums": size}
    assert RETENTION + DAY - 60 < await redis.ttl(key) <= RETENTION + DAY


def test_the_stream_is_bounded_by_bytes() -> None:
    """Its length is as many entries of the size of the longest one as fit, and at least this one."""
    for size, length in ((1_000, STREAM_BYTES // 1_000), (STREAM_BYTES // 2, 2), (STREAM_BYTES + 1, 1)):
        assert Arguments("key", "rows", 0, size, 1, [b"x" * size]).values[4] == length


async def test_an_entry_of_the_stream_is_no_longer_than_a_reader_expects(
    tmp_path: Path, store: Store, redis: Redis
) -> None:
    write(tmp_path, 1000)
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    sizes = [len(fields["rows"]) for _, fields in await redis.xrange(STREAM)]
    assert len(sizes) > 1
    assert max(sizes) <= ENTRY_BYTES


async def attempts(store: Store) -> list[int]:
    """Of the test's minute, hour and day."""
    async with Redis.from_url(store.url) as binary:
        keys = [NOVITA.key("minute", MINUTE), NOVITA.key("hour", MINUTE // 60), NOVITA.key("day", MINUTE // 1440)]
        return [Packed.of(one or b"")["attempts"] for one in await binary.mget(keys)]


async def test_new_rows_wait_for_seconds_and_hours_wait_longer(tmp_path: Path, store: Store) -> None:
    ledger = write(tmp_path, 1)
    seen = []
    async with Ship(tmp_path, store.url) as ship:
        for _ in range(ROUNDS + 1):
            assert await ship.shipper.ship(whole=False)
            seen.append(await attempts(store))
            ledger.append(row(at=AT))
        assert await ship()
    assert [one[0] for one in seen[: 2 * RESTS + 3]] == [1, 1, 1, 4, 4, 4, 7]
    assert seen[ROUNDS - 1][1:] == [0, 0]
    assert seen[ROUNDS][1] == seen[ROUNDS][2] == seen[ROUNDS][0]
    assert await attempts(store) == [ROUNDS + 2] * 3


async def test_hours_do_not_wait_when_no_row_came(tmp_path: Path, store: Store) -> None:
    write(tmp_path, 2)
    async with Ship(tmp_path, store.url) as ship:
        assert await ship.shipper.ship(whole=False)
        assert await attempts(store) == [2, 0, 0]
        assert await ship.shipper.ship(whole=False)
        assert await attempts(store) == [2, 2, 2]


async def test_hours_that_waited_in_a_worker_that_died_are_added_by_the_next(tmp_path: Path, store: Store) -> None:
    ledger = write(tmp_path, 5)
    async with Ship(tmp_path, store.url) as killed:
        assert await killed.shipper.ship(whole=False)
    ledger.append(row(at=AT))
    async with Ship(tmp_path, store.url) as ship:
        assert await ship.shipper.ship(whole=False)
        assert await attempts(store) == [6, 0, 0]
        assert await ship()
    assert await attempts(store) == [6, 6, 6]


async def test_hours_of_two_shippers_at_once_count_once(tmp_path: Path, store: Store) -> None:
    ledger = write(tmp_path, 3)
    async with Ship(tmp_path, store.url) as one, Ship(tmp_path, store.url) as two:
        for ship in (one, two):
            assert await ship.shipper.ship(whole=False)
        ledger.append(row(at=AT))
        for ship in (one, two, one):
            assert await ship()
    assert await attempts(store) == [4, 4, 4]


async def test_only_segments_that_exist_are_remembered(tmp_path: Path, store: Store) -> None:
    write(tmp_path, 1).close()
    write(tmp_path, 1)
    async with Ship(tmp_path, store.url) as ship:
        await ship()
        assert "2 segments" in repr(ship.shipper)
        segments(tmp_path)[0].unlink()
        await ship()
        assert "1 segments" in repr(ship.shipper)


async def test_rows_older_than_that_are_not_shipped(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 1)
    async with Ship(tmp_path, store.url, now=AT + RETENTION + 1) as ship:
        assert await ship()
    assert len(await stream(redis)) == 0


async def test_an_exchange_without_an_endpoint_is_no_attempt(tmp_path: Path, store: Store, redis: Redis) -> None:
    ledger = Ledger(tmp_path)
    ledger.append(cached_row(at=AT))
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    assert len(await stream(redis)) == 1
    assert await redis.keys("gw:{books}:history:*:endpoint:*") == []
    everything = await rollup(store, Series(NOVITA.model, "all", ""))
    assert (everything["requests"], everything["attempts"]) == (1, 0)


async def test_many_batches_and_new_rows(tmp_path: Path, store: Store, redis: Redis) -> None:
    ledger = write(tmp_path, 1000)
    async with Ship(tmp_path, store.url) as ship:
        await ship()
        await ship()
        assert (await rollup(store))["attempts"] == 1000
        ledger.append(row(at=AT))
        await ship()
    assert (await rollup(store))["attempts"] == 1001
    assert len(await stream(redis)) == 1001


async def test_a_row_longer_than_a_batch(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 2, error="x" * 2 * BATCH_BYTES)
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    assert len(await stream(redis)) == 2


async def test_a_restarted_shipper_goes_on_where_the_last_one_was(tmp_path: Path, store: Store, redis: Redis) -> None:
    ledger = write(tmp_path, 300)
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    ledger.append(row(at=AT))
    async with Ship(tmp_path, store.url) as ship:
        await ship()
    assert (await rollup(store))["attempts"] == 301


class LostReplies:
    """A relay to the store that passes everything on, but closes before its script's answer gets back."""

    def __init__(self, target: Path, socket: Path) -> None:
        self._target, self._socket = target, socket
        self.lost = 0

    async def __aenter__(self) -> "LostReplies":
        self._server = await asyncio.start_unix_server(self._serve, str(self._socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop(self._server)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):  # also when the test ends first
            upstream, to_store = await asyncio.open_unix_connection(str(self._target))
            with closing(to_store):
                await self._relay(reader, writer, upstream, to_store)

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: asyncio.StreamReader,
        to_store: asyncio.StreamWriter,
    ) -> None:
        while request := await reader.read(2**20):
            to_store.write(request)
            reply = await upstream.read(2**16)
            if b"EVAL" in request and b"gw:probe" not in request and b"NOSCRIPT" not in reply:
                self.lost += 1
                break
            writer.write(reply)


async def test_a_crash_after_the_write_counts_nothing_twice(tmp_path: Path, store: Store, redis: Redis) -> None:
    """The store did the work, the shipper never learned of it, and a new process takes over."""
    write(tmp_path, 50)
    socket = Path(store.url.removeprefix("unix://"))
    async with LostReplies(socket, socket.with_name("r")) as relay:
        async with Ship(tmp_path, f"unix://{socket.with_name('r')}") as ship:
            assert not await ship()
        assert relay.lost == 1
    assert (await rollup(store))["attempts"] == 50
    async with Ship(tmp_path, store.url) as ship:
        assert await ship()
    assert (await rollup(store))["attempts"] == 50
    assert len(await stream(redis)) == 50


async def test_a_ship_that_was_cancelled_leaves_no_answer_for_the_next(
    tmp_path: Path, store: Store, redis: Redis
) -> None:
    ledger = write(tmp_path, 3)
    async with wire(store.url) as proxy, Ship(tmp_path, proxy.url) as ship:
        assert await ship()
        ledger.append(row(at=AT))
        proxy.hold()
        task = asyncio.create_task(ship())
        await until(lambda: proxy.held > 0)
        task.cancel()
        await asyncio.wait({task})
        proxy.release()
        assert await ship()
    assert (await rollup(store))["attempts"] == 4


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400\r\n", b"-NOAUTH no\r\n", b"+PONG\r\n", b"$1\r\nx\r\n", b"$-1\r\n", b"*0\r\n"]
)
async def test_a_peer_that_is_no_store_is_away(tmp_path: Path, answer: bytes) -> None:
    """It may even say PONG: what follows is not a number."""
    write(tmp_path, 1)
    async with talker(lambda said: b"+PONG\r\n" if b"PING" in said else answer) as url, Ship(tmp_path, url) as ship:
        assert not await ship()
        assert ship.reports == [False]


async def test_two_shippers_at_once_count_once(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 2000)
    async with Ship(tmp_path, store.url) as one, Ship(tmp_path, store.url) as two:
        assert await asyncio.gather(one(), two()) == [True, True]
    assert (await rollup(store))["attempts"] == 2000
    assert len(await stream(redis)) == 2000


async def test_a_store_that_is_down_delays_rows_and_loses_none(
    tmp_path: Path, store: Store, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = write(tmp_path, 10)
    async with Ship(tmp_path, store.url) as ship:
        store.stop()
        assert not await ship()
        assert not await ship()
        for _ in range(10):
            ledger.append(row(at=AT))
        store.start()
        assert await ship()
        assert ship.reports == [False, True]
    assert (await rollup(store))["attempts"] == 20
    assert len([one for one in caplog.records if "cannot be reached" in one.message]) == 1


async def test_a_store_that_comes_back_empty_is_filled_again(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 10).close()
    async with Ship(tmp_path, store.url) as ship:
        await ship()
        store.stop()
        assert not await ship()
        store.start()
        assert await ship()
    assert (await rollup(store))["attempts"] == 10


async def test_segments_of_a_dead_worker_are_shipped_of_a_living_one_not(
    tmp_path: Path, store: Store, redis: Redis
) -> None:
    other = write(tmp_path, 5)
    (segment,) = segments(tmp_path)
    os.rename(segment, segment.with_name("0000000000001-1-abcdef.jsonl"))  # as if process 1 wrote it
    async with Ship(tmp_path, store.url) as ship:
        assert await ship()
        assert (await rollup(store))["attempts"] == 0
        other.close()
        assert await ship()
    assert (await rollup(store))["attempts"] == 5


async def test_torn_lines_wait_or_are_skipped(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 1)
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b'\x00\x00\n{"at": 1, "tenant": "\x80"}\n' + msgspec.json.encode(row(at=AT))[:-9])
    async with Ship(tmp_path, store.url) as ship:
        assert await ship()
        assert await ship()
    assert (await rollup(store))["attempts"] == 1


async def test_run_ships_until_cancelled(tmp_path: Path, store: Store, redis: Redis) -> None:
    write(tmp_path, 3)
    shipped = asyncio.Event()
    shipper = Shipper(tmp_path, store.url, lambda up: shipped.set(), clock=lambda: AT)
    task = asyncio.create_task(shipper.run())
    await shipped.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    shipper.close()
    assert (await rollup(store))["attempts"] == 3


async def test_a_ledger_that_cannot_be_read_is_no_fault_of_the_store(
    tmp_path: Path, store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 2)
    conditions, reports = Conditions(), list[bool]()
    one = Shipper(tmp_path, store.url, reports.append, conditions, clock=lambda: AT + 60)
    opened = shipper.opened

    def refuse(path: Path) -> int:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(shipper, "opened", refuse)
    assert await one.ship()
    assert "Too many open files" in conditions.failing["shipper"]
    assert reports == [True]
    monkeypatch.setattr(shipper, "opened", opened)
    assert await one.ship()
    assert not conditions.failing
    assert (await rollup(store))["attempts"] == 2
    one.close()


async def test_a_store_that_takes_no_writes_is_not_up(tmp_path: Path, store: Store, redis: Redis) -> None:
    await redis.replicaof("127.0.0.1", "1")
    async with Ship(tmp_path, store.url) as ship:
        assert not await ship()
        await redis.replicaof("NO", "ONE")
        assert await ship()
    assert ship.reports == [False, True]
