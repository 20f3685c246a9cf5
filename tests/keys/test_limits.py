"""Limits of keys, groups and apps, seen by clients of a gateway with a real store."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway.keys import limiter
from gateway.telemetry.ledger import read
from gateway.types import PICO
from tests.support.gateway import NO_STORE, Running, in_process
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams, usage

GOOD = answers(200, completion("hello", used=usage(1_000, 100)))
COST = (1_000 * 0.25 + 100 * 0.5) / 1e6  # USD, at the prices of these tests' hosts
LIMITS = {
    "groups": {"team": {"usd_per_month": "$0.001"}},
    "apps": {"Slow App": {"requests_per_minute": 1}},
}
KEYS: list[dict[str, Any]] = [
    {"tenant": "free", "key": "sk-free"},
    {"tenant": "twice", "key": "sk-twice", "limits": {"requests_per_minute": 2}},
    {"tenant": "few", "key": "sk-few", "limits": {"tokens_per_minute": 2_000}},
    {"tenant": "poor", "key": "sk-poor", "limits": {"usd_per_day": f"${2.5 * COST:.6f}"}},
    {"tenant": "ann", "key": "sk-ann", "group": "team"},
    {"tenant": "bob", "key": "sk-bob", "group": "team"},
    {"tenant": "rich", "key": "sk-rich", "limits": {"requests_per_minute": 1_000_000, "usd_per_day": "$1000000"}},
]


@pytest.fixture
def empty(valkey: str) -> str:
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    return valkey


@pytest.fixture
async def running(tmp_path: Path, empty: str) -> AsyncIterator[Running]:
    async with (
        ScriptedHost(GOOD) as host,
        in_process(tmp_path, "direct", {"a/fp8": host.url}, store=empty, keys=KEYS, limits=LIMITS) as running,
    ):
        yield running


async def ask(running: Running, key: str, **fields: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}", **fields.pop("headers", {})}
    return await running.chat("x" * 4_000, max_tokens=100, headers=headers, **fields)


async def until_refused(running: Running, key: str, **fields: Any) -> tuple[int, httpx.Response]:
    """How many were answered, and the refusal."""
    for answered in range(20):
        response = await ask(running, key, **fields)
        if response.status_code != 200:
            return answered, response
    raise AssertionError("no limit")


async def test_requests_per_minute(running: Running) -> None:
    response = await ask(running, "sk-twice")
    assert response.status_code == 200
    head = response.headers
    assert (head["x-ratelimit-limit-requests"], head["x-ratelimit-remaining-requests"]) == ("2", "1")
    assert 60 <= int(head["x-ratelimit-reset-requests"].removesuffix("s")) <= 120
    _, refused = await until_refused(running, "sk-twice")
    error = refused.json()["error"]
    assert (refused.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "gateway_rate_limit")
    assert "the key `twice` has reached its limit of 2 requests per minute" in error["message"]
    assert refused.headers["x-gateway-limit"] == "requests_per_minute; scope=key"
    assert "such a request fits again at" in error["message"]
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert (await ask(running, "sk-free")).status_code == 200


async def test_without_limits_there_are_no_headers(running: Running) -> None:
    response = await ask(running, "sk-free")
    assert not [name for name in response.headers if "ratelimit" in name or "budget" in name]


async def test_tokens_per_minute(running: Running) -> None:
    answered, refused = await until_refused(running, "sk-few")
    assert (answered, refused.status_code) == (1, 429)
    assert refused.headers["x-ratelimit-limit-tokens"] == "2000"
    assert refused.headers["x-gateway-limit"] == "tokens_per_minute; scope=key"


async def test_a_budget(running: Running) -> None:
    answered, refused = await until_refused(running, "sk-poor")
    error = refused.json()["error"]
    assert answered == 2
    assert (refused.status_code, error["type"], error["code"]) == (402, "insufficient_quota", "budget_exceeded")
    assert "the key `poor` has reached its limit of $0.00075 per day" in error["message"]
    assert refused.headers["x-gateway-budget-limit"] == "0.000750"
    assert "x-should-retry" not in refused.headers
    assert float(refused.headers["x-gateway-budget-remaining"]) == pytest.approx(0.5 * COST, abs=1e-6)


async def test_a_group_shares_its_budget(running: Running) -> None:
    assert (await ask(running, "sk-ann")).status_code == 200
    answered, refused = await until_refused(running, "sk-bob")
    assert answered == 2
    assert "the group `team` has reached its limit of $0.001 per month" in refused.json()["error"]["message"]
    assert (await ask(running, "sk-ann")).status_code == 402


async def test_an_app_is_limited_whatever_its_key(running: Running) -> None:
    app = {"x-title": "slow app"}
    assert (await ask(running, "sk-free", headers=app)).status_code == 200
    refused = await ask(running, "sk-rich", headers=app)
    assert (refused.status_code, refused.headers["x-gateway-limit"]) == (429, "requests_per_minute; scope=app")
    assert (await ask(running, "sk-rich")).status_code == 200


async def test_a_refused_stream_gets_the_status(running: Running) -> None:
    await until_refused(running, "sk-twice")
    refused = await ask(running, "sk-twice", stream=True)
    assert (refused.status_code, refused.headers["content-type"]) == (429, "application/json")


async def test_anthropics_clients_get_its_words(running: Running) -> None:
    body = {"model": "deepseek-v3.2", "max_tokens": 100, "messages": [{"role": "user", "content": "x" * 4_000}]}

    async def send(key: str) -> httpx.Response:
        return await running.client.post("/v1/messages", json=body, headers={"x-api-key": key})

    head = (await send("sk-twice")).headers
    assert (head["anthropic-ratelimit-requests-limit"], head["anthropic-ratelimit-requests-remaining"]) == ("2", "1")
    assert head["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert "x-ratelimit-limit-requests" not in head
    await send("sk-twice")
    refused = await send("sk-twice")
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert "retry-after" in refused.headers
    await until_refused(running, "sk-poor")
    refused = await send("sk-poor")
    assert (refused.status_code, refused.json()["error"]["type"]) == (402, "billing_error")
    assert refused.headers["x-should-retry"] == "false"


async def test_openrouters_clients_get_its_words(running: Running) -> None:
    await until_refused(running, "sk-twice")
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}
    path, key = "/api/v1/chat/completions", {"authorization": "Bearer sk-twice"}
    refused = await running.client.post(path, json=body, headers=key)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["metadata"]["error_type"]) == (429, 429, "rate_limit_exceeded")
    assert (error["metadata"]["limit"], error["metadata"]["bound"]) == ("requests_per_minute", 2)
    assert refused.headers["x-ratelimit-limit"] == "2"
    assert int(refused.headers["x-ratelimit-reset"]) == 1_000 * error["metadata"]["resets_at"]
    await until_refused(running, "sk-poor")
    refused = await running.client.post(path, json=body, headers={"authorization": "Bearer sk-poor"})
    assert (refused.status_code, refused.json()["error"]["metadata"]["error_type"]) == (402, "payment_required")


async def test_metrics(running: Running) -> None:
    await until_refused(running, "sk-twice")
    async with asyncio.timeout(60):
        while await running.metric("gateway_limit_refused_total", limit="requests_per_minute", scope="key") < 1:
            await asyncio.sleep(0.05)
        while await running.metric("gateway_limit_remaining_ratio", limit="requests_per_minute", scope="key") > 0:
            await asyncio.sleep(0.05)


async def test_200_requests_at_once_do_not_exceed_a_budget_over_two_replicas(
    tmp_path: Path, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do they leave much of it: those that do not fit at first wait for what was reserved and not used."""
    monkeypatch.setattr(limiter, "WAIT", 60.0)  # a busy machine changes no result
    keys = [{"tenant": "poor", "key": "sk-poor", "limits": {"usd_per_day": f"${100 * COST:.6f}"}}]

    async with ScriptedHost(GOOD) as host:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        options: dict[str, Any] = {"store": empty, "keys": keys}
        async with (
            in_process(tmp_path / "one", "direct", {"a/fp8": host.url}, **options) as one,
            in_process(tmp_path / "two", "direct", {"a/fp8": host.url}, **options) as two,
        ):
            asked = [ask((one, two)[number % 2], "sk-poor") for number in range(200)]
            statuses = [response.status_code for response in await asyncio.gather(*asked)]
            assert set(statuses) == {200, 402}
            assert 98 <= statuses.count(200) <= 100
            assert len(host.requests) == statuses.count(200)


