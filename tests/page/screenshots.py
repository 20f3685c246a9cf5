"""`make screenshots`: the pictures of the page for README and docs, from invented history, the same at every run."""

import asyncio
from pathlib import Path

from tests.page.browser import PHONE, opened, started
from tests.page.invented import Invented
from tests.page.invented_gateway import InventedGateway, serving

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDE, TALL = (1280, 1640), (PHONE[0], 1640)
PORT = 8080  # it stands on the page


async def main() -> None:
    gateway = InventedGateway(Invented())
    async with serving(gateway, PORT), started() as browser:
        for name, size, scheme in (("page", WIDE, "light"), ("page-dark", WIDE, "dark"), ("page-phone", TALL, "light")):
            async with opened(browser, gateway.url, size, color_scheme=scheme) as view:
                await view.ready()
                await view.live()
                await view.page.screenshot(path=IMAGES / f"{name}.png")
                print(f"docs/images/{name}.png")
        async with opened(browser, gateway.url, WIDE) as view:
            await view.ready()
            await view.page.click("#live-table tbody tr:nth-child(4) button")
            await view.page.locator(".attempts li").nth(1).wait_for()
            await view.page.locator("#live .exchange").screenshot(path=IMAGES / "page-exchange.png")
            print("docs/images/page-exchange.png")


if __name__ == "__main__":
    asyncio.run(main())
