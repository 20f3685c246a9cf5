"""A real gateway for tests: uvicorn in this process on a port of the kernel's choice, or the command as users start it.

    async def test(gateway: Gateway) -> None:
        async with gateway({"a/fp8": host.url}) as running: await running.chat(...)

This is a pytest plugin. Whoever takes the fixture `gateway` runs once over each sink: `direct` is uvicorn with the
connection that `gateway serve` uses, `asgi` is uvicorn as it comes, as any other server would be.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import uvicorn
import yaml

from gateway.app import build
from gateway.config import load
from gateway.configuration import configured
from gateway.policy.policies import shipped_folder
from gateway.server.protocol import HotProtocol
from gateway.server.supervisor import listening
from gateway.state.folder import StateFolder
from gateway.telemetry.metrics import prepare_folder
from tests.support.closing import stop
from tests.support.ports import free_port

NO_STORE = "unix:///nonexistent/store.sock"  # a store that is down: the gateway serves without it
SINKS: dict[str, Any] = {"direct": HotProtocol, "asgi": "httptools"}  # uvicorn's protocol for each sink
DIRECT_ONLY = pytest.mark.parametrize("sink", ["direct"])  # where the other sink could show nothing: the test says why
QUICK = {"notice": "0s"}  # no load balancer has to notice that a gateway of a test stops
GUARD = 60.0  # seconds after which a start or a stop is a failure


@dataclass
class Running:
    """A gateway that answers. `client` asks it; `folder` is its state folder; `policies` its own policy folder."""

    url: str
    client: httpx.AsyncClient
    folder: Path
    policies: Path
    process: asyncio.subprocess.Process | None = None
    server: uvicorn.Server | None = None

    async def chat(self, content: str = "Hi", **fields: Any) -> httpx.Response:
        """One chat completion; `headers` go as headers, the rest into the body."""
        headers = fields.pop("headers", {})
        body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": content}], **fields}
        return await self.client.post("/v1/chat/completions", json=body, headers=headers)

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels, as a scrape shows it."""
        return total((await self.client.get("/metrics")).text, name, **labels)


def total(exposition: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in exposition.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(part in line for part in wanted))


def write_config(
    folder: Path, hosts: Mapping[str, str], endpoint: Mapping[str, Any] | None = None, **settings: Any
) -> Path:
    """gateway.yaml with only these hosts (id -> base URL without /v1); `endpoint` adds fields to each."""
    fields = {"provider": "vllm", "model": "test-model", "price": {"input": 0.25, "cached_input": 0.05, "output": 0.5}}
    endpoints = [{"id": name, "base_url": f"{url}/v1", **fields, **(endpoint or {})} for name, url in hosts.items()]
    models = {"deepseek/deepseek-v3.2": {"endpoints": endpoints, **MODEL}}
    path = folder / "gateway.yaml"
    path.write_text(yaml.dump({"catalogue": False, "models": models, **settings}, Dumper=yaml.CSafeDumper))
    return path


MODEL = {
    "name": "DeepSeek V3.2",
    "context": 163_840,
    "created": 1_764_547_200,
    "aliases": ["deepseek-v3.2", "deepseek-chat", "deepseek-reasoner"],
}


