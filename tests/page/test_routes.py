"""The page's routes over a real gateway with scripted hosts, each against the type that is its contract."""

import asyncio
import json
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest

from gateway.page.page_types import ExchangeDetail, ExchangePage, ShownModel
from tests.page.data import GUARD
from tests.support.gateway import DIRECT_ONLY, Gateway, Running, write_policy
from tests.support.host import ScriptedHost, answers, chunks, completion, streams

pytestmark = DIRECT_ONLY  # the page's routes are Starlette's over either sink
KEYS = [{"tenant": "tenant-name", "key": "client-secret-0123456789"}]
MODEL = "deepseek/deepseek-v3.2"
T = TypeVar("T")


async def got(running: Running, path: str, answer: type[T], **query: Any) -> T:
    """The answer, which must have exactly the fields of its type."""
    response = await running.client.get(path, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-security-policy"].startswith("default-src 'self'")
    return msgspec.json.decode(response.content, type=answer)


async def model(running: Running) -> ShownModel:
    """As of now: answers are made once a second."""
    await asyncio.sleep(1)
    return await got(running, "/page/model.json", ShownModel, model=MODEL)


async def test_a_model_with_its_endpoints_policies_and_picks(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"a/fp8": host.url, "b/fp8": host.url}) as running,
    ):
        await running.chat()
        shown = await got(running, "/page/model.json", ShownModel, model=MODEL)
        alias = await got(running, "/page/model.json", ShownModel, model="deepseek-v3.2")
        unknown = await running.client.get("/page/model.json", params={"model": "no/model"})
    assert (shown.model.id, shown.model.context, shown.model.needs_key) == (MODEL, 163_840, False)
    assert shown.model.reasoning is not None
    assert {one.source for one in shown.model.capabilities} == {"catalogue or gateway.yaml: 2 of 2 endpoints"}
    assert shown.model.price.input == (0.25, 0.25)
    assert [(one.id, one.state, one.why) for one in shown.endpoints] == [
        ("a/fp8", "in use", ""),
        ("b/fp8", "in use", ""),
    ]
    assert set(shown.picks) == {one.name for one in shown.policies.in_force} >= {"balanced", "nitro", "floor", "exacto"}
    for pick in shown.picks.values():
        assert pick.why
        assert len(pick.ranked) + len(pick.dropped) == 2
        assert pick.endpoint == (pick.ranked[0].endpoint if pick.ranked else None)
    assert shown.about.profile is not None
    assert {one.name for one in shown.scores} >= {"SWE-bench Verified"}
    assert alias.model.id == MODEL
    assert unknown.status_code == 404


async def test_a_refused_endpoint_is_set_back_and_never_the_one_that_answered(gateway: Gateway) -> None:
    """It says the key is wrong: after the probe its breaker is open, with the reason and the time."""
    refused = answers(401, {"error": {"message": "Incorrect API key provided: host-secret"}})
    async with ScriptedHost(refused) as host, gateway({"a/fp8": host.url}) as running:
        await running.chat()
        async with asyncio.timeout(GUARD):
            while (shown := await model(running)).endpoints[0].state != "set back":
                pass
        page = await got(running, "/page/exchanges.json", ExchangePage, kind="failed")
    (endpoint,) = shown.endpoints
    assert endpoint.why == "after a refused account 401"
    assert endpoint.until is not None
    assert endpoint.until > shown.at
    (exchange,) = page.exchanges
    assert (exchange.endpoint, exchange.endpoints, exchange.outcome) == (None, ["a/fp8"], "account")


async def test_what_is_missing_is_said(gateway: Gateway) -> None:
    fields = {"provider": "a", "api_key_env": "A_KEY"}
    async with gateway({"a/fp8": "http://127.0.0.1:1"}, endpoint=fields) as running:
        shown = await got(running, "/page/model.json", ShownModel)
    (endpoint,) = shown.endpoints
    assert (endpoint.state, endpoint.why, endpoint.set) == ("unused", "set A_KEY", "A_KEY")
    assert shown.picks["balanced"].endpoint is None
    assert shown.picks["balanced"].why == "none is in use"


