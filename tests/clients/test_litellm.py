"""The real litellm, in a gateway of its own, against hosts that speak as Bedrock, Azure and Vertex do.

One gateway serves the module, because a start with litellm takes seconds; each test scripts the host that it asks.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support import eventstream
from tests.support.gateway import MODEL, Running, gateway_command, write_policy
from tests.support.host import Json, Out, Received, Script, ScriptedHost, answers, chunks, completion, streams

ROOT = Path(__file__).parents[2]
START = 240.0  # seconds; litellm is slow to import, and the machine may be busy
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(500)]

SECRET = "a-secret-of-the-host"
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
ENDPOINTS: dict[str, Json] = {
    "bedrock": {
        "model": "bedrock/converse/deepseek.v3.2",
        "dialect": {"thinking": "reasoning_effort", "thinking_default": "off"},
    },
    "signed": {"model": "bedrock/converse/deepseek.v3.2", "adapter_options": {"region": "eu-central-1"}},
    "azure": {"model": "azure/DeepSeek-V3.2", "adapter_options": {"api_version": "2024-10-21"}},
    "vertex": {
        "model": "vertex_ai/deepseek-ai/deepseek-v3.2-maas",
        "adapter_options": {"project": "proj", "location": "global"},
    },
}
KEYS = {"bedrock": "BEDROCK_KEY", "azure": "AZURE_KEY", "vertex": "VERTEX_KEY"}
FAILING = {  # id -> host. One for each Retry-After, because the gateway waits before it asks the same endpoint again
    f"{host}/{status}-{stream}": host
    for host in ("bedrock", "azure")
    for status in (400, 429, 500, 503)
    for stream in (False, True)
}
KEY_SCRIPT = """
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import rsa
key = rsa.generate_private_key(65537, 2048)
print(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()).decode())
"""


class Host(ScriptedHost):
    """A host whose next answers are `script`."""

    def __init__(self) -> None:
        super().__init__(self._run)
        self.script: Script = answers(500, {})

    async def _run(self, request: Received, out: Out) -> None:
        await self.script(request, out)


class World:
    """The gateway and its hosts. `ask` puts one question to one endpoint: a host's name, or one of `FAILING`."""

    def __init__(self, running: Running, hosts: dict[str, Host]) -> None:
        self.running = running
        self.hosts = hosts

    async def ask(self, endpoint: str, script: Script, **fields: Any) -> httpx.Response:
        host = self.hosts[FAILING.get(endpoint, endpoint)]
        host.script = script
        host.requests.clear()
        short = {} if fields.get("stream") else {"max_tokens": 50}  # so that the host is asked for a whole answer
        return await self.running.chat(provider={"only": [endpoint]}, **{**short, **fields})

    async def events(self, endpoint: str, script: Script, **fields: Any) -> list[Json]:
        """The stream's chunks, without [DONE]."""
        answer = await self.ask(endpoint, script, stream=True, **fields)
        assert answer.status_code == 200, answer.text
        return said(answer.text)

    def sent(self, endpoint: str) -> Any:
        """The body of the only request that the host got."""
        (request,) = self.hosts[endpoint].requests
        return request.json()


def said(text: str) -> list[Json]:
    datas = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(data) for data in datas if data != "[DONE]"]


def joined(events: list[Json], field: str = "content") -> str:
    return "".join(choice["delta"].get(field) or "" for event in events for choice in event.get("choices", ()))


@pytest.fixture(scope="module")
def python() -> Path:
    return Path(sys.executable)


