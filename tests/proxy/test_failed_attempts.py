"""What is left of an attempt that failed: no connection to its host, which may go on sending, and billing."""

import asyncio
from pathlib import Path

from tests.support.gateway import gateway, write_policy
from tests.support.host import Out, Received, ScriptedHost, chunks, streams


async def test_a_host_that_goes_on_after_an_error_in_its_stream_is_hung_up_on(tmp_path: Path) -> None:
    hung_up = asyncio.Event()

    async def errs_and_stays(_: Received, out: Out) -> None:
        await out.head(headers={"content-type": "text/event-stream"})
        await out.send(b'data: {"error": {"message": "overloaded", "code": 503}}\n\n')
        await out.closed()
        hung_up.set()

    async with ScriptedHost(errs_and_stays) as bad, ScriptedHost(streams(chunks("Hello"))) as good:
        write_policy(tmp_path / "policies", "in-order", prefer={}, pick={"how": "best", "explore": "0%"})
        async with gateway(tmp_path, {"a": bad.url, "b": good.url}, default_policy="in-order") as running:
            answer = await running.chat(stream=True)
            assert answer.headers["x-gateway-endpoint"] == "b"
            assert "Hello" in answer.text
            async with asyncio.timeout(10):
                await hung_up.wait()
