"""OpenRouter's own SDK against the gateway's lists and accounts: base URL swapped, nothing else."""

import asyncio
import json
from pathlib import Path

from tests.clients.app import KEY
from tests.clients.environments import python_with
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import ScriptedHost, answers, completion
from tests.support.valkey import running as valkey_running

SCRIPT = Path(__file__).parent / "openrouter_lists.py"


@DIRECT_ONLY  # these routes are Starlette's over either sink
async def test_every_list_is_what_the_sdk_expects(gateway: Gateway, tmp_path: Path) -> None:
    python = python_with("openrouter", "openrouter==1.3.84")
    with valkey_running(tmp_path / "valkey") as store:
        environ = {"GATEWAY_API_KEYS": f"app:{KEY}"}
        async with (
            ScriptedHost(answers(200, completion("Hello"))) as host,
            gateway({"own/fp8": host.url}, environ=environ, store=store) as running,
        ):
            name = (await running.chat(headers={"authorization": f"Bearer {KEY}"})).headers["x-generation-id"]
            process = await asyncio.create_subprocess_exec(
                *(str(python), str(SCRIPT), f"{running.url}/api/v1", KEY, name),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 0, err.decode()
    seen = json.loads(out)
    assert seen.pop("credits") >= 0
    assert seen.pop("activity") in (0, 1)  # the row may not be shipped yet
    assert seen == {
        "models": ["deepseek/deepseek-v3.2", "0.00000025"],
        "count": 1,
        "endpoints": ["own/fp8"],
        "zdr": ["own/fp8"],
        "providers": ["vllm"],
        "generation": [name, "stop", [200]],
        "key": "app",
    }
