"""Two replicas behind a TCP balancer are restarted one after the other, under load: no request is lost."""

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from tests.clients.sdks import command_of
from tests.support.balancer import Backend, Balancer
from tests.support.gateway import Running, gateway_command
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams
from tests.support.ports import free_port

WORDS = "one two three"
LATER = 40  # requests after the last replica is back
GUARD = 240.0  # seconds
DRAIN = {"notice": "2s", "limit": "60s"}


async def serve(received: Received, out: Out) -> None:
    """Streams take half a second, so that a drain finds some of them."""
    if received.json().get("stream"):
        await streams(chunks(WORDS), pause=lambda: asyncio.sleep(0.1))(received, out)
    else:
        await answers(200, completion(WORDS))(received, out)


async def until_up(backend: Backend, up: bool) -> None:
    async with asyncio.timeout(GUARD):
        while backend.up is not up:
            await asyncio.sleep(0.05)


async def ended(running: Running) -> int:
    assert running.process is not None
    running.process.send_signal(signal.SIGTERM)
    return await asyncio.wait_for(running.process.wait(), GUARD)


async def test_no_request_is_lost(tmp_path: Path) -> None:
    command = command_of("openai-python", "openai_load.py")
    ports, stop = [free_port(), free_port()], tmp_path / "stop"
    folders = [tmp_path / "one", tmp_path / "two"]
    async with AsyncExitStack() as stack, ScriptedHost(serve) as host:

        async def replica(number: int) -> Running:
            folders[number].mkdir(exist_ok=True)
            started = gateway_command(
                folders[number], {"own/host": host.url}, port=ports[number], within=GUARD, drain=DRAIN
            )
            return await stack.enter_async_context(started)

        running = [await replica(0), await replica(1)]
        async with Balancer(ports) as balancer:
            load = await asyncio.create_subprocess_exec(
                *command, balancer.url, str(stop), stdout=asyncio.subprocess.PIPE
            )
            await host.until(lambda: len(host.requests) > LATER, GUARD)
            for number in (0, 1):
                assert await ended(running[number]) == 0
                await until_up(balancer.backends[number], False)
                running[number] = await replica(number)
                await until_up(balancer.backends[number], True)
            seen = len(host.requests)
            await host.until(lambda: len(host.requests) > seen + LATER, GUARD)
            stop.touch()
            output, _ = await asyncio.wait_for(load.communicate(), GUARD)
            result = json.loads(output)
            assert result["bad"] == []
            assert result["good"] > 2 * LATER
            assert balancer.refused == 0
