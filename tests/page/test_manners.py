"""What the page owes to people and networks: no barrier that axe-core finds, few bytes, nothing from elsewhere."""

import re
from pathlib import Path

import orjson
import pytest
from playwright.async_api import Browser

from gateway.page.page import STATIC
from tests.page.browser import DESKTOP, PHONE, opened
from tests.page.invented import Invented
from tests.page.invented_gateway import InventedGateway, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all

DOCS = Path(__file__).parents[2] / "docs" / "page.md"
MOST = 200_000  # bytes over the wire until the page is whole
LONGEST = 300  # lines of a file


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


def test_files_are_short() -> None:
    own = [path for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".html") and path.name != "uplot.js"]
    assert [path.name for path in own if len(path.read_text().splitlines()) > LONGEST] == []
    assert (STATIC / "uplot.LICENSE.txt").read_text().startswith("The MIT License")


def test_nothing_is_loaded_from_elsewhere_and_no_text_becomes_markup() -> None:
    for path in STATIC.iterdir():
        text = path.read_text()
        code = re.sub(r"^\s*//.*$|\s// .*$|/\*.*?\*/", "", text, flags=re.M | re.S if path.suffix == ".css" else re.M)
        assert set(re.findall(r"(?:https?:)?//[\w.]+\.\w+", code)) <= {"http://www.w3.org"}, (
            path.name
        )  # SVG's namespace
        if path.name != "uplot.js":
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code)
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<script(?![^>]* src=)", page)


def test_every_figure_is_defined_once_and_documented_in_the_same_words() -> None:
    defined = orjson.loads((STATIC / "definitions.json").read_bytes())
    texts = "".join(path.read_text() for path in STATIC.iterdir() if path.suffix in (".js", ".html"))
    used = set(re.findall(r'(?:data-def="|\bdef: "|^\s*\[?"|\bid: ")([a-z0-9-]+)"', texts, flags=re.M))
    assert [name for name in defined if name not in used] == []
    assert [name for name in re.findall(r'(?:data-def="|\bdef: ")([a-z0-9-]+)"', texts) if name not in defined] == []
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCS.read_text(), flags=re.M | re.S))
    documented = {
        (panel, title): text
        for panel, section in sections.items()
        for title, text in re.findall(r"^\| (?!figure|-)([^|]+?) \| (.+?) \|$", section, flags=re.M)
    }
    assert documented == {(one["panel"], one["title"]): one["text"] for one in defined.values()}
