"""The page over a real gateway with a month of traffic in its store: its own answers, in place of invented ones."""

import re
from collections.abc import AsyncIterator
from time import time
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from gateway.page.past import DAYS
from tests.page.browser import PHONE, View, opened
from tests.support.gateway import Running, in_process
from tests.support.host import ScriptedHost, answers
from tests.support.prepared_history import APPS, HOSTS, write
from tests.support.valkey import running

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser and one gateway for all
SCALE = 0.15  # of the traffic: 10,000 rows
DRAWN = ("paid", "effective", "throughput", "ttft", "latency", "uptime", "tokens", "requests")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    with running(tmp_path_factory.mktemp("store")) as store:
        await write(store, time(), SCALE)
        async with (
            ScriptedHost(answers()) as host,
            in_process(
                tmp_path_factory.mktemp("gateway"),
                "direct",
                {one.endpoint: host.url for one in HOSTS},
                store=store,
            ) as gateway,
        ):
            yield gateway


async def shown(view: View, name: str) -> Any:
    """Chooses a range; returns the history that the page got for it, once it is drawn."""
    async with view.page.expect_response(lambda one: f"range={name}" in one.url) as answer:
        await view.page.click(f"#ranges [data-key='{name}']")
    found = await (await answer.value).json()
    requests = f"{found['all']['total']['requests']:,} requests,"
    await view.page.locator("#requests-sum", has_text=requests).wait_for()
    return found


async def test_every_range_is_drawn_with_its_own_figures(browser: Browser, month: Running) -> None:
    async with opened(browser, f"{month.url}/?range=30d") as view:
        await view.ready()
        requests = []
        for name in ("7d", "24h", "1h", "30d"):
            found = await shown(view, name)
            requests.append(found["all"]["total"]["requests"])
            for chart in DRAWN:
                assert await view.page.locator(f"#chart-{chart} canvas").count() == 1, (name, chart)
            assert "NaN" not in (text := await view.text("main"))
            assert "undefined" not in text
        week, day, hour, all_days = requests
        assert all_days > week > day > hour > 0


async def test_a_phone_shows_the_real_catalogue_without_sideways_scroll(browser: Browser, month: Running) -> None:
    async with opened(browser, month.url, PHONE, has_touch=True) as view:
        await view.ready()
        scores = await view.text("#scores")
        assert "solved at the first attempt, with thinking" in scores
        assert re.search(r"\d rating\n", scores)
        assert await view.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


async def test_its_tables_are_the_gateways_figures(browser: Browser, month: Running) -> None:
    async with opened(browser, month.url) as view:
        await view.ready()
        found = await shown(view, "30d")
        assert set(await view.texts("#endpoint-table button.name")) == set(found["endpoints"])
        assert len(found["endpoints"]) == len(HOSTS)
        days = view.page.locator("#days [data-key='novita/fp8'] .days i")
        assert await days.count() == DAYS
        listed = await view.text("#apps")
        assert all(name in listed for name, _ in APPS if name)
        paid, listed_at = re.findall(r"\$([\d.]+)", await view.text("#paid-sum"))
        total = found["all"]["total"]
        assert [float(paid), float(listed_at)] == pytest.approx([total["cost_usd"], total["list_usd"]], rel=0.005)
        assert f"{total['requests']:,} requests in the last 30 days" in await view.text("#verdict")
