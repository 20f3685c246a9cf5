"""What keys have spent, over a real store. These routes are Starlette's over either sink, so one of them is enough."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.requests import Request

from gateway.api import account
from gateway.api.account import Account
from gateway.intake.auth import Keys
from gateway.keys.limit_view import LimitUse, LimitView
from gateway.telemetry.archive import Archive, Spending, Spent
from gateway.types import PICO
from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.host import ScriptedHost, answers, completion, usage
from tests.support.valkey import running as valkey_running

pytestmark = DIRECT_ONLY
KEYS = {"GATEWAY_API_KEYS": "team:secret-of-the-team,other:secret-of-others"}
TEAM = {"authorization": "Bearer secret-of-the-team"}
OTHERS = {"authorization": "Bearer secret-of-others"}
USED = usage(1_000_000, 100_000, cached=200_000)  # 0.2 + 0.01 + 0.05 dollars


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """A store of its own: another test's spending would be counted."""
    with valkey_running(tmp_path / "valkey") as url:
        yield url


@pytest.fixture
async def running(gateway: Gateway, store: str) -> AsyncIterator[Running]:
    host = answers(200, completion("Hello", used=USED))
    async with ScriptedHost(host) as one, gateway({"own/fp8": one.url}, store=store, environ=KEYS) as running:
        yield running


async def told(running: Running, path: str, key: dict[str, str] = TEAM) -> Any:
    answer = await running.client.get(f"/api/v1/{path}", headers=key)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def spent(running: Running, dollars: float) -> dict[str, Any]:
    """What the team's key tells, once its rows are shipped."""
    async with asyncio.timeout(60):
        while (told_key := await told(running, "key"))["usage"] < dollars - 1e-9:
            await asyncio.sleep(0.05)
    found: dict[str, Any] = told_key
    return found


async def test_a_key_shows_what_it_has_spent(running: Running) -> None:
    for _ in range(2):
        await running.chat(headers=TEAM)
    key = await spent(running, 0.52)
    assert key["label"] == "team"
    assert key["limit"] is key["limit_remaining"] is None
    for window in ("usage", "usage_daily", "usage_weekly", "usage_monthly"):
        assert key[window] == pytest.approx(0.52)
    assert await told(running, "credits") == {"total_credits": key["usage"], "total_usage": key["usage"]}
    assert (await told(running, "key", OTHERS))["usage"] == 0
    assert await told(running, "activity", OTHERS) == []


async def test_activity_by_day_endpoint_and_model(running: Running) -> None:
    await running.chat(headers=TEAM)
    await spent(running, 0.26)
    today = datetime.now(UTC).date()
    (line,) = await told(running, "activity")
    assert line["date"] in (today.isoformat(), (today - timedelta(days=1)).isoformat())  # midnight may just have been
    assert line == {
        "date": line["date"],
        "model": "deepseek/deepseek-v3.2",
        "model_permaslug": "deepseek/deepseek-v3.2",
        "endpoint_id": "own/fp8",
        "provider_name": "vLLM",
        "usage": pytest.approx(0.26),
        "byok_usage_inference": 0,
        "requests": 1,
        "prompt_tokens": 1_000_000,
        "cached_tokens": 200_000,
        "completion_tokens": 100_000,
        "reasoning_tokens": 0,
    }
    assert await told(running, f"activity?date={line['date']}") == [line]
    assert await told(running, "activity?date=2020-01-01") == []


async def test_a_date_that_is_none(running: Running) -> None:
    answer = await running.client.get("/api/v1/activity?date=yesterday", headers=TEAM)
    assert answer.status_code == 400
    assert "must be a date" in answer.text


@pytest.mark.parametrize("path", ["key", "credits", "activity"])
async def test_who_has_no_key_gets_nothing(running: Running, path: str) -> None:
    assert (await running.client.get(f"/api/v1/{path}")).status_code == 401


@pytest.mark.parametrize("path", ["key", "credits", "activity"])
async def test_without_a_store_nothing_is_made_up(gateway: Gateway, path: str) -> None:
    async with gateway({"own/fp8": "http://127.0.0.1:1"}) as running:
        answer = await running.client.get(f"/api/v1/{path}")
    assert answer.status_code == 503
    assert "store cannot be reached" in answer.json()["error"]["message"]


# --- windows of time


class Kept:
    """A store's sums: a dollar a day, unless other counts are given."""

    def __init__(self, **counts: int) -> None:
        self._counts = counts or {"cost": PICO}

    async def spending(self, _: str, days: Any) -> Spending:
        return Spending(1_000 * PICO, [Spent(day, "m", "e", self._counts) for day in days])


class Unlimited:
    """A store without limits."""

    async def of(self, _: str) -> list[LimitUse]:
        return []


@pytest.mark.parametrize(
    ("today", "week", "month"),
    [
        (datetime(2026, 11, 29, 23, 59, tzinfo=UTC), 7, 29),  # a Sunday
        (datetime(2026, 11, 30, 0, 0, tzinfo=UTC), 1, 30),  # a Monday
        (datetime(2026, 12, 2, 12, 0, tzinfo=UTC), 3, 2),  # the week began in the month before
        (datetime(2026, 12, 1, 12, 0, tzinfo=UTC), 2, 1),
        (datetime(2027, 1, 1, 12, 0, tzinfo=UTC), 5, 1),  # and here in the year before
    ],
)
async def test_weeks_begin_on_monday_and_months_on_their_first(
    today: datetime, week: int, month: int, sink: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account.time, "time", today.timestamp)
    routes = Account((), cast(Archive, Kept()), Keys(()), cast(LimitView, Unlimited())).routes()
    (route,) = (one for one in routes if one.path == "/api/v1/key")
    answer = await route.endpoint(Request({"type": "http", "headers": []}))
    key = json.loads(answer.body)["data"]
    assert {name: key[name] for name in key if name.startswith("usage")} == {
        "usage": 1_000,
        "usage_daily": 1,
        "usage_weekly": week,
        "usage_monthly": month,
    }


@pytest.mark.parametrize(
    ("counted", "field"),
    [
        ("cost", "usage"),
        ("requests", "requests"),
        ("prompt", "prompt_tokens"),
        ("cached", "cached_tokens"),
        ("completion", "completion_tokens"),
        ("reasoning", "reasoning_tokens"),
    ],
)
async def test_what_was_not_counted_is_zero(counted: str, field: str, sink: str) -> None:
    routes = Account((), cast(Archive, Kept(**{counted: PICO})), Keys(()), cast(LimitView, Unlimited())).routes()
    (route,) = (one for one in routes if one.path == "/api/v1/activity")
    answer = await route.endpoint(Request({"type": "http", "headers": [], "query_string": b""}))
    days = json.loads(answer.body)["data"]
    assert len(days) == account.ACTIVITY_DAYS
    figures = {name: value for name, value in days[0].items() if isinstance(value, int | float)}
    assert {name for name, value in figures.items() if value} == {field}
