"""Chromium, driven by Playwright: one for the tests of a module, a page of its own for each.

    async with opened(browser, url) as view: await view.page.click(...)   # at its end nothing may have gone wrong

It is the system's, as tests download no browser.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request, async_playwright
from playwright.async_api import Error as PlaywrightError

from tests.support.programs import needs

AXE = files("axe_playwright_python") / "axe.min.js"
# Without `resultTypes` it names each of the thousands of elements that pass, which takes ten times as long.
VIOLATIONS = """axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    violations.map((one) => `${one.id}: ${JSON.stringify(one.nodes.map((node) => node.target))}`))"""
WAIT = 60_000.0  # ms after which what is waited for is missing
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
]
DESKTOP, PHONE = (1280, 900), (390, 844)
CHARTS = ("paid", "effective", "history", "throughput", "ttft", "latency", "runs", "uptime", "tokens", "requests")


@dataclass
class View:
    """An open page. `complaints` has each error and warning of the console and each request to another origin."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    async def text(self, selector: str) -> str:
        return await self.page.inner_text(selector)

    async def texts(self, selector: str) -> list[str]:
        return await self.page.locator(selector).all_inner_texts()

    async def ready(self) -> None:
        """Waits until history, prices, probes and exchanges were read and drawn."""
        await self.page.locator("body[data-ready]").wait_for()

    async def live(self) -> None:
        """Waits until the page is connected to the gateway's events."""
        await self.page.locator("#status[data-state='live']").wait_for()

    async def violations(self) -> list[str]:
        """What axe-core finds, each with the places; needs a page that was opened with `bypass_csp`."""
        await self.page.evaluate(AXE.read_text())
        found: list[str] = await self.page.evaluate(VIOLATIONS)
        return found


class Browsers:
    """One Chromium at a time: another one where the last has died, so that its death fails one test and not all."""

    def __init__(self, chromium: str, playwright: Playwright) -> None:
        self._chromium = chromium
        self._playwright = playwright
        self._one: Browser | None = None

    async def running(self) -> Browser:
        if self._one is None or not self._one.is_connected():
            self._one = await self._playwright.chromium.launch(executable_path=self._chromium, args=QUIET)
        return self._one

    async def close(self) -> None:
        if self._one is not None:
            await self._one.close()


@asynccontextmanager
async def browsers() -> AsyncIterator[Browsers]:
    chromium = needs("chromium")
    async with async_playwright() as playwright:
        found = Browsers(chromium, playwright)
        try:
            yield found
        finally:
            await found.close()


@asynccontextmanager
async def started() -> AsyncIterator[Browser]:
    async with browsers() as found:
        yield await found.running()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, size: tuple[int, int] = DESKTOP, forgiven: str | None = None, **context: Any
) -> AsyncIterator[View]:
    """The page at `url`; `context` is Playwright's; complaints with the text `forgiven` do not count."""
    options = {"timezone_id": "UTC", "locale": "en-GB", "reduced_motion": "reduce", **context}
    window = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    try:
        view = await _view(window, url)
        yield view
    except PlaywrightError as error:
        if not browser.is_connected():
            pytest.fail(f"Chromium has died; the next test gets another one ({error})")
        raise
    finally:  # a page that stays open keeps drawing, and slows all later tests down
        if browser.is_connected():
            await window.close()
    complaints = [one for one in view.complaints if forgiven is None or forgiven not in one]
    assert complaints == [], complaints


async def _view(window: BrowserContext, url: str) -> View:
    page = await window.new_page()
    page.set_default_timeout(WAIT)
    page.set_default_navigation_timeout(WAIT)
    view = View(page)
    _listen(view, urlsplit(url).netloc)
    await page.goto(url)
    return view


class SharedView:
    """One open page for several tests; another one where it was closed, or its browser has died."""

    def __init__(self, found: Browsers, url: str, stack: AsyncExitStack) -> None:
        self._browsers = found
        self._url = url
        self._stack = stack
        self._one: View | None = None

    async def ready(self) -> View:
        browser = await self._browsers.running()
        if self._one is None or self._one.page.is_closed():
            self._one = await self._stack.enter_async_context(opened(browser, self._url))
            await self._one.ready()
        return self._one


def _listen(view: View, origin: str) -> None:
    def spoke(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            view.complaints.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def requested(request: Request) -> None:
        if urlsplit(request.url).netloc != origin and not request.url.startswith("blob:"):
            view.complaints.append(f"another origin: {request.url}")

    view.page.on("console", spoke)
    view.page.on("pageerror", lambda error: view.complaints.append(f"error: {error}"))
    view.page.on("request", requested)