async def test_an_exchange_with_its_attempts_and_plan_also_after_a_restart(
    gateway: Gateway, valkey: str, tmp_path: Path
) -> None:
    order = {"how": "order", "order": ["bad/fp8", "good/fp8"]}
    write_policy(tmp_path / "policies", "ordered", pick=order, attempts={"retries": 0})
    busy = answers(503, {"error": {"message": "overloaded"}})
    async with ScriptedHost(busy) as bad, ScriptedHost(answers(200, completion("Hello"))) as good:
        hosts = {"bad/fp8": bad.url, "good/fp8": good.url}
        async with gateway(hosts, store=valkey) as running:
            await running.chat(headers={"x-title": "App", "x-gateway-policy": "ordered"})
            page = await got(running, "/page/exchanges.json", ExchangePage, kind="retried,failed", app="App")
            name = page.exchanges[0].id
            before = await got(running, f"/page/exchanges/{name}.json", ExchangeDetail)
        async with gateway(hosts, store=valkey) as running:
            again = await got(running, "/page/exchanges.json", ExchangePage, endpoint="bad/fp8", model=MODEL)
            after = await got(running, f"/page/exchanges/{name}.json", ExchangeDetail)
    assert name in {one.id for one in again.exchanges}
    assert after.exchange == before.exchange
    assert after.attempts == before.attempts
    assert [(one.endpoint, one.outcome, one.said, one.won) for one in after.attempts] == [
        ("bad/fp8", "server", "overloaded", False),
        ("good/fp8", "ok", None, True),
    ]
    for found in (before, after):
        assert found.plan is not None
        assert {choice["endpoint"] for choice in found.plan["ranked"]} == {"bad/fp8", "good/fp8"}


async def test_an_older_exchange_comes_from_the_ledger(gateway: Gateway, valkey: str) -> None:
    async with ScriptedHost(answers(200, completion("Hello"))) as host:
        async with gateway({"a/fp8": host.url}) as running:
            name = (await running.chat()).headers["x-generation-id"]
        async with gateway({"a/fp8": host.url}) as running:  # without a store, nothing else remembers it
            found = await got(running, f"/page/exchanges/{name}.json", ExchangeDetail)
            unknown = await running.client.get("/page/exchanges/gen-1-abc.json")
        async with gateway({"a/fp8": host.url}, store=valkey) as running:
            missing = await running.client.get("/page/exchanges/gen-1-abc.json")
    assert (found.exchange.id, found.exchange.endpoint, found.plan) == (name, "a/fp8", None)
    assert (unknown.status_code, missing.status_code) == (503, 404)


async def test_pages_of_the_list_and_what_is_no_filter(gateway: Gateway) -> None:
    async with ScriptedHost(answers(200, completion("Hello"))) as host, gateway({"a/fp8": host.url}) as running:
        for _ in range(5):
            await running.chat()
        first = await got(running, "/page/exchanges.json", ExchangePage, limit=3)
        rest = await got(running, "/page/exchanges.json", ExchangePage, limit=3, before=first.exchanges[-1].id)
        none = await got(running, "/page/exchanges.json", ExchangePage, policy="nitro")
        wrong = [
            await running.client.get("/page/exchanges.json", params=one) for one in ({"kind": "odd"}, {"limit": "0"})
        ]
    assert (len(first.exchanges), first.more) == (3, True)
    assert (len(rest.exchanges), rest.more) == (2, False)
    ended = [one.ended for one in (*first.exchanges, *rest.exchanges)]
    assert ended == sorted(ended, reverse=True)
    assert none.exchanges == []
    assert [one.status_code for one in wrong] == [400, 400]


