"""The limits on the page of a gateway with a real store: all of them behind the admin key, else those of apps."""

import asyncio
from hashlib import sha256
from pathlib import Path
from time import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis
from starlette.exceptions import HTTPException
from starlette.requests import Request

from gateway.config import Bounds, Key, LimitSettings
from gateway.keys.limit_store import LimitStore
from gateway.keys.limit_view import LimitView
from gateway.keys.limiter import Limiter
from gateway.keys.need import Need
from gateway.page.limits_page import MOST, LimitsPage
from tests.support.gateway import Running, in_process
from tests.support.host import ScriptedHost, answers, completion, usage

NOW = time()  # when the module is loaded: what the store keeps of a minute expires a day later, by its own clock
COST = (1_000 * 0.25 + 100 * 0.5) / 1e6  # USD, of one answer
LIMITS = {"groups": {"team": {"usd_per_month": "$0.001"}}, "apps": {"report": {"usd_per_day": "$9"}}}
KEYS: list[dict[str, Any]] = [
    {"tenant": "free", "key": "sk-free"},
    {"tenant": "ann", "key": "sk-ann", "group": "team", "limits": {"usd_per_month": "$0.01"}, "expires": "2099-01-31"},
]
ADMIN = {"authorization": "Bearer admin-key-of-the-tests"}


async def shown(running: Running, headers: dict[str, str]) -> Any:
    answer = await running.client.get("/page/limits.json", headers=headers)
    assert answer.status_code == 200, answer.text
    assert "sk-" not in answer.text
    return answer.json()


@pytest.mark.parametrize("closed", [True, False])
async def test_names_of_keys_are_shown_behind_the_admin_key(tmp_path: Path, valkey: str, closed: bool) -> None:
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    environ = {"GATEWAY_ADMIN_KEY": "admin-key-of-the-tests"} if closed else {}
    async with (
        ScriptedHost(answers(200, completion("hello", used=usage(1_000, 100)))) as host,
        in_process(
            tmp_path, "direct", {"a/fp8": host.url}, store=valkey, keys=KEYS, limits=LIMITS, environ=environ
        ) as running,
    ):
        response = await running.chat("x" * 4_000, max_tokens=100, headers={"authorization": "Bearer sk-ann"})
        assert response.status_code == 200
        if not closed:
            found = await shown(running, {})
            assert [(one["scope"], one["name"], one["used"]) for one in found["limits"]] == [("app", "report", 0)]
            assert (found["hidden"], found["more"]) == (2, 0)
            return
        assert (await running.client.get("/page/limits.json")).status_code == 401
        async with asyncio.timeout(60):  # what a worker took is in the store a moment later, its reservation at first
            while (found := await shown(running, ADMIN))["limits"][0]["used"] != pytest.approx(COST):
                await asyncio.sleep(0.1)
    assert [(one["scope"], one["name"], one["limit"]) for one in found["limits"]] == [
        ("group", "team", "usd_per_month"),
        ("key", "ann", "usd_per_month"),
        ("app", "report", "usd_per_day"),
    ]
    key = found["limits"][1]
    assert key["hash"] == sha256(b"sk-ann").hexdigest()[:8]
    assert (key["bound"], key["remaining"]) == (0.01, pytest.approx(0.01 - COST))
    assert found["hidden"] == found["more"] == 0


async def test_it_is_bounded_and_read_once_for_many_pages(valkey: str) -> None:
    reads, now = 0, [100.0]

    def keys() -> list[Key]:
        nonlocal reads
        reads += 1
        return [Key(f"t{number}", b"x" * 32, limits=Bounds(usd_per_day=1.0)) for number in range(MOST + 5)]

    view = view_of(valkey)
    page = LimitsPage(LimitSettings(), keys, view, closed=True, clock=lambda: now[0])
    request = cast(Request, SimpleNamespace())
    found = [await page.shown(request), await page.shown(request)]
    assert ([len(one.limits) for one in found], found[0].more, reads) == ([MOST, MOST], 5, 1)
    now[0] += 5
    await page.shown(request)
    assert reads == 2
    view.close()


async def test_an_app_whose_name_has_capitals_is_shown_with_what_it_used(valkey: str) -> None:
    with redis.Redis.from_url(valkey) as client:
        client.flushdb()
    settings = LimitSettings(apps={"Report": Bounds(requests_per_minute=10)})
    limiter = Limiter(settings, LimitStore(valkey), 1, lambda: NOW, lambda *_: None)
    limiter.reserve(limiter.quotas("t", "Report"), Need(1, 0, 0), lambda _: None)
    await limiter.exchange()
    view = LimitView(limiter, LimitStore(valkey))
    page = LimitsPage(settings, list, view, closed=False, clock=lambda: 0.0)
    found = await page.shown(cast(Request, SimpleNamespace()))
    assert [(one.name, one.used) for one in found.limits] == [("report", 1)]
    view.close()
    await limiter.close()


async def test_without_the_store_it_is_unknown() -> None:
    view = view_of("redis://127.0.0.1:1")
    settings = LimitSettings(apps={"report": Bounds(usd_per_day=1.0)})
    page = LimitsPage(settings, list, view, closed=True, clock=lambda: 0.0)
    with pytest.raises(HTTPException) as error:
        await page.shown(cast(Request, SimpleNamespace()))
    assert error.value.status_code == 503
    view.close()


def view_of(url: str) -> LimitView:
    limiter = Limiter(LimitSettings(), LimitStore(url), 1, lambda: NOW, lambda *_: None)
    return LimitView(limiter, LimitStore(url))
