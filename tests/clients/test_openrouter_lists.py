"""OpenRouter's own SDK against the gateway's lists and accounts: base URL swapped, nothing else."""

from pathlib import Path

from tests.clients.app import KEY, told
from tests.clients.sdks import command_of
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import ScriptedHost, answers, completion
from tests.support.valkey import running as valkey_running


@DIRECT_ONLY  # these routes are Starlette's over either sink
async def test_every_list_is_what_the_sdk_expects(gateway: Gateway, tmp_path: Path) -> None:
    command = command_of("openrouter", "openrouter_lists.py")
    with valkey_running(tmp_path / "valkey") as store:
        environ = {"GATEWAY_API_KEYS": f"app:{KEY}"}
        async with (
            ScriptedHost(answers(200, completion("Hello"))) as host,
            gateway({"own/fp8": host.url}, environ=environ, store=store) as running,
        ):
            name = (await running.chat(headers={"authorization": f"Bearer {KEY}"})).headers["x-generation-id"]
            seen = await told(*command, f"{running.url}/api/v1", KEY, name)
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