def write_policy(folder: Path, name: str, **fields: Any) -> None:
    """One policy file."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.dump({"name": name, **fields}, Dumper=yaml.CSafeDumper))


def write_impatient(folder: Path) -> None:
    """The shipped default policy without the pauses before retries, which would make each failure take seconds."""
    path = folder / "balanced.yaml"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        path.write_text(_impatient())


@cache
def _impatient() -> str:
    balanced = yaml.safe_load((shipped_folder() / "balanced.yaml").read_text())
    return yaml.safe_dump({**balanced, "attempts": {**balanced["attempts"], "retries": 0}})


Gateway = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture(params=SINKS)
def sink(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def gateway(tmp_path: Path, sink: str) -> Gateway:
    """Starts the gateway in this process and loop, with `tmp_path/policies` over the shipped policies."""
    return partial(in_process, tmp_path, sink)


@asynccontextmanager
async def in_process(
    tmp: Path,
    sink: str,
    hosts: Mapping[str, str],
    *,
    store: str = NO_STORE,
    lookup: float = GUARD,
    environ: Mapping[str, str] | None = None,
    endpoint: Mapping[str, Any] | None = None,
    config: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """The gateway over one sink; for tests that compare the two. `settings` go to gateway.yaml, `endpoint` to each;
    a file `config` stands in place of it.

    The response cache has `lookup` seconds to answer: many, so that a busy machine changes no result.
    """
    policies = tmp / "policies"
    write_impatient(policies)
    config = config or write_config(tmp, hosts, endpoint, policies=str(policies), **settings)
    folder = StateFolder(tmp / "state")
    prepare_folder(folder.metrics)
    app = build(configured(replace(load(config, environ or {}), state=folder.path)), folder.path, store, lookup)
    options = uvicorn.Config(app, http=SINKS[sink], ws="none", lifespan="on", log_level="warning", access_log=False)
    with listening("127.0.0.1", 0) as listener:
        server = await _started(options, listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            # no certificates are needed, and loading them is slow
            async with httpx.AsyncClient(base_url=url, timeout=GUARD, trust_env=False, verify=False) as client:
                yield Running(url, client, folder.path, policies, server=server)
        finally:
            async with asyncio.timeout(GUARD):
                await _stopped(server)


async def _started(options: uvicorn.Config, listener: socket.socket) -> uvicorn.Server:
    """uvicorn's own start. Not `serve`: its loop and its stop sleep for tenths of a second, in hundreds of tests."""
    options.load()
    server = uvicorn.Server(options)
    server.lifespan = options.lifespan_class(options)
    await server.startup(sockets=[listener])
    await server.on_tick(0)
    return server


async def _stopped(server: uvicorn.Server) -> None:
    for listener in server.servers:
        await stop(listener)
    for connection in list(server.server_state.connections):
        connection.shutdown()
    while server.server_state.connections or server.server_state.tasks:
        await asyncio.sleep(0.001)
    await server.lifespan.shutdown()


@asynccontextmanager
async def gateway_command(
    tmp: Path,
    hosts: Mapping[str, str],
    *arguments: str,
    python: Path | str = sys.executable,
    within: float = GUARD,
    environ: Mapping[str, str] | None = None,
    stderr: IO[bytes] | None = None,
    session: Callable[[], None] | None = None,
    port: int | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """`gateway serve` as a process of its own, as users start it. Its log goes to `stderr`, else to ours.

    `session` is called in the process before the gateway starts. `python` is the interpreter, perhaps of an environment
    with other packages. `within`: the seconds that a start may take.
    """
    policies = tmp / "policies"
    policies.mkdir(exist_ok=True)
    config = write_config(tmp, hosts, None, policies=str(policies), **{"drain": QUICK, **settings})
    port = port or free_port()
    command = (str(python), "-m", "gateway", "serve", "--config", str(config), "--state", str(tmp / "state"))
    process = await asyncio.create_subprocess_exec(
        *command,
        "--port",
        str(port),
        *arguments,
        env={**os.environ, **(environ or {})},
        stderr=stderr,
        preexec_fn=session,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=url, timeout=GUARD, trust_env=False) as client:
            await _answers(client, asyncio.ensure_future(process.wait()), within)
            yield Running(url, client, tmp / "state", policies, process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), GUARD)


async def _answers(client: httpx.AsyncClient, running: "asyncio.Future[Any]", within: float) -> None:
    async with asyncio.timeout(within):
        while True:
            assert not running.done(), "the gateway ended before it answered"
            try:
                await client.get("/health/live")
                return
            except httpx.TransportError:
                await asyncio.sleep(0.02)
