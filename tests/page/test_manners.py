"""What the page owes to people and networks: no barrier that axe-core finds, few bytes, nothing from elsewhere."""

import pytest
from playwright.async_api import Browser

from gateway.page.page import STATIC
from tests.page.browser import DESKTOP, PHONE, opened
from tests.page.invented import Invented
from tests.page.invented_gateway import InventedGateway, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all

MOST = 200_000  # bytes over the wire until the page is whole


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
