"""Chromium, driven by Playwright: a page that collects what went wrong on it.

async with opened(url) as view: await view.page.click(...)   # leaving it asserts that nothing went wrong
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium")
WAIT = 60_000.0  # ms after which what is waited for is missing
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
]
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed")
DESKTOP, PHONE = (1280, 900), (390, 844)


@dataclass
class View:
    """An open page. `complaints` has each error and warning of the console and each request to another origin."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    received: int = 0  # bytes of bodies, as they came over the wire

    async def text(self, selector: str) -> str:
        return str(await self.page.inner_text(selector))

    async def texts(self, selector: str) -> list[str]:
        return list(await self.page.locator(selector).all_inner_texts())

    async def charts(self) -> None:
        """Waits until the first and the last chart of the page are drawn."""
        for chart in ("chart-paid", "chart-requests"):
            await self.page.locator(f"#{chart} canvas").wait_for()


@asynccontextmanager
async def opened(
    url: str, size: tuple[int, int] = DESKTOP, scheme: str = "light", forgiven: str = "", **context: Any
) -> AsyncIterator[View]:
    """The page at `url` in a browser of its own; complaints that contain `forgiven` are not counted."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        options = {"timezone_id": "UTC", "locale": "en-GB", "reduced_motion": "reduce", **context}
        size_ = {"width": size[0], "height": size[1]}
        tab = await (await browser.new_context(viewport=size_, color_scheme=scheme, **options)).new_page()
        tab.set_default_timeout(WAIT)
        view = View(tab)
        _listen(view, url)
        await tab.goto(url)
        yield view
        found = [one for one in view.complaints if not forgiven or forgiven not in one]
        await browser.close()
    assert found == []


def _listen(view: View, url: str) -> None:
    def spoke(message: Any) -> None:
        if message.type in ("error", "warning"):
            view.complaints.append(f"{message.type}: {message.text}")

    def requested(request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(url).netloc and not request.url.startswith("blob:"):
            view.complaints.append(f"another origin: {request.url}")

    view.page.on("console", spoke)
    view.page.on("pageerror", lambda error: view.complaints.append(f"error: {error}"))
    view.page.on("request", requested)


def axe() -> str | None:
    """The script of axe-core, or None where the package that brings it is not installed."""
    try:
        import axe_playwright_python
    except ImportError:
        return None
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
