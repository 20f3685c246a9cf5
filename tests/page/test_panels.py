"""Every panel of the page in a real Chromium, over thirty days of invented history, by pointer, finger and keys."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route

from tests.page.browser import CHARTS, DESKTOP, PHONE, Browsers, SharedView, View, opened
from tests.page.invented import Invented
from tests.page.invented_gateway import InventedGateway, serving
from tests.page.invented_hosts import HOSTS, MODEL

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all
LISTS = {
    "#facts > div": 7,
    "#capabilities > li": 5,
    "#fields > div": 2,
    "#tiles > .tile": 4,
    "#savings > .tile": 3,
    "#endpoint-table tbody tr": 8,
    "#idle li": 3,
    "#price-table tbody tr": 8,
    "#run-table tbody tr": 8,
    "#days > .days-row": 9,
    "#canary-table tbody tr": 8,
    "#scores > li": 4,
    "#apps > li": 6,
    "#limit-table tbody tr": 6,
    "#live-table tbody tr": 20,
    "#tabs > button": 5,
    "#about-body h3": 4,
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway() -> AsyncIterator[InventedGateway]:
    one = InventedGateway(Invented())
    async with serving(one):
        yield one


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(chromium: Browsers, gateway: InventedGateway) -> AsyncIterator[SharedView]:
    async with AsyncExitStack() as stack:
        yield SharedView(chromium, gateway.url, stack)


@pytest_asyncio.fixture(loop_scope="module")
async def view(shared: SharedView) -> View:
    """One page for all tests that only read it."""
    return await shared.ready()


async def test_every_panel_is_filled(view: View) -> None:
    await view.page.locator("#live-table tbody tr").nth(19).wait_for()
    for chart in CHARTS:
        assert await view.page.locator(f"#chart-{chart} canvas").count() == 1, chart
    for selector, count in LISTS.items():
        assert await view.page.locator(selector).count() == count, selector
    assert "simulated" in await view.text("#simulated")
    sources = await view.page.text_content("#capabilities li") or ""
    assert re.search(r"probes: \d+ of \d+ answers right, the last on \d.*; catalogue or gateway.yaml: 9 of 9", sources)
    assert await view.text("#name") == "DeepSeek V3.2"
    assert "got an answer" in await view.text("#verdict")
    assert "saved" in await view.text("#tiles")
    assert re.search(r"\$\d+\.\d+ paid", await view.text("#paid-sum"))
    assert await view.page.locator("#start").is_hidden()
    assert "undefined" not in (text := await view.text("main"))
    assert "NaN" not in text


async def test_the_table_sorts_and_the_url_keeps_the_order(browser: Browser, gateway: InventedGateway) -> None:
    async with opened(browser, gateway.url) as view:
        await view.ready()
        await view.page.click("#endpoint-table th:nth-child(5) .sort")
        fastest = sorted(HOSTS, key=lambda name: HOSTS[name][4])
        assert await view.texts("#endpoint-table button.name") == fastest
        assert await view.page.get_attribute("#endpoint-table th:nth-child(5)", "aria-sort") == "ascending"
        await view.page.click("#endpoint-table th:nth-child(5) .sort")
        assert await view.texts("#endpoint-table button.name") == fastest[::-1]
        assert "sort=-ttft" in view.page.url
        await view.page.reload()
        await view.ready()
        assert await view.texts("#endpoint-table button.name") == fastest[::-1]


async def test_a_range_is_in_the_url_and_changes_every_figure(browser: Browser, gateway: InventedGateway) -> None:
    async with opened(browser, f"{gateway.url}/models/{MODEL}?range=7d") as view:
        await view.ready()
        assert await view.page.get_attribute("#ranges [data-key='7d']", "aria-pressed") == "true"
        requests = await view.text("#requests-sum")
        await view.page.click("#ranges [data-key='30d']")
        await view.page.locator("#tiles", has_text="the 30 days before").wait_for()
        assert "range=30d" in view.page.url
        await view.page.locator("#requests-sum", has_not_text=requests).wait_for()
        await view.page.click("#percentiles [data-key='p95']")
        assert "p=p95" in view.page.url
        assert "p95" in (await view.page.get_attribute("#chart-ttft .plot", "aria-label") or "")


async def test_a_small_sample_is_dimmed_with_its_size(view: View) -> None:
    row = view.page.locator("#endpoint-table tr[data-endpoint='google-vertex/unknown']")
    assert await row.locator("td.few").count() >= 3
    assert re.search(r"\bn \d+", await row.inner_text())


async def test_an_endpoint_without_history_has_dashes(browser: Browser) -> None:
    one = InventedGateway(Invented())
    one.invented.unseen = {"novita/fp8"}
    async with serving(one), opened(browser, one.url) as view:
        await view.ready()
        row = view.page.locator("#endpoint-table tr[data-endpoint='novita/fp8']")
        assert (await row.locator("td:not(:nth-child(-n+2)) > span:first-child").all_inner_texts()) == ["–"] * 8
        assert await view.page.locator("#chart-requests canvas").count() == 1


async def test_states_say_why_and_picks_stand_in_their_rows(browser: Browser, gateway: InventedGateway) -> None:
    async with opened(browser, gateway.url) as view:
        await view.ready()
        rows = view.page.locator("#endpoint-table tbody tr")
        assert "503" in await rows.filter(has_text="parasail/fp8").inner_text()
        assert "nitro" in await rows.filter(has_text="fireworks/bf16").inner_text()
        await view.page.click("#picks button:has-text('nitro')")
        assert "fireworks/bf16" in await view.text(".pick-why")
        assert '"model": "deepseek/deepseek-v3.2:nitro"' in await view.text("#snippet-text")
        assert "policy=nitro" in view.page.url
        for tab in ("python", "node", "openrouter", "anthropic"):
            await view.page.click(f"#tab-{tab}")
            assert f"{MODEL}:nitro" in await view.text("#snippet-text")


async def test_definitions_open_by_keyboard_and_give_the_focus_back(view: View) -> None:
    button = view.page.locator("#tiles [data-def='effective-price']")
    await button.focus()
    await view.page.keyboard.press("Enter")
    assert "divided by their prompt and output tokens" in await view.text("#definition")
    assert "requests in the last 24 hours" in await view.text("#definition")
    await view.page.keyboard.press("Escape")
    assert await view.page.locator("#definition").is_hidden()
    assert await button.evaluate("node => node === document.activeElement")


async def test_a_row_lights_its_endpoint_and_a_chart_is_read_by_arrows(view: View) -> None:
    await view.page.hover("#endpoint-table tr[data-endpoint='novita/fp8'] td:nth-child(3)")
    assert await view.page.locator("#run-table tr.lit").get_attribute("data-endpoint") == "novita/fp8"
    await view.page.focus("#chart-ttft .plot")
    await view.page.keyboard.press("End")
    spoken = view.page.locator("#chart-ttft [aria-live]")
    await spoken.filter(has_text="novita").wait_for(state="attached")
    assert await view.page.locator("#chart-latency .u-cursor-x").is_visible()


async def test_days_of_uptime_are_read_by_tap_and_arrows(view: View) -> None:
    strip = view.page.locator("#days [data-key='siliconflow/fp8'] .days")
    await strip.locator("i").nth(19).click()
    assert "80.9 %" in await view.text("#day-read")
    assert "worst:" in await view.text("#day-read")
    await strip.focus()
    await view.page.keyboard.press("ArrowLeft")
    assert "99." in await view.text("#day-read")


async def test_the_live_list_stands_still_while_it_is_read(browser: Browser, gateway: InventedGateway) -> None:
    fresh = {**gateway.invented.exchanges()[0], "id": "gen-1000001"}
    async with opened(browser, gateway.url) as view:
        await view.ready()
        await view.page.locator("#live-table tbody tr").nth(19).wait_for()
        await view.live()
        gateway.tell("exchange", fresh)
        await view.page.locator("#live-table tr[data-key='gen-1000001']").wait_for()
        await view.page.click("#live-table tbody tr:nth-child(5) button")
        await view.page.locator(".attempts li").first.wait_for()
        gateway.tell("exchange", {**fresh, "id": "gen-1000002"})
        await view.page.locator("#live-new", has_text="1 new").wait_for()
        assert await view.page.locator("#live-table tr[data-key='gen-1000002']").count() == 0
        await view.page.click("#live-new")
        await view.page.locator("#live-table tr[data-key='gen-1000002']").wait_for()


async def test_a_failure_shows_its_attempts_what_was_said_and_the_plan(
    browser: Browser, gateway: InventedGateway
) -> None:
    async with opened(browser, f"{gateway.url}?kind=failed") as view:
        row = view.page.locator("#live-table tbody tr").first
        assert "server" in await row.inner_text()
        await row.locator("button").click()
        await view.page.locator(".attempts li").nth(2).wait_for()
        assert "temporarily overloaded" in await view.text(".attempts")
        assert "answered" not in await view.text(".exchange")
        assert await view.page.locator(".ranked-bars li").count() >= 7
        assert "not considered: breaker" in await view.text(".exchange .dropped")


async def test_filters_are_in_the_url_and_applied_by_the_gateway(browser: Browser, gateway: InventedGateway) -> None:
    async with opened(browser, gateway.url) as view:
        await view.page.locator("#live-table tbody tr").nth(19).wait_for()
        await view.page.click("#filters [data-kind='hedged']")
        await view.page.locator("#live-table tbody tr").nth(19).wait_for(state="detached")
        assert all("hedged" in text for text in await view.texts("#live-table tbody tr"))
        await view.page.select_option("#filters select[aria-label='Endpoint']", "baidu/fp8")
        assert "kind=hedged" in view.page.url
        assert "endpoint=baidu" in view.page.url


async def test_state_events_change_the_rows(browser: Browser, gateway: InventedGateway) -> None:
    async with opened(browser, gateway.url) as view:
        await view.live()
        change = {"state": "set back", "why": "HTTP 500 in 4 of 5 attempts", "until": None}
        gateway.tell("state", {"endpoints": {"novita/fp8": change}, "picks": {"exacto": {"endpoint": "baidu/fp8"}}})
        row = view.page.locator("#endpoint-table tr[data-endpoint='novita/fp8']")
        await row.filter(has_text="HTTP 500 in 4 of 5").wait_for()
        assert await row.locator(".state").get_attribute("data-shape") == "bad"
        assert "exacto" not in await row.inner_text()
        assert "exacto" in await view.text("#endpoint-table tr[data-endpoint='baidu/fp8']")


async def test_it_comes_back_after_a_restart(browser: Browser) -> None:
    first, second = InventedGateway(Invented()), InventedGateway(Invented())
    async with AsyncExitStack() as stack:
        async with serving(first):
            refused = "net::ERR_CONNECTION_REFUSED"  # what the browser itself says of a server that is not there
            view = await stack.enter_async_context(opened(browser, first.url, forgiven=refused))
            await view.ready()
            await view.live()
        await view.page.locator("#status[data-state='lost']").wait_for()
        await stack.enter_async_context(serving(second, int(first.url.rpartition(":")[2])))
        await view.live()
        row = view.page.locator("#live-table tr[data-key='gen-1000007']")
        async with asyncio.timeout(60):
            while (
                not await row.is_visible()
            ):  # the page requests the list anew, in which the invented gateway has no more
                second.tell("exchange", {**second.invented.exchanges()[0], "id": "gen-1000007"})
                await asyncio.sleep(0.05)


async def test_an_exchange_that_ends_while_the_list_is_requested_is_shown(
    browser: Browser, gateway: InventedGateway
) -> None:
    ended, listed = (
        {**gateway.invented.exchanges()[0], "id": name, "hedged": True} for name in ("gen-1000007", "gen-1000008")
    )
    async with opened(browser, gateway.url) as view:
        await view.ready()
        await view.live()

        async def late(route: Route) -> None:
            gateway.tell("exchange", ended)
            await view.page.locator("#live-table tr[data-key='gen-1000007']").wait_for()
            await route.fulfill(json={"exchanges": [listed], "more": False})

        await view.page.route("**/page/exchanges.json*", late)
        await view.page.click("#filters [data-kind='hedged']")
        await view.page.locator("#live-table tr[data-key='gen-1000008']").wait_for()
        assert await view.page.locator("#live-table tr[data-key='gen-1000007']").is_visible()


async def test_the_theme_follows_the_system_and_the_switch(browser: Browser, gateway: InventedGateway) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    async with opened(browser, gateway.url, color_scheme="dark") as view:
        await view.ready()
        assert await view.page.evaluate(ground) == "rgb(19, 21, 24)"
        await view.page.click("#theme")
        assert await view.page.evaluate(ground) == "rgb(255, 255, 255)"
        await view.page.reload()
        assert await view.page.evaluate(ground) == "rgb(255, 255, 255)"


async def test_a_phone_shows_all_without_sideways_scroll(browser: Browser, gateway: InventedGateway) -> None:
    async with opened(browser, gateway.url, PHONE, has_touch=True) as view:
        await view.ready()
        await view.page.locator("#live-table tbody tr button").first.tap()
        await view.page.locator(".attempts li").first.wait_for()
        assert await view.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        await view.page.tap("#tiles [data-def='success']")
        assert await view.page.locator("#definition").is_visible()


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
async def test_a_long_name_of_a_client_breaks_no_line(browser: Browser, size: tuple[int, int]) -> None:
    """The title of an app is the client's: up to 200 characters without a space."""
    one = InventedGateway(Invented(app="x" * 200))
    async with serving(one), opened(browser, one.url, size) as view:
        await view.ready()
        await view.page.locator("#live-table tbody tr").nth(19).wait_for()
        assert "x" * 200 in await view.text("#apps")
        assert await view.page.evaluate("document.documentElement.scrollWidth") == size[0]


