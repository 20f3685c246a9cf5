"""The history of the page, from rows through the real shipper and a real store."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.page import history
from gateway.page import past as past_module
from gateway.page.past import RANGES, TOP, past
from gateway.telemetry.archive import Archive
from gateway.telemetry.history_reader import HistoryReader
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.series import MOST, OTHER, SECONDS, Series, hashed
from gateway.telemetry.shipper import Shipper
from gateway.types import PICO, Price, Row
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import ScriptedHost, chunks, streams, usage
from tests.support.prepared_history import APPS, DAYS, HOSTS, MODEL, POLICIES, rows, write
from tests.support.rows import cached_row, row
from tests.support.valkey import running

HOUR, DAY = 3_600, 86_400
NOW = 4_000_000_000.0 + 13 * HOUR + 1_234.0  # far ahead: the store's own clock ends what is old
PRICES = {"novita/fp8": Price(0.25, 0.5, 0.05)}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with running(tmp_path / "store") as url:
        yield url


async def ship(folder: Path, url: str, sent: Iterable[Row], now: float = NOW) -> None:
    ledger = Ledger(folder)
    for one in sent:
        ledger.append(one)
    shipper = Shipper(folder, url, lambda up: None, clock=lambda: now)
    assert await shipper.ship()
    shipper.close()
    ledger.close()


@asynccontextmanager
async def reading(url: str, now: float = NOW) -> AsyncIterator[HistoryReader]:
    archive = Archive(url)
    yield HistoryReader(archive, lambda: now)
    archive.close()


async def shown(url: str, name: str = "24h", now: float = NOW, prices: dict[str, Price] = PRICES) -> Any:
    async with reading(url, now) as reader:
        return await past(reader, MODEL, name, prices, now)


# -- which buckets


@given(st.floats(1e9, 5e9), st.sampled_from(sorted(RANGES)))
def test_points_are_whole_steps_and_the_last_one_is_now(now: float, name: str) -> None:
    span = RANGES[name]
    times = span.times(now)
    assert len(times) == span.points
    assert {later - earlier for earlier, later in pairwise(times)} == {span.step}
    assert times[-1] <= now < times[-1] + span.step


@given(st.floats(1e9, 5e9), st.sampled_from(sorted(RANGES)))
def test_the_range_before_is_as_long(now: float, name: str) -> None:
    span = RANGES[name]
    start, end = span.before(now)
    assert end == span.times(now)[0]
    assert abs((end - start) - (now - end)) <= SECONDS[span.unit]
    assert start % SECONDS[span.unit] == 0


@given(st.integers(10_000, 500_000), st.integers(0, 2_000), st.sampled_from(["minute", "hour", "day"]))
def test_the_buckets_of_a_range_cover_it_once(first: int, many: int, unit: Any) -> None:
    seconds = SECONDS[unit]
    start, end = first * seconds, (first + many) * seconds
    covered = list(past_module._cover(Series("m", "all", ""), unit, start, end))
    at = start
    for bucket in covered:
        assert bucket.number * SECONDS[bucket.unit] == at
        at += SECONDS[bucket.unit]
    assert at == end
    assert len(covered) <= 2 * 59 + 2 * 23 + many * seconds // DAY + 1


# -- what is shown


async def test_no_traffic(url: str) -> None:
    found = await shown(url)
    assert found["all"]["total"]["requests"] == 0
    assert found["all"]["total"]["ttft"] == {"n": 0, "p50": None, "p75": None, "p90": None, "p95": None, "p99": None}
    assert found["all"]["before"] is None
    assert found["all"]["points"]["requests"] == [None] * 24
    assert {found[one] == {} for one in ("endpoints", "policies", "apps", "keys")} == {True}
    assert found["saved"] == {"prompt_cache_usd": 0.0, "routing_usd": None, "response_cache_usd": 0.0}
    assert len(found["days"]["all"]) == 30


async def test_one_answer(url: str, tmp_path: Path) -> None:
    await ship(tmp_path, url, [row(at=NOW - 2 * HOUR, app="Chat", tools="ok")])
    found = await shown(url)
    total = found["all"]["total"]
    one = {
        "requests",
        "succeeded",
        "judged_requests",
        "attempts",
        "ok",
        "judged",
        "first_ok",
        "tool_calls",
        "tool_calls_ok",
    }
    assert {name for name, value in total.items() if value == 1} == one
    assert (total["prompt"], total["cached"], total["completion"], total["reasoning"]) == (1000, 400, 101, 20)
    assert total["cost_usd"] == 0.00025
    assert total["list_usd"] == pytest.approx(0.00034)
    assert total["effective_input"] == pytest.approx(0.18)
    assert total["effective_price"] == pytest.approx(250 / 1101, rel=1e-3)
    assert found["endpoints"].keys() == {"novita/fp8"}
    assert found["policies"].keys() == {"balanced"}
    assert found["apps"].keys() == {"Chat"}
    assert found["keys"].keys() == {hashed("team")}
    assert found["endpoints"]["novita/fp8"]["total"]["ttft"]["p50"] == pytest.approx(0.5, rel=0.1)
    assert total["ttft"]["p50"] == pytest.approx(0.6, rel=0.1)
    points = found["all"]["points"]
    assert points.keys() == total.keys()
    assert points["requests"] == [None] * 21 + [1, None, None]
    assert points["ttft"]["n"] == [None] * 21 + [1, None, None]
    assert points["ttft"]["p50"][21] == total["ttft"]["p50"]


async def test_the_range_before(url: str, tmp_path: Path) -> None:
    sent = [row(at=NOW - ago, cost=cost) for ago, cost in ((60, 1), (20 * HOUR, 2), (40 * HOUR, 4), (80 * HOUR, 8))]
    await ship(tmp_path, url, sent)
    found = await shown(url)
    assert found["all"]["total"]["cost_usd"] == 3 / PICO
    assert found["all"]["before"]["cost_usd"] == 4 / PICO
    assert found["endpoints"]["novita/fp8"]["before"]["requests"] == 1


@pytest.mark.parametrize(("name", "counted"), [("1h", 1), ("24h", 2), ("7d", 3), ("30d", 4)])
async def test_each_range_counts_what_is_in_it(url: str, tmp_path: Path, name: str, counted: int) -> None:
    ages = (30 * 60, 20 * HOUR, 6 * DAY, 29 * DAY)
    await ship(tmp_path, url, [row(at=NOW - ago) for ago in ages])
    found = await shown(url, name)
    assert found["all"]["total"]["requests"] == counted
    assert sum(filter(None, found["all"]["points"]["requests"])) == counted
    assert found["from"] == found["times"][0] == found["times"][-1] - (len(found["times"]) - 1) * found["step"]


async def test_days_of_uptime_with_the_worst_fault(url: str, tmp_path: Path) -> None:
    failed = [
        row(at=NOW - 3 * DAY, outcome=outcome, last=False) for outcome in ("cut", "server", "server", "malformed")
    ]
    await ship(tmp_path, url, [*failed, row(at=NOW - 3 * DAY, outcome="malformed"), row(at=NOW)])
    found = (await shown(url, "1h"))["days"]
    day = found["endpoints"]["novita/fp8"][-4]
    counted = {"attempts": 5, "judged": 3, "ok": 0, "requests": 1, "succeeded": 0}
    assert day == {"day": (NOW - 3 * DAY) // DAY * DAY, **counted, "worst": "server"}
    assert found["all"][-1]["worst"] is None
    assert [one["day"] for one in found["all"]] == sorted(one["day"] for one in found["all"])


async def test_the_top_apps_and_the_rest(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_module, "TOP", 2)
    sent = [row(at=NOW, app=f"app {size}", prompt_tokens=1000 * size) for size in (1, 5, 3, 2)]
    await ship(tmp_path, url, sent)
    apps = (await shown(url))["apps"]
    assert list(apps) == ["app 5", "app 3", OTHER]
    assert apps[OTHER]["total"]["prompt"] == 3_000
    assert apps[OTHER]["points"]["requests"][-1] == 2


async def test_apps_beyond_the_bound_of_a_day_are_in_the_rest(url: str, tmp_path: Path) -> None:
    assert MOST["app"] <= TOP
    await ship(tmp_path, url, [row(at=NOW, app=f"app {number}") for number in range(MOST["app"] + 7)])
    apps = (await shown(url))["apps"]
    assert apps[OTHER]["total"]["requests"] == 7
    assert sum(one["total"]["requests"] for one in apps.values()) == MOST["app"] + 7


async def test_new_apps_on_every_day_are_bounded(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients name apps as they like: those of most days are read, and the others are what is left."""
    monkeypatch.setattr(past_module, "MOST_READ", 2)
    sent = [row(at=NOW - DAY * ago, app=app) for ago in range(5) for app in ("steady", "second", f"new {ago}")]
    await ship(tmp_path, url, [*sent, row(at=NOW, app=OTHER)])
    apps = (await shown(url, "30d"))["apps"]
    counted = {name: one["total"]["requests"] for name, one in apps.items()}
    assert counted == {"steady": 5, "second": 5, OTHER: 6}


