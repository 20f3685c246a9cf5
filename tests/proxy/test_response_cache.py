"""Answers that are asked for again: given from a real store, never in place of a working answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from redis.asyncio import Redis

from gateway.cache.cache_key import PREFIX
from gateway.state.embedded import EmbeddedStore
from gateway.state.folder import StateFolder
from gateway.state.store import GET_WITHIN
from tests.api.openrouter import ask, chunks_of, whole
from tests.proxy.routed import DONE, ROLE, WORD, Routed, chunk, content, data, payloads, rows, says, until
from tests.support.gateway import Running, write_policy
from tests.support.host import ScriptedHost, answers, chunks, completion, streams, usage
from tests.support.valkey import running as valkey_running
from tests.support.wire import wire

ON = {"x-gateway-cache": "on"}
USED = usage(prompt=100, completion=5)


async def stored(url: str) -> None:
    """Wait until an answer is in the store: it is written after the client has it."""
    client = Redis.from_url(url)
    try:
        async with asyncio.timeout(60):
            while not await client.keys(PREFIX + b"*"):
                pass
    finally:
        await client.aclose()


async def connected(running: Running) -> None:
    async with asyncio.timeout(60):
        while (await running.client.get("/health/ready")).json()["store"] != "up":
            pass


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with valkey_running(tmp_path / "valkey") as url:
        yield url


def text_of(response: httpx.Response, stream: bool) -> str:
    return content(response.text) if stream else response.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
async def test_an_answer_is_given_again_in_either_mode(first: bool, second: bool, store: str, routed: Routed) -> None:
    script = streams(chunks("Hello world", used=USED)) if first else answers(200, completion("Hello world", used=USED))
    async with ScriptedHost([script]) as host, routed(host, store=store) as running:
        await connected(running)
        miss = await running.chat(stream=first, headers=ON)
        assert miss.headers["x-gateway-cache"] == "miss"
        await stored(store)
        hit = await running.chat(stream=second, headers=ON)
        assert hit.headers["x-gateway-cache"] == "hit"
        assert hit.headers["x-gateway-endpoint"] == "a/fp8"
        assert hit.headers["x-gateway-attempts"] == "0"
        assert hit.headers["x-generation-id"] != miss.headers["x-generation-id"]
        assert text_of(hit, second) == "Hello world"
        ids = {one["id"] for one in payloads(hit.text)} if second else {hit.json()["id"]}
        assert ids == {hit.headers["x-generation-id"]}
        paid = payloads(hit.text)[-1]["usage"] if second else hit.json()["usage"]
        assert (paid["cost"], paid["prompt_tokens"]) == (0, 100)
        assert not second or hit.text.endswith("data: [DONE]\n\n")
        row = rows(running)[-1]
        assert (row.outcome, row.cache, row.cost, row.last, row.client_status) == ("cached", "hit", 0, True, 200)
        assert await running.metric("gateway_cache_requests_total", result="hit") == 1
        assert await running.metric("gateway_cache_requests_total", result="miss") == 1
        assert len(host.requests) == 1


async def test_the_policy_may_cache_and_the_header_may_not(store: str, routed: Routed) -> None:
    scripts = [answers(200, completion(text)) for text in ("one", "two", "three")]
    async with ScriptedHost(scripts) as host, routed(host, store=store, cache={"ttl": "5m"}) as running:
        await connected(running)
        await running.chat()
        await stored(store)
        assert text_of(await running.chat(), False) == "one"
        past = await running.chat(headers={"x-gateway-cache": "no-store"})
        assert (past.headers["x-gateway-cache"], text_of(past, False)) == ("off", "two")
        anew = await running.chat(headers={"x-gateway-cache": "refresh"})
        assert (anew.headers["x-gateway-cache"], text_of(anew, False)) == ("refresh", "three")
        async with asyncio.timeout(60):
            while text_of(await running.chat(), False) != "three":
                pass


async def test_tenants_do_not_share(store: str, routed: Routed) -> None:
    keys = {"GATEWAY_API_KEYS": "one:sk-one-0123456789abcdef,two:sk-two-0123456789abcdef"}
    async with (
        ScriptedHost([answers(200, completion("for one")), answers(200, completion("for two"))]) as host,
        routed(host, store=store, settings={"environ": keys}) as running,
    ):
        await connected(running)
        one = {"authorization": "Bearer sk-one-0123456789abcdef", **ON}
        two = {"authorization": "Bearer sk-two-0123456789abcdef", **ON}
        await running.chat(headers=one)
        await stored(store)
        assert text_of(await running.chat(headers=two), False) == "for two"
        assert text_of(await running.chat(headers=one), False) == "for one"


async def test_a_policy_that_constrains_endpoints_does_not_share(store: str, routed: Routed, tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    write_policy(policies, "only-a", require={"only": ["a/fp8"]}, cache={"ttl": "5m"})
    write_policy(policies, "only-b", require={"only": ["b/fp8"]}, cache={"ttl": "5m"})
    async with (
        ScriptedHost(answers(200, completion("from a"))) as a,
        ScriptedHost(answers(200, completion("from b"))) as b,
        routed(a, b, store=store) as running,
    ):
        await connected(running)
        assert text_of(await running.chat(model="deepseek-v3.2:only-a"), False) == "from a"
        await stored(store)
        assert text_of(await running.chat(model="deepseek-v3.2:only-b"), False) == "from b"
        again = await running.chat(model="deepseek-v3.2:only-a")
        assert (again.headers["x-gateway-cache"], text_of(again, False)) == ("hit", "from a")


UNCLEAN = {
    "length": says(ROLE, WORD, chunk({}, "length"), DONE),
    "a cut": says(ROLE, WORD, then="cut"),
    "an error in the stream": says(ROLE, WORD, data({"error": {"message": "overloaded"}})),
    "an error": answers(400, {"error": {"message": "messages: wrong"}}),
    "an unclean end": says(ROLE, WORD, chunk({}, "insufficient_system_resource"), DONE),
}


@pytest.mark.parametrize("case", UNCLEAN)
async def test_what_did_not_end_well_is_not_given_again(case: str, store: str, routed: Routed) -> None:
    good = streams(chunks("Hello"))
    async with ScriptedHost([UNCLEAN[case], good, good]) as host, routed(host, store=store) as running:
        await connected(running)
        await running.chat(stream=True, headers=ON)
        again = await running.chat(stream=True, headers=ON)
        assert (again.headers["x-gateway-cache"], content(again.text)) == ("miss", "Hello")
        await stored(store)
        assert (await running.chat(stream=True, headers=ON)).headers["x-gateway-cache"] == "hit"


async def test_tool_calls_are_given_again_whole(store: str, routed: Routed) -> None:
    parts = [
        chunk({"role": "assistant", "content": None}),
        chunk(
            {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]}
        ),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
    ]
    async with (
        ScriptedHost([says(*parts, chunk({}, "tool_calls"), DONE)]) as host,
        routed(host, store=store) as running,
    ):
        await connected(running)
        await running.chat(stream=True, headers=ON)
        await stored(store)
        whole = (await running.chat(headers=ON)).json()["choices"][0]
        assert whole["finish_reason"] == "tool_calls"
        assert json.loads(whole["message"]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}


# --- a store in trouble: always the host's answer, never an error


async def test_a_store_that_is_down(routed: Routed) -> None:
    async with ScriptedHost(answers(200, completion("Hello"))) as host, routed(host) as running:
        for _ in range(2):
            response = await running.chat(headers=ON)
            assert (response.headers["x-gateway-cache"], text_of(response, False)) == ("miss", "Hello")


async def test_a_store_that_ends_and_comes_back(routed: Routed, tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "valkey")
    folder.open()
    server = EmbeddedStore(folder)
    url = server.start()
    async with ScriptedHost(answers(200, completion("Hello"))) as host, routed(host, store=url) as running:
        await connected(running)
        await running.chat(headers=ON)
        await stored(url)
        server.stop()
        response = await running.chat(headers=ON)
        assert (response.headers["x-gateway-cache"], text_of(response, False)) == ("miss", "Hello")
        server.start()
        await connected(running)
        async with asyncio.timeout(60):  # a store that has just begun may be slower than a lookup waits
            while (await running.chat(headers=ON)).headers["x-gateway-cache"] != "hit":
                pass
    server.stop()
    folder.close()


@pytest.fixture
async def held(store: str) -> AsyncIterator[Any]:
    async with wire(store) as between:
        yield between


async def test_a_store_that_does_not_answer_is_not_waited_for(held: Any, routed: Routed) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        routed(host, store=held.url, lookup=GET_WITHIN) as running,
    ):
        await connected(running)
        held.hold()
        response = await running.chat(headers=ON)
        assert (response.headers["x-gateway-cache"], text_of(response, False)) == ("miss", "Hello")
        held.release()


async def test_a_client_that_leaves_while_the_store_is_read(held: Any, routed: Routed) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        routed(host, store=held.url, lookup=GET_WITHIN) as running,
    ):
        await connected(running)
        held.hold()
        where = urlsplit(running.url)
        _, writer = await asyncio.open_connection(where.hostname, where.port)
        body = b'{"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}]}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: [::1]\r\nx-gateway-cache: on\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        writer.close()
        await writer.wait_closed()
        await until(lambda: len(rows(running)) == 1)
        assert (rows(running)[0].outcome, rows(running)[0].cache) == ("cancelled", "miss")
        held.release()


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
async def test_openrouters_clients_get_it_again_in_their_shape(
    first: bool, second: bool, store: str, routed: Routed
) -> None:
    said = {"reasoning": "Hm", "used": USED}
    script = streams(chunks("Hello world", **said)) if first else answers(200, completion("Hello world", **said))
    on = {"x-openrouter-cache": "true", "x-openrouter-cache-ttl": "60", "x-openrouter-metadata": "enabled"}
    async with ScriptedHost([script, answers(200, completion("Other"))]) as host, routed(host, store=store) as running:
        await connected(running)
        miss = await ask(running, stream=first, headers=on)
        assert miss.headers["x-openrouter-cache-status"] == "MISS"
        assert "openrouter_metadata" in miss.text
        await stored(store)
        hit = await ask(running, stream=second, headers=on)
        assert hit.headers["x-openrouter-cache-status"] == "HIT"
        assert int(hit.headers["x-openrouter-cache-age"]) >= 0
        assert "openrouter_metadata" not in hit.text
        found = chunks_of(hit) if second else [whole(hit)]
        used = found[-1]["usage"]
        assert {used["prompt_tokens"], used["total_tokens"], used["cost"], *used["cost_details"].values()} == {0}
        assert {one["provider"] for one in found} == {"vLLM"}
        assert text_of(hit, second) == "Hello world"
        (end,) = [one for part in found for one in part["choices"] if one["finish_reason"]]
        assert (end["finish_reason"], end["native_finish_reason"]) == ("stop", "stop")
        reasons = [choice.get("delta", choice.get("message")) for part in found for choice in part["choices"]]
        assert [one["reasoning"] for one in reasons if one.get("reasoning")] == ["Hm"]
        assert [one["reasoning_details"][0]["text"] for one in reasons if one.get("reasoning_details")] == ["Hm"]
        other = await running.chat(headers=ON, reasoning=None)
        assert other.headers["x-gateway-cache"] == "miss", "another surface's answer has another shape"