async def test_without_traffic_it_says_what_to_do(browser: Browser) -> None:
    empty = InventedGateway(Invented(traffic=False))
    async with serving(empty), opened(browser, empty.url) as view:
        await view.ready()
        await view.page.locator("#start").wait_for()
        assert "Send one with a snippet" in await view.text("#start")
        assert (await view.texts("#tiles .figure")) == ["–"] * 4
        assert "No exchange yet" in await view.text("#live-empty")
        assert "No traffic in this range" in await view.text("#chart-ttft")


async def test_what_is_written_about_a_model_runs_nothing(browser: Browser) -> None:
    one = InventedGateway(Invented())
    bad = "<p onclick=x()>text <script>owned</script><img src=x onerror=owned><a href='javascript:x()'>link</a></p>"
    one.invented.about = {"profile": bad, "questions": []}
    async with serving(one), opened(browser, one.url, forgiven="Content Security Policy") as view:
        await view.ready()
        assert (await view.text("#about-body .profile p")).strip() == "text link"
        assert await view.page.locator("#about-body").locator("img, script, a, [onclick]").count() == 0


async def test_the_data_of_a_chart_can_be_had_as_csv(view: View) -> None:
    async with view.page.expect_download() as waiting:
        await view.page.click("#chart-ttft .csv")
    download = await waiting.value
    lines = (await asyncio.to_thread((await download.path()).read_text)).splitlines()
    assert lines[0].startswith("time,")
    assert len(lines) == 1 + 24
    assert lines[1].startswith("2026-11-28T12:00:00")
