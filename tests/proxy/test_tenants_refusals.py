"""What one tenant's request was refused for says nothing to another, on any surface."""

from typing import Any

import pytest

from tests.proxy.routed import FIXED
from tests.support.gateway import Gateway, write_policy
from tests.support.host import ScriptedHost, answers, completion

Json = dict[str, Any]
HI = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
KEYS = {"GATEWAY_API_KEYS": "a:sk-aaaaaaaa,b:sk-bbbbbbbb"}
GOOD = answers(200, completion("Hello"))
SURFACES: dict[str, tuple[str, Json]] = {
    "chat": ("/v1/chat/completions", {"messages": HI, "tools": [TOOL]}),
    "openrouter": ("/api/v1/chat/completions", {"messages": HI, "tools": [TOOL]}),
    "messages": (
        "/v1/messages",
        {"messages": HI, "max_tokens": 99, "tools": [{"name": "f", "input_schema": {"type": "object"}}]},
    ),
    "responses": ("/v1/responses", {"input": "Hi", "tools": [{"type": "function", "name": "f", "parameters": {}}]}),
}


@pytest.mark.parametrize(("path", "body"), SURFACES.values(), ids=SURFACES)
async def test_a_host_without_tools_is_last_for_who_has_met_it(
    path: str, body: Json, gateway: Gateway, tmp_path: Any
) -> None:
    refuses = answers(400, {"error": {"message": "tools param requires --jinja flag"}})
    write_policy(tmp_path / "policies", "test", **FIXED)
    async with (
        ScriptedHost([refuses, GOOD, GOOD]) as first,
        ScriptedHost(GOOD) as second,
        gateway(
            {"a/fp8": first.url, "b/fp8": second.url},
            environ=KEYS,
            endpoint={"supports": ["tools"]},
            default_policy="test",
        ) as running,
    ):
        served = []
        for tenant in "aaba":
            headers = {"authorization": f"Bearer sk-{tenant * 8}"}
            response = await running.client.post(path, json={"model": "deepseek-v3.2", **body}, headers=headers)
            assert response.status_code == 200, response.text
            served.append(response.headers["x-gateway-endpoint"])
        assert served == ["b/fp8", "b/fp8", "a/fp8", "b/fp8"]
