"""Requests that no SDK would send: refused in words, or taken; never a fault of ours, and never kept in full."""

from typing import Any

import pytest

from gateway.intake.body import LARGEST_COUNT
from gateway.intake.model_and_policy import LONGEST
from gateway.intake.prompt import LONGEST_ROLE
from gateway.intake.provider import REMEMBERED, Preferences
from gateway.types import Model, Policy
from tests.proxy.routed import Routed
from tests.support.host import ScriptedHost

MESSAGES = [{"role": "user", "content": "Hi"}]
CHATS = ("/v1/chat/completions", "/api/v1/chat/completions")


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/responses", {"input": [{"role": ["user"], "content": "Hi"}]}, "input[0].role"),
        ("/v1/responses", {"input": [{"type": ["x" * 99_999]}]}, "input[0].type"),
        *[(path, {"model": "x" * (LONGEST + 1)}, "model") for path in CHATS],
        *[(path, {"models": ["x" * 99_999], "model": None}, "model") for path in CHATS],
        *[(path, {"messages": [{"role": "u" * (LONGEST_ROLE + 1)}]}, "messages[0]") for path in CHATS],
        *[(path, {"max_completion_tokens": 2**64 - 1}, "max_completion_tokens") for path in CHATS],
    ],
)
async def test_refused_in_words(path: str, fields: dict[str, Any], param: str, routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host) as running:
        prompt = {} if path.endswith("responses") else {"messages": MESSAGES}
        response = await running.client.post(path, json={"model": "deepseek-v3.2", **prompt, **fields})
        assert response.status_code == 400, response.text
        assert param in response.text
        assert len(response.text) < 1_000


async def test_the_largest_max_tokens_exceeds_the_context(routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host) as running:
        response = await running.chat(max_tokens=LARGEST_COUNT)
        assert response.json()["error"]["code"] == "context_length_exceeded", response.text


def test_wishes_are_remembered_by_less_than_their_text() -> None:
    preferences, policy = Preferences(), Policy("test")
    model = Model("author/model", "Model", 1000, ())
    for number in range(REMEMBERED + 9):
        preferences.applied(policy, {"options": {"x": f"{number}" * 9_999}}, model, (), {})
    kept = [key for _, _, key in preferences._derived]
    assert len(kept) == REMEMBERED
    assert max(map(len, kept)) < 100