async def test_what_was_saved(url: str, tmp_path: Path) -> None:
    """1M prompt tokens with half of them cached and 1M output tokens at a; a dearer host b without a sample."""
    half = {"prompt_tokens": 10**6, "cached_tokens": 5 * 10**5, "completion_tokens": 10**6}
    paid = {"cost": 7 * 10**11, "prompt_cost": 2 * 10**11, "saved": 10**11}
    await ship(
        tmp_path,
        url,
        [
            row(at=NOW, endpoint="a/x", **half, **paid),
            cached_row(at=NOW, prompt_tokens=0, cached_tokens=0, completion_tokens=0, saved=4 * 10**11),
        ],
    )
    prices = {"a/x": Price(0.3, 0.5, 0.1), "b/y": Price(1.0, 2.0)}
    saved = (await shown(url, prices=prices))["saved"]
    assert saved["prompt_cache_usd"] == pytest.approx(0.1)
    assert saved["response_cache_usd"] == pytest.approx(0.4)
    assert saved["routing_usd"] == pytest.approx(((0.5 * 0.3 + 0.5 * 0.1 + 0.5) + (1.0 + 2.0)) / 2 - 0.7)


# -- the same numbers, wherever and whenever


async def test_two_replicas_and_a_restart(url: str, tmp_path: Path) -> None:
    """Two workers ship at once, one of them again after a restart: each row counts once."""
    sent = [row(at=NOW - 60 * number, app=f"app {number % 3}", cost=number) for number in range(200)]
    await asyncio.gather(ship(tmp_path / "one", url, sent[:120]), ship(tmp_path / "two", url, sent[120:]))
    first = await shown(url)
    await ship(tmp_path / "one", url, [])
    assert await shown(url) == first
    assert first["all"]["total"]["requests"] == 200
    assert first["all"]["total"]["cost_usd"] == sum(range(200)) / PICO


