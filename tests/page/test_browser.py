"""The page in a real browser over a real gateway: its own traffic is there, and nothing is complained about.

The page's routes are Starlette's over either sink, so one is enough.
"""

import re

import pytest
from playwright.async_api import Browser

from tests.page.browser import opened
from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.host import ScriptedHost, answers, completion

pytestmark = [DIRECT_ONLY, pytest.mark.asyncio(loop_scope="module")]  # one browser for all

STORELESS = "Failed to load resource"  # so says a browser of a 503: no store, no history


async def test_an_exchange_shows_with_its_attempts_and_its_plan(browser: Browser, gateway: Gateway) -> None:
    failing, good = answers(503, {"error": {"message": "busy"}}), answers(200, completion("Hello"))
    async with (
        ScriptedHost(failing) as first,
        ScriptedHost(good) as second,
        gateway({"a/fp8": first.url, "b/fp8": second.url}) as running,
    ):
        reply = await running.chat(provider={"order": ["a/fp8"]})
        name = reply.headers["x-generation-id"]
        async with opened(browser, running.url, forgiven=STORELESS) as view:
            await view.ready()
            await view.live()
            row = view.page.locator(f"#live-table tr[data-key='{name}']")
            assert "b/fp8" in await row.inner_text()
            assert await view.texts("#endpoint-table button.name") in (["a/fp8", "b/fp8"], ["b/fp8", "a/fp8"])
            assert f"{running.url}/v1/chat/completions" in await view.text("#snippet-text")
            await row.locator("button").click()
            await view.page.locator(".attempts li").nth(1).wait_for()
            attempts = await view.text(".attempts")
            assert re.search(r"a/fp8\s+(server|overloaded).*b/fp8\s+answered", attempts, flags=re.S)
            assert "Policy balanced" in await view.text(".exchange")


async def test_a_new_exchange_arrives_by_itself(browser: Browser, gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"a/fp8": host.url}) as running,
        opened(browser, running.url, forgiven=STORELESS) as view,
    ):
        await view.ready()
        await view.live()
        assert "does not reach its store" in await view.text("#away")
        assert "No exchange yet" in await view.text("#live-empty")
        reply = await running.chat()
        await view.page.locator(f"#live-table tr[data-key='{reply.headers['x-generation-id']}']").wait_for()


async def test_its_links_work_below_a_models_path(browser: Browser, gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers()) as host,
        gateway({"a/fp8": host.url}) as running,
        opened(browser, f"{running.url}/models/deepseek/deepseek-v3.2?range=1h", forgiven=STORELESS) as view,
    ):
        await view.ready()
        assert await view.text("#name") == "DeepSeek V3.2"
        assert f"{running.url}/v1" in await view.texts("#fields code")


async def test_markup_in_configuration_stays_text(browser: Browser, gateway: Gateway) -> None:
    """A file that is wrong is quoted in its problem: the quotation must not become part of the page."""
    bomb = "<img src=x onerror=document.title='owned'>"
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}) as running:
        (running.policies / "broken.yaml").write_text(f'name: "{bomb}"\n')
        await problems(running)
        async with opened(browser, running.url, forgiven=STORELESS) as view:
            await view.ready()
            shown = await view.text("#problems")
            assert "<img src=x" in shown
            assert re.search(r"broken\.yaml:1:", shown)
            assert await view.page.locator("img:not(.brand img)").count() == 0


async def problems(running: Running) -> None:
    """Waits until the gateway has seen a policy file that is wrong."""
    while not (await running.client.get("/page/model.json")).json()["policies"]["problems"]:
        pass