@pytest.fixture(scope="module")
def account(python: Path) -> Json:
    """A Google service account, but for who gives its tokens."""
    made = subprocess.run([python, "-c", KEY_SCRIPT], capture_output=True, text=True, timeout=60, check=True)
    return {
        "type": "service_account",
        "project_id": "proj",
        "private_key": made.stdout,
        "client_email": "me@proj",
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(python: Path, account: Json, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("litellm")
    write_policy(folder / "policies", "one", attempts={"max": 1})
    write_policy(folder / "policies", "hasty", attempts={"max": 1}, timeouts={"gap": "300ms", "first_token": "5s"})
    async with AsyncExitStack() as stack:
        hosts = {name: await stack.enter_async_context(Host()) for name in ENDPOINTS}
        tokens = answers(200, {"access_token": "a-token", "expires_in": 3600, "token_type": "Bearer"})
        giver = await stack.enter_async_context(ScriptedHost(tokens))
        environ = {
            "BEDROCK_KEY": SECRET,
            "AZURE_KEY": SECRET,
            "VERTEX_KEY": json.dumps({**account, "token_uri": f"{giver.url}/token"}),
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }
        price = {"input": 0.25, "cached_input": 0.05, "output": 0.5}
        endpoints = [
            {"id": name, "provider": host, "base_url": hosts[host].url, "price": price, "adapter": "litellm"}
            | ({"api_key_env": KEYS[host]} if host in KEYS else {})
            | {"supports": ["tools", "tool_choice", "json_object", "json_schema"]}
            | ENDPOINTS[host]
            for name, host in ({name: name for name in ENDPOINTS} | FAILING).items()
        ]
        models = {"deepseek/deepseek-v3.2": {"endpoints": endpoints, **MODEL}}
        start = gateway_command(
            folder, {}, python=python, within=START, environ=environ, models=models, default_policy="one"
        )
        running = await stack.enter_async_context(start)
        assert giver.requests, "the token is there before the first client is"
        yield World(running, hosts)


LOAD = """
import asyncio, socket
asked = []
connect = socket.socket.connect
socket.socket.connect = lambda self, address: (asked.append(address), connect(self, address))
socket.getaddrinfo = lambda *where, **_: asked.append(where) or []
from gateway.types import Endpoint
from gateway.types.endpoint import AdapterOptions
from gateway.upstream.litellm_adapter import Adapted, load
from gateway.upstream.transport.transport import Transport
options = AdapterOptions(api_version="2024-10-21")
for model in ("bedrock/converse/m", "azure/m"):
    one = Endpoint("x", "x", "http://127.0.0.1:1", model, adapter="litellm", adapter_options=options)
    asyncio.run(Adapted(one, "key", load(one), Transport()).warm_up())
print(asked)
"""


async def test_loading_and_rehearsing_reach_for_nothing(python: Path) -> None:
    loading = await asyncio.create_subprocess_exec(python, "-c", LOAD, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(loading.communicate(), START)
    assert out.decode() == "[]\n"


OPENAI = ["azure", "vertex"]


@pytest.mark.parametrize("endpoint", ["bedrock", "signed"])
async def test_bedrock_whole(world: World, endpoint: str) -> None:
    answer = await world.ask(endpoint, answers(200, eventstream.whole([{"text": "Hello"}])))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["choices"][0]["message"]["content"] == "Hello"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (10, 5)
    assert body["usage"]["cost"] > 0
    (request,) = world.hosts[endpoint].requests
    assert request.path == "/model/deepseek.v3.2/converse"
    assert request.json()["messages"] == [{"role": "user", "content": [{"text": "Hi"}]}]


async def test_bedrock_gets_a_bearer_key_or_a_signature_for_the_region(world: World) -> None:
    script = answers(200, eventstream.whole([{"text": "Hello"}]))
    await world.ask("bedrock", script)
    assert world.hosts["bedrock"].requests[0].headers["authorization"] == f"Bearer {SECRET}"
    await world.ask("signed", script)
    signature = world.hosts["signed"].requests[0].headers["authorization"]
    assert signature.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/bedrock/aws4_request" in signature


async def test_bedrock_streamed(world: World) -> None:
    used = eventstream.usage(prompt=10, completion=5, cached=4)
    events = await world.events("bedrock", eventstream.sends(eventstream.text("Hel", "lo", used=used)))
    assert joined(events) == "Hello"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["usage"]["prompt_tokens"] == 14
    assert events[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    assert world.hosts["bedrock"].requests[0].path == "/model/deepseek.v3.2/converse-stream"


async def test_bedrock_thinks(world: World) -> None:
    thought = {"reasoningContent": {"reasoningText": {"text": "hmm"}}}
    script = answers(200, eventstream.whole([thought, {"text": "Hello"}]))
    answer = await world.ask("bedrock", script, reasoning={"effort": "high"})
    assert answer.json()["choices"][0]["message"]["reasoning_content"] == "hmm"
    assert world.sent("bedrock")["additionalModelRequestFields"] == {"reasoning_effort": "high"}


async def test_bedrock_calls_a_tool_and_gets_its_result(world: World) -> None:
    script = eventstream.sends(eventstream.tool("weather", '{"city":', ' "Paris"}'))
    events = await world.events("bedrock", script, tools=[WEATHER])
    calls = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert calls[0]["function"]["name"] == "weather"
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Paris"}
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert world.sent("bedrock")["toolConfig"]["tools"][0]["toolSpec"]["name"] == "weather"

    call = {"id": calls[0]["id"], "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "18 degrees"},
    ]
    script = answers(200, eventstream.whole([{"text": "18"}]))
    answer = await world.ask("bedrock", script, tools=[WEATHER], messages=messages)
    assert answer.json()["choices"][0]["message"]["content"] == "18"
    result = world.sent("bedrock")["messages"][2]["content"][0]["toolResult"]
    assert result["toolUseId"] == call["id"]


@pytest.mark.parametrize("endpoint", OPENAI)
async def test_azure_and_vertex_whole(world: World, endpoint: str) -> None:
    answer = await world.ask(endpoint, answers(200, completion("Hello", reasoning="hmm")))
    message = answer.json()["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Hello", "hmm")
    assert answer.json()["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("endpoint", OPENAI)
async def test_azure_and_vertex_streamed(world: World, endpoint: str) -> None:
    events = await world.events(endpoint, streams(chunks("Hello there", reasoning="hmm")))
    assert joined(events) == "Hello there"
    assert joined(events, "reasoning_content") == "hmm"
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert events[-1]["usage"]["prompt_tokens"] == 10


async def test_where_requests_to_azure_and_vertex_go(world: World) -> None:
    script = answers(200, completion("Hello"))
    await world.ask("azure", script)
    (request,) = world.hosts["azure"].requests
    assert request.path == "/openai/deployments/DeepSeek-V3.2/chat/completions?api-version=2024-10-21"
    assert request.headers["api-key"] == SECRET
    await world.ask("vertex", script)
    (request,) = world.hosts["vertex"].requests
    assert request.path == "/v1/projects/proj/locations/global/endpoints/openapi/chat/completions"
    assert request.headers["authorization"] == "Bearer a-token"


ERRORS = {
    "bedrock": {"message": "The words of the host."},
    "azure": {"error": {"message": "The words of the host.", "code": "x"}},
    "vertex": [{"error": {"code": 0, "message": "The words of the host.", "status": "X"}}],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500, 503])
@pytest.mark.parametrize("host", ["bedrock", "azure"])
async def test_errors_are_the_hosts_own(world: World, host: str, status: int, stream: bool) -> None:
    script = answers(status, ERRORS[host], {"retry-after": "7"})
    answer = await world.ask(f"{host}/{status}-{stream}", script, stream=stream)
    assert answer.status_code == {400: 400, 429: 429}.get(status, 503)
    assert "The words of the host." in answer.text
    assert "litellm" not in answer.text
    if status == 429:
        assert answer.headers["retry-after"] == "7"
    assert len(world.hosts[host].requests) == 1, "nothing is retried in secret"


async def test_a_list_of_errors_is_vertexs(world: World) -> None:
    answer = await world.ask("vertex", answers(429, ERRORS["vertex"]))
    assert answer.status_code == 429
    assert len(world.hosts["vertex"].requests) == 1


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("bedrock", "malformed_model_output"),
        ("azure", "insufficient_system_resource"),
        ("vertex", "MALFORMED_FUNCTION_CALL"),
    ],
)
async def test_an_unknown_finish_reason_is_no_clean_end(world: World, endpoint: str, reason: str) -> None:
    bedrock = endpoint == "bedrock"
    whole = eventstream.whole([{"text": "Hello"}], stop=reason) if bedrock else completion("Hello", finish=reason)
    answer = await world.ask(endpoint, answers(200, whole))
    assert answer.status_code == 502
    assert reason in answer.text

    events = streams(chunks("Hello there", finish=reason))
    script = eventstream.sends(eventstream.text("Hello", stop=reason)) if bedrock else events
    answer = await world.ask(endpoint, script, stream=True)
    assert_broken(answer.text, reason)


async def test_a_guardrail_is_a_content_filter(world: World) -> None:
    events = await world.events("bedrock", eventstream.sends(eventstream.text("No.", stop="guardrail_intervened")))
    assert events[-1]["choices"][0]["finish_reason"] == "content_filter"


async def test_a_stream_without_an_end_is_none(world: World) -> None:
    answer = await world.ask("bedrock", eventstream.sends(eventstream.text("Hello", stop=None)), stream=True)
    assert_broken(answer.text, "without a finish reason")


async def test_throttling_within_a_stream_is_reported_in_the_hosts_words(world: World) -> None:
    failed = eventstream.frame("throttlingException", {"message": "slow down"}, exception=True)
    answer = await world.ask("bedrock", eventstream.sends([*eventstream.text("Hello")[:2], failed]), stream=True)
    assert_broken(answer.text, "slow down")


async def test_throttling_before_the_first_token_is_a_429(world: World) -> None:
    failed = eventstream.frame("throttlingException", {"message": "slow down"}, exception=True)
    answer = await world.ask("bedrock", eventstream.sends([eventstream.text("Hello")[0], failed]), stream=True)
    assert answer.status_code == 429
    assert "slow down" in answer.text


async def test_bytes_with_a_wrong_checksum_are_no_answer(world: World) -> None:
    frames = eventstream.text("Hello")
    spoiled = frames[1][:-6] + b"\0\0" + frames[1][-4:]
    answer = await world.ask("bedrock", eventstream.sends([frames[0], spoiled, *frames[2:]]), stream=True)
    assert answer.status_code == 502


async def test_a_cut_within_a_stream(world: World) -> None:
    first = eventstream.text("Hello")[:2]

    async def cuts(_: Received, out: Out) -> None:
        await out.head(200, eventstream.CONTENT_TYPE)
        for one in first:
            await out.send(one)
        out.cut()

    assert_broken((await world.ask("bedrock", cuts, stream=True)).text, "closed the connection")


async def test_a_stall_within_a_stream_ends_with_the_gap_clock(world: World) -> None:
    host = world.hosts["bedrock"]
    gone = host.gone
    answer = await world.ask("bedrock", stalls, stream=True, model="deepseek-v3.2:hasty")
    assert_broken(answer.text, "")
    await host.until(lambda: host.gone == gone + 1)


async def test_the_host_sees_that_the_client_has_left(world: World) -> None:
    host = world.hosts["bedrock"]
    gone, host.script = host.gone, stalls
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    body |= {"provider": {"only": ["bedrock"]}}
    async with world.running.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if "Hello" in line:
                break
    await host.until(lambda: host.gone == gone + 1)


async def test_many_at_once_do_not_mix(world: World) -> None:
    async def echoes(request: Received, out: Out) -> None:
        words = request.json()["messages"][0]["content"][0]["text"]
        await eventstream.sends(eventstream.text(*words))(request, out)

    world.hosts["bedrock"].script = echoes
    fields = {"stream": True, "provider": {"only": ["bedrock"]}}
    texts = [f"text number {number}" for number in range(20)]
    done = await asyncio.gather(*(world.running.chat(text, **fields) for text in texts))
    assert [joined(said(one.text)) for one in done] == texts


async def test_what_a_host_does_not_take_is_not_dropped_in_secret(world: World) -> None:
    answer = await world.ask("bedrock", answers(200, {}), logprobs=True)
    assert answer.status_code in (400, 404)
    assert world.hosts["bedrock"].requests == []


async def stalls(_: Received, out: Out) -> None:
    await out.head(200, eventstream.CONTENT_TYPE)
    for one in eventstream.text("Hello", " there")[:3]:
        await out.send(one)
    await out.stall()


def assert_broken(text: str, why: str) -> None:
    """The stream said something, then ended with an error that says why."""
    events = said(text)
    assert "Hello" in joined(events[:-1])
    assert why in events[-1]["error"]["message"]
    assert "[DONE]" not in text
    assert not [event for event in events if any(one.get("finish_reason") for one in event.get("choices", ()))][:-1]
