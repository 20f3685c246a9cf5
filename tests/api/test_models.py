"""`GET /v1/models`, for OpenAI's clients and for Anthropic's. These routes are Starlette's over either sink."""

from typing import Any

import pytest

from gateway.api.models import VERSION
from tests.support.gateway import DIRECT_ONLY, Gateway

pytestmark = DIRECT_ONLY
HOSTS = {"own/fp8": "http://127.0.0.1:1"}
OPENAI = {
    "id": "deepseek/deepseek-v3.2",
    "object": "model",
    "created": 1_764_547_200,
    "owned_by": "deepseek",
    "name": "DeepSeek V3.2",
    "context_length": 163_840,
}
ANTHROPIC = {
    "type": "model",
    "id": "deepseek/deepseek-v3.2",
    "display_name": "DeepSeek V3.2",
    "created_at": "2025-12-01T00:00:00Z",
    "lifecycle": "active",
    "max_input_tokens": 163_840,
}


@pytest.mark.parametrize(("headers", "one"), [({}, OPENAI), ({VERSION: "2023-06-01"}, ANTHROPIC)])
async def test_one_model_by_each_of_its_names(gateway: Gateway, headers: dict[str, str], one: dict[str, Any]) -> None:
    async with gateway(HOSTS) as running:
        for name in ("deepseek/deepseek-v3.2", "deepseek%2Fdeepseek-v3.2", "deepseek-chat", "deepseek-v3.2:floor"):
            answer = await running.client.get(f"/v1/models/{name}", headers=headers)
            assert (answer.status_code, answer.json()) == (200, one)
        unknown = await running.client.get("/v1/models/gpt-9", headers=headers)
        assert unknown.status_code == 404
        assert "there is no model `gpt-9`" in unknown.json()["error"]["message"]


async def test_all_of_them(gateway: Gateway) -> None:
    async with gateway(HOSTS) as running:
        for path in ("/v1/models", "/models"):
            assert (await running.client.get(path)).json() == {"object": "list", "data": [OPENAI]}
        listed = (await running.client.get("/v1/models", headers={VERSION: "2023-06-01"})).json()
    name = ANTHROPIC["id"]
    assert listed == {"data": [ANTHROPIC], "has_more": False, "first_id": name, "last_id": name}
