"""DeepSeek's own ways: thinking, the reasoner's name, cache hits in usage, prefix completion, its paths."""

from typing import Any

import pytest

from tests.proxy.routed import Routed, error, payloads
from tests.support.host import ScriptedHost, answers, chunks, completion, streams

SWITCH = {"dialect": {"thinking": "thinking.type", "thinking_default": "off"}}
CONTINUES = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "1, 2,", "prefix": True}]


def can(*names: str) -> dict[str, Any]:
    return {"endpoint": {"supports": list(names), **SWITCH}}


@pytest.mark.parametrize(
    ("asked", "thinks"),
    [
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"model": "deepseek-reasoner"}, True),
        ({"model": "deepseek-chat"}, False),
    ],
)
async def test_thinking_is_switched_by_field_or_name(asked: dict[str, Any], thinks: bool, routed: Routed) -> None:
    async with ScriptedHost(answers(200, completion("Hi"))) as host, routed(host, settings=can()) as running:
        assert (await running.chat(**asked)).status_code == 200
        assert (host.requests[0].json().get("thinking") == {"type": "enabled"}) == thinks


@pytest.mark.parametrize("stream", [True, False])
async def test_usage_has_what_the_cache_had(stream: bool, routed: Routed) -> None:
    used = {
        "prompt_tokens": 339,
        "completion_tokens": 5,
        "prompt_cache_hit_tokens": 320,
        "prompt_cache_miss_tokens": 19,
    }
    script = streams(chunks("Hi", used=used)) if stream else answers(200, completion("Hi", used=used))
    async with ScriptedHost(script) as host, routed(host) as running:
        response = await running.chat(stream=stream)
        told = (payloads(response.text)[-1] if stream else response.json())["usage"]
        assert (told["prompt_cache_hit_tokens"], told["prompt_cache_miss_tokens"]) == (320, 19)
        assert told["prompt_tokens_details"] == {"cached_tokens": 320}


async def test_a_prefix_is_continued_where_a_host_can(routed: Routed) -> None:
    async with ScriptedHost(answers(200, completion(" 3"))) as host, routed(host, settings=can("prefix")) as running:
        response = await running.chat(messages=CONTINUES)
        assert response.json()["choices"][0]["message"]["content"] == " 3"
        assert host.requests[0].json()["messages"] == CONTINUES


async def test_where_none_can_the_error_says_so(routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host, settings=can()) as running:
        response = await running.chat(messages=CONTINUES)
        assert response.status_code == 404
        assert "does not support prefix" in error(response)["message"]


@pytest.mark.parametrize("last", [{"role": "user", "prefix": True}, {"role": "assistant", "prefix": "1"}])
async def test_only_the_assistant_is_continued(last: dict[str, Any], routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host, settings=can("prefix")) as running:
        response = await running.chat(messages=[{"content": "Hi", **last}])
        assert (response.status_code, error(response)["param"]) == (400, "messages")


async def test_strict_tools_pass_and_bind_only_on_request(routed: Routed) -> None:
    strict = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}]
    async with ScriptedHost(answers(200, completion("Hi"))) as host, routed(host, settings=can("tools")) as running:
        assert (await running.chat(tools=strict)).status_code == 200
        assert host.requests[0].json()["tools"] == strict
        refused = await running.chat(tools=strict, provider={"require_parameters": True})
        assert "does not support strict_tools" in error(refused)["message"]


@pytest.mark.parametrize("path", ["/chat/completions", "/beta/chat/completions"])
async def test_its_base_url_has_no_version(path: str, routed: Routed) -> None:
    body = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "Hi"}]}
    async with ScriptedHost(answers(200, completion("Hi"))) as host, routed(host) as running:
        response = await running.client.post(path, json=body)
        assert response.json()["choices"][0]["message"]["content"] == "Hi"
        assert (await running.client.get("/models")).json() == (await running.client.get("/v1/models")).json()
