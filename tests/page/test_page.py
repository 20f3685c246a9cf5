"""The page as a browser gets it, over a real gateway with scripted hosts."""

import json
import re

import pytest

from gateway.compiled import BUILD
from gateway.telemetry.ledger import read
from gateway.types import PICO
from tests.page.data import data, until
from tests.support.gateway import Gateway
from tests.support.host import ScriptedHost, answers, chunks, completion, streams, usage

KEYS = [{"tenant": "tenant-name", "key": "client-secret-0123456789"}]


async def test_figures_are_those_of_the_ledger(gateway: Gateway) -> None:
    used = usage(prompt=1000, completion=40, cached=400)
    good = streams(chunks("Hello to you", used=used))
    async with (
        ScriptedHost([answers(503, {"error": {"message": "busy"}}), good, good]) as first,
        ScriptedHost([good, good, good]) as second,
        gateway({"a/fp8": first.url, "b/fp8": second.url}) as running,
    ):
        for _ in range(3):
            assert (await running.chat(stream=True)).status_code == 200
        shown = await data(running)
        rows = list(read(running.folder / "ledger"))
    totals, endpoints = shown["totals"], {one["id"]: one for one in shown["models"][0]["endpoints"]}
    assert totals["requests"] == sum(row.last for row in rows) == 3
    assert totals["success"] == 1.0
    assert totals["prompt_tokens"] == sum(row.prompt_tokens for row in rows)
    assert totals["completion_tokens"] == sum(row.completion_tokens for row in rows)
    assert totals["cost_usd"] == pytest.approx(sum(row.cost for row in rows) / PICO)
    for name, one in endpoints.items():
        own = [row for row in rows if row.endpoint == name]
        assert one["attempts"] == len(own)
        assert one["share"] == pytest.approx(len(own) / len(rows))
        assert one["cost_usd"] == pytest.approx(sum(row.cost for row in own) / PICO)
        if any(row.outcome == "ok" for row in own):
            assert one["success"] == pytest.approx(sum(row.outcome == "ok" for row in own) / len(own))
            assert one["cache_hit"] == pytest.approx(0.4)
            assert one["effective_input"] == pytest.approx(0.25 * 0.6 + 0.05 * 0.4)
            assert one["ttft_p50"] > 0
            measured = any(row.throughput is not None for row in own)  # not if all of it came in one piece
            assert (one["throughput_p50"] is not None) == measured
        assert one["in_flight"] == 0
        assert one["state"] == "closed"


async def test_an_exchange_shows_with_all_its_attempts_and_its_plan(gateway: Gateway) -> None:
    failing = answers(500, {"error": {"message": "boom"}})
    async with (
        ScriptedHost(failing) as bad,
        ScriptedHost(answers(200, completion("Hello"))) as good,
        gateway({"bad/fp8": bad.url, "good/fp8": good.url}) as running,
    ):
        reply = await running.chat()
        shown = await data(running)
    (one,) = shown["exchanges"]
    assert one["id"] == reply.headers["x-generation-id"]
    assert (one["policy"], one["endpoint"], one["outcome"], one["status"]) == ("balanced", "good/fp8", "ok", 200)
    assert one["attempts"] == int(reply.headers["x-gateway-attempts"]) == 1 + len(bad.requests)
    assert (one["prompt_tokens"], one["completion_tokens"]) == (10, 5)
    assert one["cost_usd"] == pytest.approx((10 * 0.25 + 5 * 0.5) / 1e6)
    assert {choice["endpoint"] for choice in one["plan"]["ranked"]} == {"bad/fp8", "good/fp8"}
    assert one["plan"]["dropped"] == []


async def test_an_endpoint_that_was_dropped_shows_with_its_reason(gateway: Gateway) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"a/fp8": host.url}, endpoint={"supports": []}) as running,
    ):
        await running.chat(tools=tools)
        (one,) = (await data(running))["exchanges"]
    assert one["outcome"] == "unrouted"
    assert one["endpoint"] == ""
    assert [(drop["endpoint"], drop["rule"]) for drop in one["plan"]["dropped"]] == [("a/fp8", "capability")]


async def test_nothing_secret_is_on_the_page(gateway: Gateway) -> None:
    """Neither keys nor prompts, not even where a host repeats them in its own words."""
    echo = {"error": {"message": "Incorrect API key provided: host-secret", "code": "invalid_api_key"}}
    environ, endpoint = {"HOST_KEY": "host-secret"}, {"api_key_env": "HOST_KEY"}
    async with (
        ScriptedHost(answers(401, echo)) as host,
        gateway({"a/fp8": host.url}, environ=environ, endpoint=endpoint, keys=KEYS) as running,
    ):
        headers = {"authorization": f"Bearer {KEYS[0]['key']}", "x-title": "app-name"}
        await running.chat("prompt-text", headers=headers)
        shown = await until(running, lambda shown: shown["models"][0]["endpoints"][0]["state"] == "open")
        await running.chat("prompt-text", headers=headers)
        shown = await until(running, lambda shown: len(shown["exchanges"]) == 2)
    text = json.dumps(shown)
    assert shown["needs_key"] is True
    assert shown["build"] == BUILD
    assert "account" in shown["models"][0]["endpoints"][0]["why"]
    assert "account" in shown["exchanges"][0]["plan"]["ranked"][0]["behind_because"]
    for secret in ("client-secret", "host-secret", "tenant-name", "app-name", "prompt-text", "Incorrect"):
        assert secret not in text


async def test_a_policy_problem_shows_with_its_place(gateway: Gateway) -> None:
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}) as running:
        assert (await data(running))["policies"]["problems"] == []
        (running.policies / "broken.yaml").write_text("name: broken\nkeepalive: 10\n")
        found = (await until(running, lambda shown: shown["policies"]["problems"]))["policies"]
    assert re.search(r"broken\.yaml:2:\d+: ", found["problems"][0])
    assert "broken" not in {one["name"] for one in found["in_force"]}
    assert found["default"] == "balanced"


async def test_before_the_first_request_every_figure_is_zero_or_unknown(gateway: Gateway) -> None:
    async with ScriptedHost(answers()) as host, gateway({"a/fp8": host.url}) as running:
        shown = await data(running)
    (one,) = shown["models"][0]["endpoints"]
    assert shown["exchanges"] == []
    assert shown["needs_key"] is False
    assert (shown["totals"]["requests"], shown["totals"]["success"], shown["totals"]["ttft_p50"]) == (0, None, None)
    assert (one["attempts"], one["share"], one["success"], one["cost_usd"]) == (0, None, None, 0.0)
    assert one["price"] == {"input": 0.25, "cached_input": 0.05, "output": 0.5, "as_of": "unknown"}
    assert shown["models"][0]["input_usd"] == [0.25, 0.25]


async def test_an_endpoint_without_its_key_says_which_to_set(gateway: Gateway) -> None:
    async with gateway({"a/fp8": "http://127.0.0.1:1"}, endpoint={"provider": "a", "api_key_env": "A_KEY"}) as running:
        (model,) = (await data(running))["models"]
    assert model["endpoints"] == []
    assert model["unused"] == [{"id": "a/fp8", "set": "A_KEY"}]
    assert model["output_usd"] == [0.5, 0.5]


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
