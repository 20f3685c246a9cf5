"""An app that uses an SDK: its script, its gateway and a real HTTP host. Its base URL is swapped, nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from gateway.sim.host import serving
from tests.sim.world import STEADY
from tests.support.gateway import Gateway

KEY = "test-key-of-the-app"
ENDS_WITHIN = 120
DIALECT = {"dialect": {"thinking": "chat_template_kwargs.thinking", "thinking_default": "off"}}


async def told(*command: str) -> Any:
    """What a script prints as JSON."""
    return json.loads(await printed(*command))


async def printed(*command: str) -> str:
    """What a script prints."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), ENDS_WITHIN)
    assert process.returncode == 0, err.decode()
    return out.decode()


class App:
    """`command` starts the script; the names of what it is to do come after it."""

    def __init__(self, command: Sequence[str], host: str) -> None:
        self._command, self._host = command, host

    async def does(self, *names: str) -> Any:
        """What the script saw: of one thing, or of each of several, which spares starting the SDK for each."""
        seen = await told(*self._command, *names)
        return seen[names[0]] if len(names) == 1 else seen

    async def steer(self, **state: Any) -> None:
        async with httpx.AsyncClient() as client:
            (await client.post(f"{self._host}/_sim", json=state)).raise_for_status()

    async def counters(self) -> dict[str, Any]:
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{self._host}/_sim")).json()


@asynccontextmanager
async def app_of(gateway: Gateway, command: Sequence[str], path: str = "", **settings: Any) -> AsyncIterator[App]:
    """`command` gets the gateway's URL with this path and the key; `settings` are the gateway's."""
    async with serving([STEADY], speed=0) as addresses:
        host = addresses[STEADY.id]
        environ = {"GATEWAY_API_KEYS": f"app:{KEY}"}
        async with gateway({STEADY.id: host}, environ=environ, **settings) as running:
            yield App([*command, f"{running.url}{path}", KEY], host)
