"""Simulated hosts over real sockets. Time is instant (`speed=0`), except where a test needs an answer that lasts."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from gateway.sim.demofleet import FLEET
from gateway.sim.host import serving
from gateway.sim.machine import GARBAGE, SLOWER, Machine
from gateway.sim.sim_host import MODEL, FaultRates, SimHost, Spread, Wait
from tests.sim.world import CALM

NOVITA, STREAMLAKE = (replace(host, rates=CALM, hit_efficiency=1.0) for host in FLEET[:2])
DIGITALOCEAN = replace(FLEET[-1], rates=CALM)


@asynccontextmanager
async def running(host: SimHost, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one simulated host."""
    async with (
        serving([host], **{"speed": 0, **options}) as addresses,
        httpx.AsyncClient(base_url=addresses[host.id]) as client,
    ):
        yield client


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with running(NOVITA) as client:
        yield client


def ask(text: str = "hi", **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 40, **more}


async def whole(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    return orjson.loads(response.content)


async def chunks(client: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream that ends with [DONE]."""
    response = await client.post("/v1/chat/completions", json=body | {"stream": True})
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert events.pop() == "[DONE]"
    return [orjson.loads(event) for event in events]


def joined(events: list[dict[str, Any]], field: str) -> str:
    return "".join(choice["delta"].get(field) or "" for event in events for choice in event["choices"])


async def counters(client: httpx.AsyncClient) -> dict[str, int]:
    return (await client.get("/_sim")).json()


async def cancelled(client: httpx.AsyncClient) -> dict[str, int]:
    """The counters as soon as one request is known to be cancelled."""
    while not (count := await counters(client))["cancelled"]:
        pass
    return count


async def text_begins(response: httpx.Response) -> None:
    async for data in response.aiter_raw():
        if re.search(rb'"content":"\w', data):
            return


async def fault(client: httpx.AsyncClient, *names: str) -> None:
    assert (await client.post("/_sim", json={"next": names})).status_code == 200


async def test_streamed_and_whole_answers_are_the_same_text(client: httpx.AsyncClient) -> None:
    body = ask(chat_template_kwargs={"thinking": True}, max_tokens=200)
    message = (await whole(client, body))["choices"][0]["message"]
    events = await chunks(client, body)
    assert message["content"] == joined(events, "content") != ""
    assert message["reasoning_content"] == joined(events, "reasoning_content") != ""


async def test_a_whole_body_has_what_clients_insist_on(client: httpx.AsyncClient) -> None:
    body = await whole(client, ask())
    choice = body["choices"][0]
    assert (body["object"], body["model"]) == ("chat.completion", MODEL)
    assert isinstance(body["id"], str)
    assert isinstance(body["created"], int)
    assert body["system_fingerprint"] is None
    assert (choice["index"], choice["finish_reason"], choice["message"]["role"]) == (0, "stop", "assistant")
    assert "tool_calls" not in choice["message"]
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + 40


async def test_every_chunk_has_what_clients_insist_on(client: httpx.AsyncClient) -> None:
    events = await chunks(client, ask())
    for event in events:
        assert event["object"] == "chat.completion.chunk"
        assert "system_fingerprint" not in event
        assert "usage" not in event
        assert all("finish_reason" in choice and "index" in choice for choice in event["choices"])
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [event["choices"][0]["finish_reason"] for event in events[-2:]] == [None, "stop"]


async def test_usage_comes_where_the_dialect_puts_it() -> None:
    async with running(NOVITA) as client:
        extra = (await chunks(client, ask(stream_options={"include_usage": True})))[-1]
        assert extra["choices"] == []
        assert extra["usage"]["completion_tokens"] == 40
    async with running(STREAMLAKE) as client:
        *others, finish = await chunks(client, ask())
        assert finish["choices"][0]["finish_reason"] == "stop"
        assert finish["usage"]["completion_tokens"] == 40
        assert all(event["usage"] is None for event in others)


async def test_reasoning_comes_in_the_field_of_the_dialect() -> None:
    async with running(DIGITALOCEAN) as client:
        body = ask(reasoning_effort="high", max_tokens=200)
        assert joined(await chunks(client, body), "reasoning")
        answer = await whole(client, body)
        assert answer["choices"][0]["message"]["reasoning"]
        assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


async def test_a_tool_call_streams_in_pieces(client: httpx.AsyncClient) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": parameters}}]
    body = ask("please look_up Oslo", tools=tools)
    events = await chunks(client, body)
    pieces = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", ())]
    call = (await whole(client, body))["choices"][0]["message"]["tool_calls"][0]
    assert (pieces[0]["type"], pieces[0]["id"], pieces[0]["function"]["name"]) == ("function", call["id"], "look_up")
    assert len(pieces) > 2
    assert "".join(piece["function"]["arguments"] for piece in pieces) == call["function"]["arguments"]
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_logprobs_come_when_requested(client: httpx.AsyncClient) -> None:
    answer = await whole(client, ask(logprobs=True))
    tokens = [entry["token"] for entry in answer["choices"][0]["logprobs"]["content"]]
    assert "".join(tokens) == answer["choices"][0]["message"]["content"]
    assert "logprobs" in (await chunks(client, ask(logprobs=True)))[1]["choices"][0]


async def test_a_repeated_prompt_is_cached_and_cheaper(client: httpx.AsyncClient) -> None:
    body = ask("a long question " * 200)
    first, second = [(await whole(client, body))["usage"] for _ in range(2)]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert second["prompt_tokens_details"]["cached_tokens"] == second["prompt_tokens"] // 64 * 64
    count = await counters(client)
    prompt, cached = 2 * second["prompt_tokens"], second["prompt_tokens_details"]["cached_tokens"]
    assert (count["requests"], count["completed"], count["tokens"], count["cached_tokens"]) == (2, 2, 80, cached)
    assert count["cost_pico_usd"] == (prompt - cached) * 269_000 + cached * 134_500 + 80 * 400_000


async def test_a_host_that_forgets_reports_no_hit() -> None:
    async with running(replace(NOVITA, hit_efficiency=0.0)) as client:
        answers = [await whole(client, ask("a long question " * 200)) for _ in range(2)]
    assert answers[1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


async def test_error_statuses_come_in_order_and_then_the_host_is_well(client: httpx.AsyncClient) -> None:
    await fault(client, "429", "500", "503")
    responses = [await client.post("/v1/chat/completions", json=ask()) for _ in range(4)]
    assert [response.status_code for response in responses] == [429, 500, 503, 200]
    assert responses[0].headers["retry-after"] == "1"
    assert responses[1].json()["error"]["type"] == "server_error"
    assert (await counters(client))["faults"] == 3


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("name", "error"), [("cut", httpx.RemoteProtocolError), ("reset", httpx.ReadError)])
async def test_a_broken_answer_does_not_end(
    client: httpx.AsyncClient, name: str, error: type[Exception], stream: bool
) -> None:
    await fault(client, name)
    with pytest.raises(error):
        await client.post("/v1/chat/completions", json=ask(stream=stream))
    assert (await counters(client))["completed"] == 0


async def test_a_dropped_request_gets_no_byte(client: httpx.AsyncClient) -> None:
    await fault(client, "drop")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await client.post("/v1/chat/completions", json=ask())


async def test_a_stalled_stream_begins_and_stays_open_until_the_client_leaves(client: httpx.AsyncClient) -> None:
    await fault(client, "stall")
    async with client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as response:
        await text_begins(response)
        count = await counters(client)
        assert (count["completed"], count["cancelled"]) == (0, 0)
    assert 0 < (await cancelled(client))["tokens"] < 40


async def test_a_silent_stream_sends_its_head_alone(client: httpx.AsyncClient) -> None:
    await fault(client, "silent")
    async with client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as response:
        assert response.status_code == 200
    count = await cancelled(client)
    assert (count["completed"], count["tokens"]) == (0, 0)


async def test_an_error_may_come_inside_a_200(client: httpx.AsyncClient) -> None:
    await fault(client, "in_band", "in_band")
    streamed = await client.post("/v1/chat/completions", json=ask(stream=True))
    assert streamed.status_code == 200
    assert "error" in orjson.loads(streamed.text.split("\n\n")[-2].removeprefix("data: "))
    assert "error" in await whole(client, ask())


async def test_garbage_in_the_middle_of_an_answer(client: httpx.AsyncClient) -> None:
    await fault(client, "garbage", "garbage")
    streamed = await client.post("/v1/chat/completions", json=ask(stream=True))
    assert GARBAGE.decode() in streamed.text.split("[DONE]")[0]
    with pytest.raises(ValueError):
        orjson.loads((await client.post("/v1/chat/completions", json=ask())).content)


def test_a_slow_answer_takes_a_multiple_of_its_time() -> None:
    steady = replace(NOVITA, ttft=Wait(1.0, 1.0), throughput=Spread(50.0, 50.0))
    machine = Machine(steady, fault_queue=deque(["ok", "slow"]))
    usual, slow = ([*machine.chat(orjson.dumps(ask()), 0.0).events][-1].at for _ in range(2))
    assert slow == pytest.approx(usual * SLOWER)


async def test_unclean_and_empty_answers(client: httpx.AsyncClient) -> None:
    await fault(client, "unclean", "empty")
    unclean = (await chunks(client, ask()))[-1]
    empty = await whole(client, ask())
    assert unclean["choices"][0]["finish_reason"] == "insufficient_system_resource"
    assert empty["choices"][0]["message"]["content"] == ""
    assert empty["choices"][0]["finish_reason"] == "stop"


async def test_faults_come_at_the_rates_of_the_host() -> None:
    sick = replace(NOVITA, rates=FaultRates(rate_limited=0.3, server_error=0.3, cut=0.0))
    async with running(sick, seed=5) as client:
        statuses = [(await client.post("/v1/chat/completions", json=ask())).status_code for _ in range(200)]
    assert 0.2 < statuses.count(429) / 200 < 0.4
    assert 0.2 < (statuses.count(500) + statuses.count(503)) / 200 < 0.4


async def test_a_client_that_leaves_stops_the_answer(client: httpx.AsyncClient) -> None:
    await client.post("/_sim", json={"speed": 20})
    async with client.stream("POST", "/v1/chat/completions", json=ask(stream=True, max_tokens=10_000)) as response:
        await text_begins(response)
    count = await cancelled(client)
    assert (count["cancelled"], count["completed"]) == (1, 0)
    assert 0 < count["tokens"] < 10_000


@pytest.mark.parametrize("speed", [0, 1000])
async def test_connection_close_closes_after_the_answer(client: httpx.AsyncClient, speed: float) -> None:
    await client.post("/_sim", json={"speed": speed})
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    body = orjson.dumps(ask(stream=True))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"messages": []}', b'{"messages": [1]}', b'{"messages": [{}], "max_tokens": "x"}']
)
async def test_a_malformed_request_is_refused(client: httpx.AsyncClient, raw: bytes) -> None:
    assert (await client.post("/v1/chat/completions", content=raw)).status_code == 400


async def test_a_prompt_over_the_context_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/chat/completions", json=ask("x" * 4 * NOVITA.context))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("wish", [{"next": ["nonsense"]}, {"next": ["200"]}, {"speed": -1}, {"speed": "x"}, []])
async def test_steering_refuses_what_it_does_not_know(client: httpx.AsyncClient, wish: Any) -> None:
    assert (await client.post("/_sim", json=wish)).status_code == 400


async def test_models_and_unknown_routes(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models")).json()["data"][0]["id"] == MODEL
    assert (await client.get("/v2/models")).status_code == 404


async def test_a_key_is_checked_where_one_is_set() -> None:
    async with running(NOVITA, key="secret") as client:
        refused = await client.post("/v1/chat/completions", json=ask())
        taken = await client.post("/v1/chat/completions", json=ask(), headers={"Authorization": "Bearer secret"})
    assert (refused.status_code, taken.status_code) == (401, 200)


PARENT = """
import pathlib, subprocess, sys, time
path = pathlib.Path(sys.argv[1])
child = subprocess.Popen([sys.executable, "-m", "gateway.sim.host", "--ports-file", str(path), "--speed", "0"])
while not path.exists():
    assert child.poll() is None
    time.sleep(0.01)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the bond to the parent is Linux's")
def test_the_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    ports = tmp_path / "ports.json"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(ports)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        try:
            addresses = orjson.loads(ports.read_bytes())
            assert list(addresses) == [host.id for host in FLEET]
            assert httpx.post(f"{addresses[FLEET[0].id]}/_sim", json={}).status_code == 200
        finally:
            parent.kill()
        try:
            parent.communicate(timeout=60)  # ends when nobody holds the other end: neither parent nor child
        except subprocess.TimeoutExpired:
            os.kill(child, signal.SIGKILL)
            raise
