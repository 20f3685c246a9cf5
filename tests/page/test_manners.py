"""What the page owes to people and networks: no barrier that axe-core finds, few bytes, nothing from elsewhere."""

import asyncio
from contextlib import suppress

import pytest
from playwright.async_api import Browser
from playwright.async_api import Error as PlaywrightError

from gateway.page.exchange_view import shown_exchange
from gateway.page.page import STATIC
from gateway.page.page_events import PageEvents
from tests.page.browser import DESKTOP, PHONE, Browsers, opened
from tests.page.invented import Invented
from tests.page.invented_gateway import InventedGateway, serving
from tests.page.invented_hosts import MODEL
from tests.support.rows import row

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all

MOST = 200_000  # bytes over the wire until the page is whole
MOST_LIVE = 5_000  # bytes a second while it is open
SECONDS, BUSY = 30, 200  # of a busy gateway, and its exchanges in each


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light")])
async def test_no_barriers(browser: Browser, size: tuple[int, int], scheme: str) -> None:
    """With an exchange, a plan and a definition open; axe-core is run past the policy that forbids foreign scripts."""
    gateway = InventedGateway(Invented())
    async with serving(gateway), opened(browser, gateway.url, size, color_scheme=scheme, bypass_csp=True) as view:
        await view.ready()
        await view.page.locator("#live-table tbody tr button").nth(3).click()
        await view.page.locator(".attempts li").first.wait_for()
        await view.page.locator("#picks summary").click()
        assert await view.violations() == []
        await view.page.locator("#tiles [data-def='success']").click()
        assert await view.violations() == []


async def test_the_whole_page_is_small(browser: Browser) -> None:
    """Files and data, as Chromium received them, at the range with the most buckets."""
    gateway = InventedGateway(Invented())
    sizes = "performance.getEntries().filter((one) => one.transferSize).map((one) => [one.name, one.transferSize])"
    async with serving(gateway), opened(browser, f"{gateway.url}/?range=7d") as view:
        await view.ready()
        received = dict(await view.page.evaluate(sizes))
    assert len(received) > len(list(STATIC.glob("*.js")))
    assert sum(received.values()) < MOST


async def test_a_busy_gateway_sends_an_open_page_less_than_5_kb_a_second(browser: Browser) -> None:
    """What the gateway writes in 30 seconds with 200 exchanges each, as Chromium received it; no clock is involved."""
    gateway, stream = InventedGateway(Invented()), PageEvents(0)
    received: dict[str, int] = {}
    async with serving(gateway), opened(browser, gateway.url) as view:
        session = await view.page.context.new_cdp_session(view.page)
        await session.send("Network.enable")
        session.on(
            "Network.dataReceived",
            lambda got: received.update({got["requestId"]: received.get(got["requestId"], 0) + got["dataLength"]}),
        )
        await view.ready()
        await view.live()
        before = sum(received.values())
        for second in range(SECONDS):
            numbers = range(second * BUSY + 1, (second + 1) * BUSY + 1)
            ended = [
                row(exchange=f"gen-{number}", model=MODEL, outcome="ok" if number % 20 else "server")
                for number in numbers
            ]
            live = [(number, shown_exchange([one], slow=False)) for number, one in zip(numbers, ended, strict=True)]
            gateway.pour(stream.second([], {}, live, float(second)))
        await view.page.locator(f"#live-table tr[data-key='gen-{SECONDS * BUSY}']").wait_for()
        assert 0 < sum(received.values()) - before < SECONDS * MOST_LIVE


async def test_a_browser_that_has_died_is_replaced(chromium: Browsers) -> None:
    first = await chromium.running()
    died = asyncio.Event()
    first.on("disconnected", lambda _: died.set())
    session = await first.new_browser_cdp_session()
    with suppress(PlaywrightError):
        await session.send("Browser.crash")
    await died.wait()
    second = await chromium.running()
    assert second is not first
    assert second.is_connected()
