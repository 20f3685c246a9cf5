"""The page as a browser gets it, over a real gateway with scripted hosts."""

import asyncio
import re

import pytest

from gateway.page import page as page_module
from tests.page.data import data, until
from tests.support.gateway import Gateway, Running
from tests.support.host import ScriptedHost, answers

KEYS = [{"tenant": "tenant-name", "key": "client-secret-0123456789"}]


async def test_a_policy_problem_shows_with_its_place(gateway: Gateway) -> None:
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}) as running:
        assert (await data(running))["policies"]["problems"] == []
        (running.policies / "broken.yaml").write_text("name: broken\nkeepalive: 10\n")
        found = (await until(running, lambda shown: shown["policies"]["problems"]))["policies"]
    assert re.search(r"broken\.yaml:2:\d+: ", found["problems"][0])
    assert "broken" not in {one["name"] for one in found["in_force"]}
    assert found["default"] == "balanced"


async def test_page_and_files_are_served_without_a_key(gateway: Gateway) -> None:
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}, keys=KEYS) as running:
        page = await running.client.get("/")
        of_model = await running.client.get("/models/deepseek/deepseek-v3.2")
        files = {
            name: await running.client.get(f"/page/static/{name}")
            for name in ("base.css", "app.js", "definitions.json", "icon.svg")
        }
        missing = await running.client.get("/page/static/..%2Fpage.py")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert 'href="page/static/base.css"' in page.text
    assert 'href="../../page/static/base.css"' in of_model.text
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert [one.status_code for one in files.values()] == [200] * 4
    assert files["app.js"].headers["content-type"].startswith("text/javascript")
    assert missing.status_code == 404


async def test_every_answer_has_the_headers_of_a_closed_page(gateway: Gateway) -> None:
    paths = ("/", "/models/deepseek/deepseek-v3.2", "/page/static/app.js", "/page/model.json", "/page/exchanges.json")
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}) as running:
        found = [(await running.client.get(path)).headers for path in paths]
        async with running.client.stream("GET", "/page/events") as events:
            found.append(events.headers)
    for headers in found:
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert not {"script-src", "style-src", "img-src", "connect-src"} & policy.keys(), "nothing wider"
        assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"


async def test_what_a_browser_has_is_not_sent_again(gateway: Gateway) -> None:
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}) as running:
        first = await running.client.get("/page/static/app.js")
        known = {"if-none-match": first.headers["etag"]}
        again = await running.client.get("/page/static/app.js", headers=known)
        other = await running.client.get("/page/static/dom.js", headers=known)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert other.status_code == 200


async def test_open_pages_are_bounded(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_OPEN", 1)
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}) as running:
        async with running.client.stream("GET", "/page/events") as first:
            await anext(first.aiter_bytes())
            refused = await running.client.get("/page/events")
        async with asyncio.timeout(60):
            while await status_of(running) == 503:  # until the gateway has seen that the first one left
                await asyncio.sleep(0.01)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")


async def status_of(running: Running) -> int:
    async with running.client.stream("GET", "/page/events") as events:
        return events.status_code
