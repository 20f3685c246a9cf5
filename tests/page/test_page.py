"""The page as a browser gets it, over a real gateway with scripted hosts."""

import re

from tests.page.data import data, until
from tests.support.gateway import Gateway
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
