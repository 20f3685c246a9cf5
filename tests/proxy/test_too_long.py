"""A request that fits nowhere is told by how much; what hosts count corrects the estimate."""

from typing import Any

import pytest

from tests.proxy.routed import Routed, error
from tests.support.host import ScriptedHost, answers, chunks, completion, streams, usage

PROMPT = "word" * 1_198  # with the role's marks, 1,200 tokens at four bytes each


def small(**fields: Any) -> dict[str, Any]:
    return {"endpoint": {"context": 1_000, **fields}}


async def test_a_prompt_that_is_too_long_is_told_by_how_much(routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host, settings=small()) as running:
        response = await running.chat(PROMPT)
        told = error(response)
        assert response.status_code == 400
        assert (told["type"], told["code"], told["param"]) == (
            "invalid_request_error",
            "context_length_exceeded",
            "messages",
        )
        assert "maximum context length" in told["message"]
        assert "over by 201" in told["message"]
        figures = {name: told["metadata"][name] for name in ("needed_tokens", "largest_context", "over_by", "endpoint")}
        assert figures == {"needed_tokens": 1_200, "largest_context": 1_000, "over_by": 201, "endpoint": "a/fp8"}
        assert told["metadata"]["removed"][0]["constraint"] == "context"


async def test_room_for_the_answer_counts(routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host, settings=small()) as running:
        told = error(await running.chat("word" * 598, max_tokens=500))
        assert told["code"] == "context_length_exceeded"
        assert (told["metadata"]["over_by"], told["metadata"]["needed_tokens"]) == (100, 1_100)
        assert "500 for the answer" in told["message"]


async def test_the_longest_prompt_may_be_what_is_limited(routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(host, settings=small(max_input=300, context=9_000)) as running:
        told = error(await running.chat("word" * 398, max_tokens=500))
        assert (told["metadata"]["over_by"], told["metadata"]["largest_context"]) == (100, 300)


async def test_hosts_that_cannot_serve_it_anyhow_do_not_count(routed: Routed) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    async with ScriptedHost([]) as host, routed(host, settings=small(supports=[])) as running:
        told = error(await running.chat(PROMPT, tools=tools))
        assert (told["code"], told["metadata"]["removed"][0]["constraint"]) == ("no_endpoint", "capability")


@pytest.mark.parametrize("stream", [True, False])
async def test_the_estimate_follows_what_hosts_count(stream: bool, routed: Routed) -> None:
    counted = usage(prompt=600)  # twice what four bytes a token make
    script = streams(chunks("Hi", used=counted)) if stream else answers(200, completion("Hi", used=counted))
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "word" * 298}]}
    async with ScriptedHost(script) as host, routed(host) as running:
        before = (await running.client.post("/v1/explain", json=body)).json()["prompt_tokens"]
        await running.chat("word" * 298, stream=stream)
        after = (await running.client.post("/v1/explain", json=body)).json()["prompt_tokens"]
        assert before == 300
        assert 310 < after < 400
