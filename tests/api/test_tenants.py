"""Two tenants of one gateway: what one of them sends, the other cannot find out."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.config import load
from gateway.intake.prefix import known_by
from gateway.intake.prompt import read_prompt
from gateway.types import Policy
from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.host import ScriptedHost, answers, completion, usage

PROMPT = "The merger closes on the 14th. " * 300
A, B = {"authorization": "Bearer key-of-a"}, {"authorization": "Bearer key-of-b"}


@pytest.fixture
async def running(gateway: Gateway, valkey: str) -> AsyncIterator[Running]:
    hit = usage(prompt=2_500, cached=2_400)
    async with ScriptedHost(answers(200, completion("It does.", used=hit))) as host:
        endpoint = {"api_key_env": "HOST_KEY", "cache": {"automatic": True, "ttl": "1h"}}
        environ = {"GATEWAY_API_KEYS": "a:key-of-a,b:key-of-b", "HOST_KEY": "host-secret"}
        async with gateway({"x/fp8": host.url}, environ=environ, endpoint=endpoint, store=valkey) as running:
            yield running


async def explained(running: Running, headers: dict[str, str], content: str = PROMPT) -> dict[str, Any]:
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": content}]}
    answer = await running.client.post("/v1/explain", json=body, headers=headers)
    (ranked,) = answer.json()["ranked"]
    return {name: value for name, value in ranked.items() if name in ("expected_cached_share", "input_usd")}


@DIRECT_ONLY  # tenants are told apart behind the sinks
async def test_explain_does_not_tell_what_another_tenant_sent(running: Running) -> None:
    before = await explained(running, B)
    for _ in range(3):
        assert (await running.chat(PROMPT, headers=A)).status_code == 200
    assert (await explained(running, A))["expected_cached_share"] > 0.5, "the test would notice"
    after = await explained(running, B)
    assert after["expected_cached_share"] == before["expected_cached_share"] == 0
    assert after["input_usd"] == pytest.approx(before["input_usd"], rel=0.05)  # tokens per byte, over all requests
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": PROMPT}]}
    plan = (
        await running.client.post("/v1/chat/completions", json=body, headers=B | {"x-gateway-explain": "on"})
    ).headers
    assert plan["x-gateway-plan"].endswith(" 0%")


@DIRECT_ONLY
async def test_nothing_that_one_tenant_stored_is_found_by_another(running: Running) -> None:
    made = await running.chat("Hi", headers=A)
    answer = await running.client.post("/v1/responses", json={"model": "deepseek-v3.2", "input": "Hi"}, headers=A)
    name, generation = answer.json()["id"], made.headers["x-generation-id"]

    async def status(path: str, headers: dict[str, str], method: str = "GET", **more: Any) -> int:
        return (await running.client.request(method, path, headers=headers, **more)).status_code

    assert await status(f"/api/v1/generation?id={generation}", A) == 200
    assert await status(f"/api/v1/generation?id={generation}", B) == 404
    async with asyncio.timeout(60):  # it is kept in the background
        while await status(f"/v1/responses/{name}", A) != 200:
            await asyncio.sleep(0.02)
    following = {"model": "deepseek-v3.2", "input": "And?", "previous_response_id": name}
    assert await status("/v1/responses", B, "POST", json=following) == 400
    for path in (f"/v1/responses/{name}", f"/v1/responses/{name}/input_items"):
        assert await status(path, B) == 404
    assert await status(f"/v1/responses/{name}", B, "DELETE") == 404
    assert await status("/v1/responses", A, "POST", json=following) == 200
    assert await status(f"/v1/responses/{name}", A, "DELETE") == 200


@DIRECT_ONLY
async def test_an_answer_of_one_tenant_is_not_in_the_cache_for_another(running: Running) -> None:
    async def found(headers: dict[str, str]) -> str:
        answer = await running.chat(PROMPT, headers=headers | {"x-gateway-cache": "on"})
        return answer.headers["x-gateway-cache"]

    assert await found(A) == "miss"
    async with asyncio.timeout(60):
        while await found(A) != "hit":
            await asyncio.sleep(0.02)
    assert await found(B) == "miss"


def test_a_tenant_cannot_write_a_prompt_with_the_hash_of_anothers() -> None:
    """xxh3 of a short text can be inverted, and its seed is the hash before: without a secret in front, the two chains
    of this test could be made to meet."""
    settings = [load(None, {"NOVITA_API_KEY": key}) for key in ("one", "one", "other")]
    salts = [one.salt for one in settings]
    assert salts[0] == salts[1] != salts[2], "replicas share it, and it depends on what clients do not know"
    prompt = read_prompt({"messages": [{"role": "user", "content": PROMPT}]})
    first = [known_by(Policy("p"), f"{salt}a", "", prompt, False, 4.0)[0][0] for salt in salts]
    guessed = known_by(Policy("p"), "a", "", prompt, False, 4.0)[0][0]
    assert first[0] == first[1] != first[2]
    assert guessed not in first
