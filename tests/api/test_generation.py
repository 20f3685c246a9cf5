"""What became of a request. This route is Starlette's over either sink, so one of them is enough."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.api.generation import generation as described
from tests.support.gateway import DIRECT_ONLY, Gateway, Running, gateway_command
from tests.support.host import ScriptedHost, answers, chunks, completion, streams
from tests.support.rows import cached_row, row

KEYS = {"GATEWAY_API_KEYS": "team:secret-of-the-team,other:secret-of-others"}
TEAM = {"authorization": "Bearer secret-of-the-team"}
OTHERS = {"authorization": "Bearer secret-of-others"}


async def generation(running: Running, name: str, status: int = 200, **headers: str) -> Any:
    answer = await running.client.get("/api/v1/generation", params={"id": name}, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


@DIRECT_ONLY
async def test_it_is_there_when_the_answer_is_and_has_every_attempt(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(500, {"error": {"message": "sorry"}})) as bad,
        ScriptedHost(streams(chunks("Hello"))) as good,
        gateway({"bad/fp8": bad.url, "good/fp8": good.url}) as running,
    ):
        wanted = {"order": ["bad/fp8", "good/fp8"]}
        answer = await running.chat(stream=True, provider=wanted, headers={"x-title": "An app"})
        told = (await generation(running, answer.headers["x-generation-id"]))["data"]
    assert told["id"] == answer.headers["x-generation-id"]
    assert told["streamed"] is True
    assert told["cancelled"] is False
    assert told["finish_reason"] == "stop"
    assert told["origin"] == "An app"
    assert told["total_cost"] == told["usage"] > 0
    assert told["latency"] <= told["generation_time"]
    assert [
        (one["endpoint_id"], one["status"], one["outcome"], one["error"]) for one in told["provider_responses"]
    ] == [("bad/fp8", 500, "server", "sorry"), ("good/fp8", 200, "ok", None)]


def test_each_attempt_has_the_time_to_its_first_token_or_to_its_end() -> None:
    rows = [row(outcome="server", status=500, ttft=None, duration=0.7, last=False), row(ttft=0.5, duration=2.0)]
    assert [one.latency for one in described(rows, {}).provider_responses] == [700, 500]


def test_it_is_what_the_rows_say() -> None:
    rows = [
        row(outcome="cut", status=0, error="it broke off", cost=1_000_000, last=False, provider="novita"),
        row(id="gen-9-2", exchange="gen-9", attempt=2, endpoint="a/fp8", cost=2_000_000, app="https://app.example"),
    ]
    found = described(rows, {"a/fp8": "Host A"})
    assert (found.id, found.model, found.router) == ("gen-9", "deepseek/deepseek-v3.2", "balanced")
    assert (found.total_cost, found.usage, found.upstream_inference_cost) == (3e-6, 3e-6, 3e-6)
    assert found.created_at == "2025-11-21T22:34:57.400Z", "when the request came, 0.6 s before it was sent"
    assert (found.streamed, found.cancelled, found.provider_name) == (True, False, "Host A")
    assert (found.latency, found.generation_time) == (600, 2_600)
    assert (found.tokens_prompt, found.tokens_completion) == (1_000, 101)
    assert (found.native_tokens_prompt, found.native_tokens_completion) == (1_000, 101)
    assert (found.native_tokens_reasoning, found.native_tokens_cached) == (20, 400)
    assert (found.origin, found.http_referer) == ("https://app.example", "https://app.example")
    first, second = found.provider_responses
    assert (first.endpoint_id, first.provider_name, first.status, first.error) == (
        "novita/fp8",
        "novita",
        None,
        "it broke off",
    )
    assert (second.id, second.provider_name, second.status, second.error) == ("gen-9-2", "Host A", 200, None)


def test_an_answer_of_the_response_cache_was_no_hosts() -> None:
    found = described([cached_row(app="A title", finish_reason="")], {})
    assert (found.provider_name, found.provider_responses) == (None, [])
    assert (found.finish_reason, found.http_referer, found.total_cost) == (None, None, 0)
    assert (found.latency, found.generation_time) == (1, 2)


def test_one_that_its_client_left_was_cancelled() -> None:
    found = described([row(outcome="cancelled", client_status=499, client_ttft=None, stream=True)], {})
    assert (found.cancelled, found.provider_name, found.latency) == (True, None, None)


@DIRECT_ONLY
async def test_one_that_was_not_streamed_has_no_first_token(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"own/fp8": host.url}) as running,
    ):
        answer = await running.chat()
        told = (await generation(running, answer.headers["x-generation-id"]))["data"]
    assert (told["streamed"], told["latency"]) == (False, None)
    assert told["generation_time"] is not None


@DIRECT_ONLY
async def test_one_that_no_host_could_answer(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(500, {"error": {"message": "sorry"}})) as host,
        gateway({"own/fp8": host.url}) as running,
    ):
        answer = await running.chat()
        assert answer.status_code == 503
        told = (await generation(running, answer.headers["x-generation-id"]))["data"]
    assert told["provider_name"] is None
    assert {one["status"] for one in told["provider_responses"]} == {500}


@DIRECT_ONLY
async def test_only_who_made_it_may_see_it(gateway: Gateway, valkey: str) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway({"own/fp8": host.url}, environ=KEYS, store=valkey) as running,
    ):
        name = (await running.chat(headers=TEAM)).headers["x-generation-id"]
        assert (await generation(running, name, **TEAM))["data"]["id"] == name
        denied = await generation(running, name, 404, **OTHERS)
        unknown = await generation(running, f"gen-{name[4:14]}-{0:020x}", 404, **OTHERS)
        await generation(running, name, 401)
    assert denied["error"]["message"].replace(name, "") == unknown["error"]["message"].replace(
        f"gen-{name[4:14]}-{0:020x}", ""
    )


@DIRECT_ONLY
@pytest.mark.parametrize("name", ["gen-1-0", "chatcmpl-1", "gen-1763764498-" + "f" * 20])
async def test_one_that_never_was(gateway: Gateway, valkey: str, name: str) -> None:
    async with gateway({"own/fp8": "http://127.0.0.1:1"}, store=valkey) as running:
        assert "there is no generation" in (await generation(running, name, 404))["error"]["message"]


@DIRECT_ONLY
async def test_without_a_store_other_machines_cannot_be_queried(gateway: Gateway) -> None:
    async with gateway({"own/fp8": "http://127.0.0.1:1"}) as running:
        assert "are unknown" in (await generation(running, "gen-1763764498-0a", 503))["error"]["message"]
        assert "`id` must be" in (await generation(running, "", 400))["error"]["message"]


@DIRECT_ONLY
async def test_one_that_another_machine_served(gateway: Gateway, valkey: str) -> None:
    """Its ledger is not here; its rows reach the store."""
    async with ScriptedHost(answers(200, completion("Hello"))) as host:
        async with gateway({"own/fp8": host.url}, store=valkey) as running:
            name = (await running.chat()).headers["x-generation-id"]
        for segment in (running.folder / "ledger").glob("*.jsonl"):
            segment.unlink()
        async with gateway({"own/fp8": host.url}, store=valkey) as running:
            assert (await generation(running, name))["data"]["id"] == name


async def test_any_worker_knows_it_at_once(tmp_path: Path) -> None:
    """Over fresh connections, which the kernel hands to either worker, until both have served and more."""
    fresh = {"connection": "close"}
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        gateway_command(tmp_path, {"own/fp8": host.url}, "--workers", "2") as running,
        asyncio.timeout(60),
    ):
        ledger = running.folder / "ledger"
        rounds = 0
        while rounds < 10 or len(list(ledger.glob("*.jsonl"))) < 2:
            name = (await running.chat(headers=fresh)).headers["x-generation-id"]
            looked_up = [generation(running, name, **fresh) for _ in range(4)]
            assert {told["data"]["id"] for told in await asyncio.gather(*looked_up)} == {name}
            rounds += 1
