"""A gateway over scripted hosts, asked in a fixed order, whose books are checked when a test is done.

    async def test(routed: Routed) -> None:
        async with routed(first, second, timeouts={"gap": "300ms"}) as running: ...

Endpoints are `a/fp8`, `b/fp8`, ... in the order of the hosts, and are tried in it.
"""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import gateway as package
from gateway.telemetry.ledger import read
from gateway.types import PICO, Row
from tests.support.gateway import GUARD, NO_STORE, Gateway, Running, total, write_policy
from tests.support.host import Out, Received, Script, ScriptedHost, usage

PACKAGE = Path(package.__file__).parent
Json = dict[str, Any]
Routed = Callable[..., AbstractAsyncContextManager[Running]]
FIXED: Json = {
    "pick": {"how": "order", "explore": "0%", "order": [f"{name}/fp8" for name in "abcdef"]},
    "attempts": {"retries": 0},  # what fails is tried at once, or not at all
}


@pytest.fixture
def routed(gateway: Gateway, tmp_path: Path) -> Routed:
    """Starts the gateway under the policy `test`: over each sink, as `gateway` does."""
    return partial(_routed, gateway, tmp_path / "policies")


@asynccontextmanager
async def _routed(
    gateway: Gateway,
    policies: Path,
    *hosts: ScriptedHost | str,
    store: str = NO_STORE,
    lookup: float = GUARD,
    settings: Json | None = None,
    **policy: Any,
) -> AsyncIterator[Running]:
    """`policy` adds fields to the policy, `settings` to gateway.yaml; `lookup` as in `in_process`."""
    write_policy(policies, "test", **(FIXED | policy))
    urls = {
        f"{name}/fp8": host if isinstance(host, str) else host.url for name, host in zip("abcdef", hosts, strict=False)
    }
    async with gateway(urls, store=store, lookup=lookup, default_policy="test", **(settings or {})) as running:
        yield running
        await until(lambda: closed(running))
        await check_books(running)
    assert not [task for task in asyncio.all_tasks() if _is_the_gateways(task)], "a task was left behind"


def rows(running: Running) -> list[Row]:
    return list(read(running.folder / "ledger"))


def outcomes(running: Running) -> list[tuple[str, str]]:
    """(endpoint, outcome) of every row so far, in order."""
    return [(row.endpoint, row.outcome) for row in rows(running)]


def closed(running: Running) -> bool:
    """Whether every exchange that has a row has its last one."""
    found = rows(running)
    return {row.exchange for row in found} == {row.exchange for row in found if row.last}


async def check_books(running: Running) -> None:
    """Each exchange is closed once, its attempts are numbered, and the metrics say what the rows say."""
    found = rows(running)
    assert max(Counter(row.exchange for row in found if row.last).values(), default=1) == 1, "closed twice"
    for exchange in {row.exchange for row in found}:
        numbers = sorted(row.attempt for row in found if row.exchange == exchange)  # the loser of two is booked first
        closing = numbers[:1] == [0]  # a row of its own, where no attempt has closed the exchange
        assert numbers == list(range(0 if closing else 1, len(numbers) + (0 if closing else 1)))
    text = (await running.client.get("/metrics")).text
    assert total(text, "gateway_in_flight") == 0
    for (endpoint, outcome), count in Counter((row.endpoint, row.outcome) for row in found if row.attempt).items():
        assert total(text, "gateway_attempts_total", endpoint=endpoint, outcome=outcome) == count
    for (outcome, code), count in Counter((one.outcome, one.client_status // 100) for one in found if one.last).items():
        assert total(text, "gateway_requests_total", outcome=outcome, code=f"{code}xx") == count
    assert total(text, "gateway_requests_total") == sum(row.last for row in found)
    assert round(total(text, "gateway_cost_usd_total") * PICO) == sum(row.cost for row in found)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the same loop; TimeoutError after a minute."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


def payloads(text: str) -> list[Json]:
    """The JSON of a stream's events, without comments and [DONE]."""
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(one) for one in data if one != "[DONE]"]


def content(text: str) -> str:
    return "".join(choice["delta"].get("content") or "" for one in payloads(text) for choice in one["choices"])


def error(response: httpx.Response) -> Json:
    """The error of a whole response, in the OpenAI shape."""
    found: Json = response.json()["error"]
    assert {"message", "type", "param", "code"} <= found.keys()
    assert isinstance(found["message"], str)
    return found


def broken(text: str) -> Json:
    """The error at the end of a stream, which has no [DONE]."""
    assert "[DONE]" not in text
    *before, last = payloads(text)
    for name in ("id", "created", "model"):
        assert all(one.get(name, last[name]) == last[name] for one in before), f"chunks of one stream have one {name}"
    assert last["choices"][0]["finish_reason"] == "error"
    assert isinstance(last["error"]["code"], str)
    assert isinstance(last["error"]["status"], int)
    found: Json = last["error"]
    return found


def says(*parts: bytes, then: str = "end", status: int = 200) -> Script:
    """A stream of these bytes, which then ends, is `cut`, `reset`, or stalls."""

    async def script(_: Received, out: Out) -> None:
        await out.head(status, {"content-type": "text/event-stream"})
        for part in parts:
            await out.send(part)
        if then == "end":
            await out.end()
        elif then == "stall":
            await out.stall()
        else:
            getattr(out, then)()

    return script


def pauses(go: asyncio.Event, completion: int) -> Script:
    """A stream that pauses after its first token until `go`, and counts `completion` tokens."""

    async def script(_: Received, out: Out) -> None:
        await out.head(200)
        await out.send(ROLE + WORD)
        await go.wait()
        await out.send(chunk({"content": "x"}) + STOP)
        await out.send(data({"choices": [], "usage": usage(completion=completion)}) + DONE)
        await out.end()

    return script


async def stalls(_: Received, out: Out) -> None:
    """A host that takes the request and says nothing."""
    await out.stall()


async def cuts(_: Received, out: Out) -> None:
    """A host that closes the connection at once."""
    out.cut()


def data(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def chunk(delta: Json, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return data({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more})


ROLE = chunk({"role": "assistant", "content": ""})
WORD = chunk({"content": "Hello"})
STOP = chunk({}, "stop")
DONE = b"data: [DONE]\n\n"


@contextmanager
def nobody() -> Iterator[str]:
    """The URL of a port where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def full() -> Iterator[str]:
    """The URL of a listener that accepts nobody and whose queue is full: to connect takes for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


def _is_the_gateways(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and Path(code.co_filename).is_relative_to(PACKAGE)
