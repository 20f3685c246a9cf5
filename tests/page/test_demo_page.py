"""The page of a real `gateway demo` that is kept busy: every panel of its own traffic is filled."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.page.browser import View, opened

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),  # one browser for all
    pytest.mark.skipif(sys.platform != "linux", reason="the demo's processes are tied to it on Linux only"),
]

GUARD = 120.0  # seconds
OWN = (
    "paid",
    "effective",
    "throughput",
    "ttft",
    "latency",
    "uptime",
    "tokens",
    "requests",
)  # charts of its own traffic


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def demo() -> AsyncIterator[str]:
    """The address of a demo with traffic; its processes end with it."""
    with TemporaryDirectory(prefix="t-") as folder:
        command = (sys.executable, "-m", "gateway", "demo", "--traffic", "--port", "0", "--host-speed", "20")
        environ = os.environ | {"TMPDIR": folder}
        process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(GUARD):
                yield await address(process)
        finally:
            process.terminate()
            await process.communicate()
    assert not Path(folder).exists()


async def address(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        if found := re.search(rb"http://127\.0\.0\.1:\d+", line):
            return found.group().decode()
    pytest.fail("the demo ended before it named its address")


async def filled(view: View) -> None:
    """Reads the page again until its key figures are there: history is written every few seconds."""
    async with asyncio.timeout(GUARD):
        await view.ready()
        while "–" in await view.texts("#tiles .figure"):
            await asyncio.sleep(1)
            await view.page.reload()
            await view.ready()


async def test_panels_fill_from_its_own_traffic(browser: Browser, demo: str) -> None:
    async with opened(browser, f"{demo}/?range=1h") as view:
        await filled(view)
        for chart in OWN:
            assert await view.page.locator(f"#chart-{chart} canvas").count() == 1, chart
        assert "simulated" in await view.text("#simulated")
        assert await view.page.locator("#start").is_hidden()
        assert await view.page.locator("#endpoint-table tbody tr").count() > 5
        assert await view.page.locator("#picks .choice button").count() > 5
        assert await view.page.locator("#apps li:not(.empty)").count() > 0
        assert await view.page.locator("#about-body h3").count() > 0
        await view.page.hover("#live-table thead")  # the list stands still
        await view.page.locator("#live-table tbody tr button").first.click()
        await view.page.locator(".exchange").wait_for()
        text = await view.text("main")
        assert "NaN" not in text
        assert "undefined" not in text


async def test_new_exchanges_arrive_while_it_is_open(browser: Browser, demo: str) -> None:
    async with opened(browser, demo) as view:
        await view.ready()
        await view.live()
        first = await view.page.locator("#live-table tbody tr").first.get_attribute("data-key")
        await view.page.locator(f"#live-table tbody tr:first-child:not([data-key='{first}'])").wait_for()
