"""Saving a policy switches traffic; a broken file changes nothing and is counted."""

import asyncio

import pytest

from tests.proxy.routed import FIXED, Routed, error
from tests.support.gateway import Running, write_policy
from tests.support.host import ScriptedHost, answers, completion

ANSWER = answers(200, completion("Hello"))


async def reloads(running: Running, result: str, count: int) -> None:
    async with asyncio.timeout(60):
        while await running.metric("gateway_policy_reloads_total", result=result) < count:
            pass


async def served_by(running: Running, policy: str = "test") -> str:
    return (await running.chat(model=f"deepseek-v3.2:{policy}")).headers["x-gateway-endpoint"]


async def test_an_edit_takes_effect_and_a_broken_one_does_not(routed: Routed) -> None:
    async with ScriptedHost(ANSWER) as a, ScriptedHost(ANSWER) as b, routed(a, b) as running:
        assert await served_by(running) == "a/fp8"
        write_policy(running.policies, "test", **FIXED, require={"only": ["b/fp8"]})
        await reloads(running, "ok", 1)
        assert await served_by(running) == "b/fp8"

        (running.policies / "test.yaml").write_text("name: test\nrequire: {only: [a/fp8]}\ntimeouts: {gap: 30}\n")
        await reloads(running, "rejected", 1)
        assert await served_by(running) == "b/fp8", "the old policy stays in force"
        (problem,) = (await running.client.get("/health/ready")).json()["policy_problems"]
        assert "test.yaml:3" in problem
        assert "gap" in problem

        write_policy(running.policies, "test", **FIXED, require={"only": ["a/fp8"]})
        await reloads(running, "ok", 2)
        assert await served_by(running) == "a/fp8"
        assert (await running.client.get("/health/ready")).json()["policy_problems"] == []


async def test_a_policy_without_a_usable_endpoint_is_in_force_and_warned_of(
    routed: Routed, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedHost(ANSWER) as a, routed(a) as running:
        write_policy(running.policies, "test", require={"quantization": ["bf16"]})
        await reloads(running, "ok", 1)
        assert (await running.chat()).status_code == 404
        path = running.policies / "test.yaml"
        assert f"{path}: no endpoint of deepseek/deepseek-v3.2 in use meets its require.quantization" in caplog.text


async def test_a_new_policy_can_be_requested_and_a_removed_one_cannot(routed: Routed) -> None:
    async with ScriptedHost(ANSWER) as a, ScriptedHost(ANSWER) as b, routed(a, b) as running:
        assert (await running.chat(model="deepseek-v3.2:mine")).status_code == 404
        write_policy(running.policies, "mine", require={"only": ["b/fp8"]})
        await reloads(running, "ok", 1)
        assert await served_by(running, "mine") == "b/fp8"
        (running.policies / "mine.yaml").unlink()
        await reloads(running, "ok", 2)
        response = await running.chat(model="deepseek-v3.2:mine")
        assert error(response)["code"] == "policy_not_found"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_under_way_keeps_its_policy(stream: bool, routed: Routed) -> None:
    """A policy that is removed while its request fails over still says where to go next."""
    async with ScriptedHost(answers(500, {})) as a, ScriptedHost(ANSWER) as b, routed(a, b) as running:
        asked = asyncio.create_task(running.chat(stream=stream))
        await a.until(lambda: bool(a.requests))
        (running.policies / "test.yaml").unlink()
        response = await asked
        assert response.headers["x-gateway-attempts"] == "2"
