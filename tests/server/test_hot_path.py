"""What a request may not cost, counted: no task over the direct sink, no JSON parsed between first token and end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.client import connected, question, request
from tests.support.counted import counted_parses
from tests.support.gateway import Gateway
from tests.support.host import ScriptedHost, answers, chunks, completion, streams

REQUESTS = 20
BEFORE_AND_AFTER = 5  # the request, the role, the first token, the finish chunk, the usage chunk


@contextmanager
def counted_tasks() -> Iterator[list[str]]:
    """The name of every task that the loop is given meanwhile."""
    made: list[str] = []
    loop = asyncio.get_running_loop()

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        made.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **options)

    before = loop.get_task_factory()
    loop.set_task_factory(factory)
    try:
        yield made
    finally:
        loop.set_task_factory(before)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("cache", ["off", "miss", "refresh", "hit"])
async def test_a_request_is_no_task(cache: str, stream: bool, valkey: str, gateway: Gateway, sink: str) -> None:
    """Over the ASGI sink there are tasks, which shows that they are counted."""
    line = {"off": b"", "refresh": b"x-gateway-cache: refresh"}.get(cache, b"x-gateway-cache: on")
    script = streams(chunks("Hello")) if stream else answers(200, completion("Hello"))

    def asked(number: int) -> bytes:
        note = f"{sink} {stream} {cache} {number if cache == 'miss' else 0}"  # the store is shared
        return request(question(stream=stream, note=note), *([line] if line else []))

    async with (
        ScriptedHost(script) as host,
        gateway({"a/fp8": host.url}, store=valkey) as running,
        connected(running) as connection,
    ):
        async with asyncio.timeout(60):
            while (await running.client.get("/health/ready")).json()["store"] != "up":
                pass
            got = ""
            while got != cache:  # and so that there is a connection to the host
                await connection.send(asked(-1))
                got = (await connection.answer())[1]["x-gateway-cache"]
        with counted_tasks() as made:
            for number in range(REQUESTS):
                await connection.send(asked(number))
                status, headers, _ = await connection.answer()
                assert (status, headers["x-gateway-cache"]) == (200, cache)
    assert made == [] if sink == "direct" else len(made) >= REQUESTS


@pytest.mark.parametrize("words", [5, 60])
async def test_no_event_is_parsed_between_first_token_and_end(words: int, gateway: Gateway) -> None:
    """Each event comes by itself: what arrives in one read with the first token or the end may be parsed with it."""
    heard = asyncio.Semaphore(0)
    text = [f"w{number}" for number in range(words)]
    async with (
        ScriptedHost(streams(chunks(" ".join(text)), pause=heard.acquire)) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as connection,
    ):
        with counted_parses() as made:
            await connection.send(request(question(stream=True)))
            heard.release()  # the role alone is no token
            await connection.head()
            for word in text:
                assert word.encode() in await connection.chunk()
                heard.release()
            for _ in ("usage", "[DONE]"):
                heard.release()
            assert b"[DONE]" in await connection.chunk()
    assert len(made) == BEFORE_AND_AFTER, made