async def test_a_month_of_traffic(url: str) -> None:
    """Every figure of 30 days against the rows themselves."""
    start = (NOW // DAY - 29) * DAY
    sent = [one for one in rows(NOW, scale=0.05) if one.at >= start]
    await write(url, NOW, scale=0.05)
    found = await shown(url, "30d")
    total = found["all"]["total"]
    last = [one for one in sent if one.last]
    assert total["requests"] == len(last)
    assert total["succeeded"] == sum(one.outcome in ("ok", "cached") for one in last)
    assert total["attempts"] == sum(one.endpoint != "" for one in sent)
    assert total["cost_usd"] == pytest.approx(sum(one.cost for one in sent) / PICO)
    assert total["list_usd"] == pytest.approx(sum(one.cost + one.saved for one in sent if one.endpoint) / PICO)
    assert found["saved"]["response_cache_usd"] == pytest.approx(
        sum(one.saved for one in sent if not one.endpoint) / PICO
    )
    assert found["all"]["before"]["requests"] > 0
    assert found["endpoints"].keys() == {host.endpoint for host in HOSTS}
    assert found["policies"].keys() == {name for name, _ in POLICIES}
    assert found["apps"].keys() == {name for name, _ in APPS}
    for name, one in found["endpoints"].items():
        own = [row for row in sent if row.endpoint == name]
        assert one["total"]["attempts"] == len(own)
        assert one["total"]["ok"] == sum(row.outcome == "ok" for row in own)
        are_near(one["total"]["ttft"], [row.ttft for row in own if row.ttft is not None])
        are_near(
            one["total"]["throughput"], [row.throughput for row in own if row.throughput is not None], reached=True
        )
        are_near(one["total"]["latency"], [row.duration for row in own if row.outcome == "ok"])


def are_near(found: dict[str, Any], values: list[float], *, reached: bool = False) -> None:
    """The percentiles are those of the values, to 10 %: the values that a share does not exceed, or that it reaches."""
    assert found["n"] == len(values)
    ranked = sorted(values)
    for name, share in (("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        below = round(1 - share, 2) if reached else share
        true = ranked[max(ceil(below * len(ranked) - 1e-9), 1) - 1]
        assert true / 1.101 <= found[name] <= true * 1.101


def test_the_prepared_history_is_always_the_same() -> None:
    first, second = (list(rows(NOW, scale=0.02)) for _ in range(2))
    assert first == second
    assert {one.endpoint for one in first} == {"", *(host.endpoint for host in HOSTS)}
    assert first[0].at >= NOW - DAYS * DAY


# -- the route


@DIRECT_ONLY
async def test_the_route(gateway: Gateway, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "FRESH", 0.0)
    monkeypatch.setattr(history, "LEAST_REST", 0.0)
    good = streams(chunks("Hello to you", used=usage(prompt=1000, completion=40, cached=400)))
    keys = [{"tenant": "tenant-name", "key": "client-secret-0123456789"}]
    async with ScriptedHost(good) as host, gateway({"a/fp8": host.url}, store=url, keys=keys) as running:
        headers = {"authorization": "Bearer client-secret-0123456789", "x-title": "Chat"}
        assert (await running.chat(stream=True, headers=headers)).status_code == 200
        query = {"model": "deepseek/deepseek-v3.2", "range": "1h"}
        async with asyncio.timeout(60):
            while True:
                response = await running.client.get("/page/history.json", params=query)
                if response.json()["all"]["total"]["requests"]:
                    break
                await asyncio.sleep(0.1)
        monkeypatch.setattr(history, "FRESH", 60.0)
        response = await running.client.get("/page/history.json", params=query)
        assert response.headers["content-encoding"] == "gzip"
        plain = await running.client.get("/page/history.json", params=query, headers={"accept-encoding": "identity"})
        for params, status in (({"model": "no/such"}, 404), ({**query, "range": "2h"}, 400)):
            failed = await running.client.get("/page/history.json", params=params)
            assert (failed.status_code, bool(failed.json()["error"]["message"])) == (status, True)
    assert "content-encoding" not in plain.headers
    assert response.json() == plain.json()
    assert plain.json()["keys"].keys() == {hashed("tenant-name")}
    assert plain.json()["apps"].keys() == {"Chat"}
    assert not any(word in plain.text for word in ("tenant-name", "client-secret", "Hello"))


@DIRECT_ONLY
async def test_a_store_that_is_down_is_no_zero(gateway: Gateway) -> None:
    async with gateway({"a/fp8": "http://127.0.0.1:9"}) as running:
        response = await running.client.get("/page/history.json")
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "store_away"
