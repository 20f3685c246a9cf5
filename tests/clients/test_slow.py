"""Clients that give up after five seconds of silence get answers that take longer: signs of life come in between."""

import asyncio

import pytest

from tests.clients.app import KEY, told
from tests.clients.sdks import command_of
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams

TAKES = 5.5  # seconds; the SDKs' own limit for a read is 5


async def slow(request: Received, out: Out) -> None:
    await asyncio.sleep(TAKES)
    await (streams(chunks("Hello")) if request.json().get("stream") else answers(200, completion("Hello")))(
        request, out
    )


@DIRECT_ONLY  # that both sinks say the same is shown elsewhere, and this takes its time
@pytest.mark.parametrize(
    ("sdk", "script"),
    [("openrouter", "slow_openrouter.py"), ("langchain-openrouter", "slow_langchain_openrouter.py")],
)
async def test_an_answer_may_take_longer_than_a_client_waits_for_a_byte(
    gateway: Gateway, sdk: str, script: str
) -> None:
    command = command_of(sdk, script)
    async with (
        ScriptedHost(slow) as host,
        gateway({"own/fp8": host.url}, environ={"GATEWAY_API_KEYS": f"app:{KEY}"}) as running,
    ):
        assert await told(*command, f"{running.url}/api/v1", KEY) == ["Hello", "Hello"]
    assert len(host.requests) == 2, "nothing was asked twice"
