"""The models and policies that a key may use, and its expiry, seen by a client."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway import Running, in_process
from tests.support.host import ScriptedHost, answers, completion

KEYS = [
    {"tenant": "floor", "key": "sk-floor", "policies": ["floor"], "policy": "floor"},
    {"tenant": "model", "key": "sk-model", "models": ["deepseek-v3.2"]},
    {"tenant": "other", "key": "sk-other", "models": ["qwen3"]},
    {"tenant": "old", "key": "sk-old", "expires": "2020-01-01"},
    {"tenant": "new", "key": "sk-new", "expires": "2090-01-01"},
]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with (
        ScriptedHost(answers(200, completion("hello"))) as host,
        in_process(tmp_path, "direct", {"a/fp8": host.url}, keys=KEYS) as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("key", "model", "status", "code"),
    [
        ("sk-floor", "deepseek-v3.2", 200, None),
        ("sk-floor", "deepseek-v3.2:floor", 200, None),
        ("sk-floor", "deepseek-v3.2:nitro", 403, "policy_not_allowed"),
        ("sk-model", "deepseek-v3.2:nitro", 200, None),
        ("sk-model", "deepseek/deepseek-v3.2", 200, None),
        ("sk-other", "deepseek-v3.2", 403, "model_not_allowed"),
        ("sk-old", "deepseek-v3.2", 401, "expired_api_key"),
        ("sk-new", "deepseek-v3.2", 200, None),
    ],
)
async def test_what_a_key_may_use(running: Running, key: str, model: str, status: int, code: str | None) -> None:
    response = await running.chat(model=model, headers={"authorization": f"Bearer {key}"})
    assert (response.status_code, response.json().get("error", {}).get("code")) == (status, code)
