"""Tests of the page in a module share one browser, and with it one event loop. A browser that has died is replaced."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser

from tests.page.browser import Browsers, browsers


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chromium() -> AsyncIterator[Browsers]:
    async with browsers() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Browsers) -> Browser:
    return await chromium.running()
