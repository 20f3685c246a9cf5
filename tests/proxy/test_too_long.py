"""A request that fits nowhere is told by how much; what hosts count corrects the estimate."""

from typing import Any

import pytest

from tests.proxy.routed import Routed, error
from tests.support.host import ScriptedHost, answers, chunks, completion, streams, usage

PROMPT = "word" * 1_198  # with the role's marks, 1,200 tokens at four bytes each


def small(**fields: Any) -> dict[str, Any]:
    return {"endpoint": {"context": 1_000, **fields}}


async def test_a_prompt_that_is_too_long_is_reported_by_how_much(routed: Routed) -> None:
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
        told = error(await running.chat("word" * 698, max_tokens=500))
        assert (told["code"], told["param"]) == ("context_length_exceeded", "max_tokens")
        assert (told["metadata"]["over_by"], told["metadata"]["needed_tokens"]) == (200, 1_200)
        assert "500 for the answer" in told["message"]
        assert "`max_tokens` may be up to 300" in told["message"]
        sizes = {name: told["metadata"][name] for name in ("prompt_tokens", "max_tokens", "largest_context")}
        assert sizes == {"prompt_tokens": 700, "max_tokens": 500, "largest_context": 1_000}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_close_to_the_limit_is_tried(stream: bool, routed: Routed) -> None:
    script = streams(chunks("Hi")) if stream else answers(200, completion("Hi"))
    async with ScriptedHost(script) as host, routed(host, settings=small()) as running:
        assert (await running.chat("word" * 1_150, stream=stream)).status_code == 200
        assert (await running.chat("word" * 550, max_tokens=500, stream=stream)).status_code == 200
        assert len(host.requests) == 2


async def test_such_a_host_comes_after_all_that_surely_have_room(routed: Routed) -> None:
    async with ScriptedHost(answers(200, completion("a"))) as a, ScriptedHost(answers(200, completion("b"))) as b:
        endpoints = [
            {
                "id": name,
                "provider": "x",
                "base_url": f"{host.url}/v1",
                "model": "m",
                "price": {"input": 1, "output": 1},
            }
            for name, host in (("a/fp8", a), ("b/fp8", b))
        ]
        endpoints[0]["context"] = 1_000
        model = {"name": "X", "context": 9_000, "aliases": ["deepseek-v3.2"], "endpoints": endpoints}
        async with routed(settings={"models": {"deepseek/deepseek-v3.2": model}}) as running:
            close, short = await running.chat("word" * 1_150), await running.chat("word")
            assert [one.headers["x-gateway-endpoint"] for one in (close, short)] == ["b/fp8", "a/fp8"]


@pytest.mark.parametrize(
    ("words", "param"),
    [
        (
            "maximum context length is 2000 tokens and your request has 1800 input tokens (500 > 2000 - 1800)",
            "max_tokens",
        ),
        ("This model's maximum context length is 2000 tokens, your request has 2100 input tokens", "messages"),
        ("context length exceeded", None),
    ],
)
async def test_a_host_may_say_that_the_prompt_alone_would_fit(words: str, param: str | None, routed: Routed) -> None:
    script = answers(400, {"error": {"message": words}})
    async with ScriptedHost(script) as first, ScriptedHost(script) as second, routed(first, second) as running:
        told = error(await running.chat(max_tokens=500))
        assert (told["code"], told["param"]) == ("context_length_exceeded", param)
        if param == "max_tokens":
            sizes = {name: told["metadata"][name] for name in ("prompt_tokens", "max_tokens", "largest_context")}
            assert sizes == {"prompt_tokens": 1_800, "max_tokens": 500, "largest_context": 2_000}


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