async def test_identical_requests_are_refused_together(
    tmp_path: Path, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share one flight, which waits for its limits. Each would wait by itself in turn if they began anew."""
    monkeypatch.setattr(limiter, "WAIT", 60.0)
    keys = [{"tenant": "poor", "key": "sk-poor", "limits": {"usd_per_day": f"${1.5 * COST:.6f}"}}]
    ends = asyncio.Event()

    async def dear(request: Received, out: Out) -> None:
        await ends.wait()
        await answers(200, completion("hello", used=usage(10_000, 100)))(request, out)

    async with (
        ScriptedHost(dear) as host,
        in_process(tmp_path, "direct", {"a/fp8": host.url}, store=empty, keys=keys) as running,
    ):
        first = asyncio.ensure_future(ask(running, "sk-poor"))
        async with asyncio.timeout(60):
            while not host.requests:
                await asyncio.sleep(0.01)
        same = [
            asyncio.ensure_future(ask(running, "sk-poor", temperature=0.5, headers={"x-gateway-cache": "on"}))
            for _ in range(5)
        ]
        async with asyncio.timeout(60):
            while await running.metric("gateway_in_flight") < 5:  # the first, and four that have joined
                await asyncio.sleep(0.05)
        ends.set()
        responses = await asyncio.gather(*same)
        assert (await first).status_code == 200
        assert [one.status_code for one in responses] == [402] * 5
        assert sorted(one.headers["x-gateway-cache"] for one in responses) == ["joined"] * 4 + ["miss"]
        assert len({one.json()["error"]["message"] for one in responses}) == 1
        assert await running.metric("gateway_limit_refused_total", limit="usd_per_day", scope="key") == 5


async def test_all_attempts_count_and_unused_shares_are_returned(tmp_path: Path, empty: str) -> None:
    """A broken stream and the answer in its place: the store has what the ledger has, once the gateway has ended."""
    broken = streams(chunks("hello", used=usage(1_000, 100))[:-2], done=False)
    keys = [{"tenant": "poor", "key": "sk-poor", "limits": {"usd_per_day": "$1"}}]
    first = {"order": ["a/fp8"]}
    async with ScriptedHost(broken) as bad, ScriptedHost(GOOD) as good:
        hosts = {"a/fp8": bad.url, "b/fp8": good.url}
        async with in_process(tmp_path, "direct", hosts, store=empty, keys=keys) as running:
            for stream in (True, False):
                await ask(running, "sk-poor", stream=stream, provider=first)
    rows = list(read(running.folder / "ledger"))
    assert any(row.outcome != "ok" and row.cost for row in rows)
    with redis.Redis.from_url(empty) as client:
        (key,) = client.keys("gw:{limits}:usd_per_day:*:key:poor")  # type: ignore[misc]
        assert int(client.hget(key, "total") or 0) == pytest.approx(sum(row.cost for row in rows) / PICO * 1e9, abs=2)  # type: ignore[arg-type]


@pytest.mark.parametrize(("mode", "answered"), [("open", True), ("closed", False)])
async def test_without_a_store(tmp_path: Path, mode: str, answered: bool) -> None:
    limits = {"without_store": mode}
    async with (
        ScriptedHost(GOOD) as host,
        in_process(tmp_path, "direct", {"a/fp8": host.url}, store=NO_STORE, keys=KEYS, limits=limits) as running,
    ):
        assert (await ask(running, "sk-free")).status_code == 200
        response = await ask(running, "sk-rich")
        assert (response.status_code == 200) == answered
        if not answered:
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (503, "limits_unavailable")
            assert response.headers["retry-after"] == "1"


async def test_a_conservative_part_without_a_store(tmp_path: Path) -> None:
    keys = [{"tenant": "poor", "key": "sk-poor", "limits": {"usd_per_day": f"${100 * COST:.6f}"}}]
    async with (
        ScriptedHost(GOOD) as host,
        in_process(tmp_path, "direct", {"a/fp8": host.url}, store=NO_STORE, keys=keys) as running,
    ):
        responses = await asyncio.gather(*(ask(running, "sk-poor") for _ in range(60)))
        answered = [one.status_code for one in responses].count(200)
        assert 15 <= answered <= 50
        assert {one.status_code for one in responses} == {200, 503}
