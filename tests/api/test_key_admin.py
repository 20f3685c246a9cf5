"""The key management API over a real store; these routes are Starlette's over either sink, so one is enough."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from gateway.telemetry.ledger import read
from tests.support.gateway import GUARD, NO_STORE, Running, in_process, total, write_policy
from tests.support.host import ScriptedHost, answers, completion, usage

ADMIN = {"authorization": "Bearer sk-admin"}
KEYS = "/api/v1/keys"
GOOD = answers(200, completion("hello", used=usage(1_000, 100)))
COST = (1_000 * 0.25 + 100 * 0.5) / 1e6


@pytest.fixture
async def running(tmp_path: Path, valkey: str) -> AsyncIterator[Running]:
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    keys = [{"tenant": "own", "key": "sk-own"}]
    environ = {"GATEWAY_ADMIN_KEY": "sk-admin"}
    async with (
        ScriptedHost(GOOD) as host,
        in_process(tmp_path, "direct", {"a/fp8": host.url}, store=valkey, environ=environ, keys=keys) as running,
    ):
        yield running


async def call(running: Running, method: str, path: str = "", **body: Any) -> httpx.Response:
    return await running.client.request(method, f"{KEYS}{path}", headers=ADMIN, json=body or None)


async def created(running: Running, **fields: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """The key, and the headers of its client."""
    response = await call(running, "POST", **{"name": "app", **fields})
    assert response.status_code == 201, response.text
    body = response.json()
    return body["data"], {"authorization": f"Bearer {body['key']}"}


@pytest.mark.parametrize(
    ("field", "value", "known"),
    [
        ("policy", "baalanced", "balanced"),
        ("policies", ["floor", "mine"], "balanced"),
        ("models", ["gpt-9"], "deepseek/deepseek-v3.2"),
    ],
)
async def test_a_name_that_does_not_exist(running: Running, field: str, value: object, known: str) -> None:
    await created(running)
    for method, path, body in (("POST", "", {"name": "other"}), ("PATCH", "/app", {})):
        refused = await call(running, method, path, **body, **{field: value})
        assert refused.status_code == 400
        assert known in refused.json()["error"]["message"]
    assert [key["name"] for key in (await call(running, "GET")).json()["data"]] == ["app"]


async def test_a_policy_that_is_removed_later_is_named_to_the_keys_clients(running: Running) -> None:
    """Another policy might cost more, or send prompts elsewhere."""
    write_policy(running.policies, "mine")
    wanted = {"name": "app", "policy": "mine", "policies": ["mine", "floor"]}
    async with asyncio.timeout(GUARD):
        while (made := await call(running, "POST", **wanted)).status_code == 400:
            await asyncio.sleep(0.1)  # until the new file is in force
    client = {"authorization": f"Bearer {made.json()['key']}"}
    assert (await running.chat(headers=client)).status_code == 200
    (running.policies / "mine.yaml").unlink()
    async with asyncio.timeout(GUARD):
        while (gone := await running.chat(headers=client)).status_code == 200:
            await asyncio.sleep(0.1)
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "policy_not_found")
    assert "there is no policy `mine`, which is the default of this request" in gone.json()["error"]["message"]
    other = {**client, "x-gateway-policy": "floor"}
    assert (await running.chat(headers=other)).status_code == 200
    changed = await call(running, "PATCH", "/app", limits={"requests_per_minute": 5})
    assert changed.status_code == 200, "the key can still be managed"


async def test_a_key_lives(running: Running) -> None:
    key, client = await created(running, limits={"usd_per_day": 1.0}, policy="floor", policies=["floor"])
    assert (key["name"], key["limit"], key["limit_reset"], key["disabled"]) == ("app", 1.0, "daily", False)
    assert (await running.chat(headers=client)).status_code == 200
    (listed,) = (await call(running, "GET")).json()["data"]
    assert (listed["hash"], listed["policies"]) == (key["hash"], ["floor"])
    shown = (await call(running, "GET", f"/{key['hash']}")).json()["data"]
    assert (shown["name"], [one["limit"] for one in shown["limits"]]) == ("app", ["usd_per_day"])
    changed = (await call(running, "PATCH", "/app", limits={"requests_per_minute": 1}, expires_at="2090-01-01")).json()
    assert changed["data"]["expires_at"] == "2090-01-01T00:00:00Z"
    await running.chat(headers=client)
    assert (await running.chat(headers=client)).status_code == 429
    await call(running, "PATCH", "/app", disabled=True)
    assert (await running.chat(headers=client)).status_code == 401
    await call(running, "PATCH", "/app", disabled=False, limits={"requests_per_minute": None})
    assert (await running.chat(headers=client)).status_code == 200
    rotated = (await call(running, "POST", "/app/rotate", grace=0)).json()
    assert (await running.chat(headers=client)).status_code == 401
    client = {"authorization": f"Bearer {rotated['key']}"}
    assert (await running.chat(headers=client)).status_code == 200
    assert (await call(running, "DELETE", "/app")).json() == {"deleted": True}
    assert (await running.chat(headers=client)).status_code == 401
    assert (await call(running, "GET", "/app")).status_code == 404


async def test_openrouters_words_for_a_budget(running: Running) -> None:
    key, _ = await created(running, limit=5, limit_reset="monthly")
    assert (key["limit"], key["limit_remaining"], key["limit_reset"]) == (5.0, 5.0, "monthly")
    changed = (await call(running, "PATCH", "/app", limit=None)).json()["data"]
    assert changed["limit"] is None


async def test_a_key_sees_its_own_limits(running: Running) -> None:
    _, client = await created(running, limits={"usd_per_month": 1.0, "requests_per_minute": 10})
    await running.chat(headers=client, max_tokens=100)
    async with asyncio.timeout(60):  # the store learns of it within a second
        while (mine := (await running.client.get("/api/v1/key", headers=client)).json()["data"])["limit_remaining"] > (
            1.0 - COST
        ):
            await asyncio.sleep(0.05)
    assert (mine["limit"], mine["limit_reset"], mine["rate_limit"]["requests"]) == (1.0, "monthly", 10)
    assert mine["limit_remaining"] > 0.5
    assert {one["limit"]: one["bound"] for one in mine["limits"]} == {"usd_per_month": 1.0, "requests_per_minute": 10}
    others = (await running.client.get("/api/v1/key", headers={"authorization": "Bearer sk-own"})).json()["data"]
    assert (others["limit"], others["limits"]) == (None, [])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "`name` is missing"),
        ({"name": "own"}, "is a tenant of gateway.yaml"),
        ({"name": "a", "budget": 5}, "unknown field `budget`"),
        ({"name": "a", "limit": 5, "limit_reset": "weekly"}, "daily or monthly"),
        ({"name": "a", "expires_at": "soon"}, "write a date or time in UTC"),
        ({"name": "a", "limits": {"usd_per_day": -1}}, "must be from $0.000001"),
        ({"name": "a", "limits": {"usd_per_month": 1e300}}, "must be from $0.000001"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59-23:59"}, "write a date or time in UTC"),
        ({"name": "a", "limits": {"usd_per_day": "1"}}, "Expected `float | null`"),
    ],
)
async def test_mistakes(running: Running, body: dict[str, Any], words: str) -> None:
    response = await running.client.post(KEYS, headers=ADMIN, json=body)
    assert response.status_code == 400
    assert words in response.json()["error"]["message"]


async def test_too_large_a_body(running: Running) -> None:
    response = await running.client.post(KEYS, headers=ADMIN, content=b"x" * 70_000)
    assert response.status_code == 413


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-own"}, {"authorization": "Bearer wrong"}])
async def test_only_the_admin_key_opens_it(running: Running, method: str, headers: dict[str, str]) -> None:
    for path in ("", "/app", "/app/rotate", "//app"):
        assert (await running.client.request(method, f"{KEYS}{path}", headers=headers)).status_code == 401


async def test_without_an_admin_key_it_is_closed(tmp_path: Path) -> None:
    async with in_process(tmp_path, "direct", {"a/fp8": "http://127.0.0.1:1"}) as running:
        response = await running.client.post(KEYS, json={"name": "a"})
        assert (response.status_code, response.json()["error"]["metadata"]["error_code"]) == (403, "admin_key_not_set")


async def test_without_a_store_it_says_so(tmp_path: Path) -> None:
    environ = {"GATEWAY_ADMIN_KEY": "sk-admin"}
    hosts = {"a/fp8": "http://127.0.0.1:1"}
    async with in_process(tmp_path, "direct", hosts, store=NO_STORE, environ=environ) as running:
        assert (await call(running, "GET")).status_code == 503
        assert (await call(running, "POST", name="a")).status_code == 503


async def test_what_is_refused_has_no_row_and_is_counted(running: Running) -> None:
    _, client = await created(running, limits={"usd_per_month": 1e-6})
    statuses = [
        (await running.chat(headers=headers)).status_code for headers in (client, client, {}, {"x-api-key": "no"})
    ]
    assert statuses == [200, 402, 401, 401]
    text = (await running.client.get("/metrics", headers=ADMIN)).text
    assert total(text, "gateway_limit_refused_total", limit="usd_per_month", scope="key") == 1
    for reason in ("missing", "invalid"):
        assert total(text, "gateway_unauthorized_total", reason=reason) == 1
    assert [row.outcome for row in read(running.folder / "ledger")] == ["ok"]
