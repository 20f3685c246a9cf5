"""What is left of an attempt that failed: no connection to its host, which may go on sending, and billing."""

import asyncio
from pathlib import Path

import pytest

from tests.proxy.routed import stalls
from tests.proxy.world import GOOD, Make
from tests.support.gateway import Gateway, write_policy
from tests.support.host import Out, Received, ScriptedHost, chunks, streams


async def test_a_host_that_goes_on_after_an_error_in_its_stream_is_hung_up_on(gateway: Gateway, tmp_path: Path) -> None:
    hung_up = asyncio.Event()

    async def errs_and_stays(_: Received, out: Out) -> None:
        await out.head(headers={"content-type": "text/event-stream"})
        await out.send(b'data: {"error": {"message": "overloaded", "code": 503}}\n\n')
        await out.closed()
        hung_up.set()

    async with ScriptedHost(errs_and_stays) as bad, ScriptedHost(streams(chunks("Hello"))) as good:
        write_policy(tmp_path / "policies", "in-order", prefer={}, pick={"how": "best", "explore": "0%"})
        async with gateway({"a": bad.url, "b": good.url}, default_policy="in-order") as running:
            answer = await running.chat(stream=True)
            assert answer.headers["x-gateway-endpoint"] == "b"
            assert "Hello" in answer.text
            async with asyncio.timeout(10):
                await hung_up.wait()


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_took_too_long_is_paid(stream: bool, make: Make) -> None:
    """The host was asked, and goes on: what it will bill is what it bills when a client leaves."""
    async with ScriptedHost(stalls) as slow, ScriptedHost(GOOD) as good:
        world = make(slow, good)
        sink = world.send(stream)
        await slow.until(lambda: len(slow.requests) == 1)
        world.wheel.fire()
        await sink.ended.wait()
        late = world.rows()[0]
        assert late.outcome == "timeout_first_token"
        assert (late.usage_source, late.prompt_tokens, late.cost > 0) == ("estimated", 5, True)
        assert late.completion_tokens == 0


async def test_a_host_that_was_never_reached_is_not_paid(make: Make) -> None:
    async with ScriptedHost(GOOD) as good:
        gone = ScriptedHost(GOOD)
        async with gone:
            pass
        world = make(gone, good)
        await world.ask()
        assert [(row.outcome, row.usage_source, row.cost > 0) for row in world.rows()] == [
            ("refused", "none", False),
            ("ok", "host", True),
        ]