async def test_events_tell_what_changes(gateway: Gateway) -> None:
    async with (
        ScriptedHost(streams(chunks("Hello"))) as host,
        gateway({"a/fp8": host.url}) as running,
        running.client.stream("GET", "/page/events", params={"model": MODEL}) as stream,
    ):
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["content-encoding"] == "gzip"
        lines = stream.aiter_lines()
        state = await event(lines, "state")
        name = (await running.chat(stream=True)).headers["x-generation-id"]
        exchange = await event(lines, "exchange")
    assert state["endpoints"]["a/fp8"]["state"] == "in use"
    assert set(state["picks"]) >= {"balanced", "nitro"}
    assert (exchange["id"], exchange["endpoint"]) == (name, "a/fp8")


async def event(lines: Any, wanted: str) -> Any:
    """The data of the next event of this name."""
    async with asyncio.timeout(GUARD):
        name = ""
        async for line in lines:
            field, _, value = line.partition(": ")
            if field == "data" and name == wanted:
                return json.loads(value)
            name = value if field == "event" else name
    raise AssertionError("the stream ended")


async def test_the_events_end_when_the_worker_stops(gateway: Gateway) -> None:
    async with httpx.AsyncClient(timeout=GUARD) as client, ScriptedHost(answers()) as host:
        async with gateway({"a/fp8": host.url}) as running:
            request = client.build_request("GET", f"{running.url}/page/events")
            stream = await client.send(request, stream=True)
        async with asyncio.timeout(GUARD):
            assert b"event: state" in b"".join([part async for part in stream.aiter_bytes()])


async def test_large_answers_are_compressed_for_those_that_take_it(gateway: Gateway) -> None:
    async with gateway({"a/fp8": "http://127.0.0.1:1"}) as running:
        for accepted, encoding in [("gzip", "gzip"), ("br, gzip;q=0", None), ("identity", None)]:
            response = await running.client.get("/page/model.json", headers={"accept-encoding": accepted})
            assert response.headers.get("content-encoding") == encoding
            assert response.headers["vary"] == "accept-encoding"
            assert response.json()["model"]["id"] == MODEL


async def test_each_model_has_its_page(gateway: Gateway) -> None:
    async with gateway({"a/fp8": "http://127.0.0.1:1"}) as running:
        page = await running.client.get(f"/models/{MODEL}")
        home = await running.client.get("/")
        unknown = await running.client.get("/models/no/model")
    assert page.text.replace('="../../', '="') == home.text  # files are found from either path
    assert (page.headers["content-type"], unknown.status_code) == ("text/html; charset=utf-8", 404)


async def test_nothing_secret_is_in_any_answer(gateway: Gateway) -> None:
    """Neither keys nor prompts nor tenants, not even where a host repeats them in its own words."""
    echo = {"error": {"message": "overloaded: prompt-text tenant-name host-secret client-secret-0123456789"}}
    environ, endpoint = {"HOST_KEY": "host-secret"}, {"api_key_env": "HOST_KEY"}
    async with (
        ScriptedHost(answers(503, echo)) as host,
        gateway({"a/fp8": host.url}, environ=environ, endpoint=endpoint, keys=KEYS) as running,
    ):
        headers = {
            "authorization": f"Bearer {KEYS[0]['key']}",
            "http-referer": "https://u:url-secret@app.example/?k=url-secret",
        }
        await running.chat("prompt-text", headers=headers)
        page = await got(running, "/page/exchanges.json", ExchangePage)
        texts = [
            (await running.client.get(path)).text
            for path in ("/page/model.json", "/page/exchanges.json", f"/page/exchanges/{page.exchanges[0].id}.json")
        ]
    assert page.exchanges[0].app == "https://app.example/"
    assert "overloaded" in texts[2]
    for secret in ("client-secret", "host-secret", "tenant-name", "prompt-text", "url-secret"):
        assert secret not in "".join(texts)


@pytest.mark.parametrize("name", ["..%2Fpage.py", "nothing.js"])
async def test_there_is_no_other_file(gateway: Gateway, name: str) -> None:
    async with gateway({"a/fp8": "http://127.0.0.1:1"}) as running:
        assert (await running.client.get(f"/page/static/{name}")).status_code == 404
