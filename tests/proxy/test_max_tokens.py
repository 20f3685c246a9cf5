"""More tokens than any endpoint gives: who gives most that is asked for comes first, else the limit is the host's."""

from typing import Any

import pytest

from tests.proxy.routed import Routed, error
from tests.support.host import ScriptedHost, answers, chunks, completion, streams

Json = dict[str, Any]


def models(*endpoints: tuple[str, ScriptedHost, int | None]) -> Json:
    rows = [
        {"id": name, "provider": "x", "base_url": f"{host.url}/v1", "model": "m", "price": {"input": 1, "output": 1}}
        | ({} if most is None else {"max_output": most})
        for name, host, most in endpoints
    ]
    model = {"name": "X", "context": 163_840, "aliases": ["deepseek-v3.2"], "endpoints": rows}
    return {"models": {"deepseek/deepseek-v3.2": model}}


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [True, False])
async def test_it_is_lowered_to_what_the_host_gives_and_said(field: str, stream: bool, routed: Routed) -> None:
    script = streams(chunks("Hi")) if stream else answers(200, completion("Hi"))
    async with ScriptedHost(script) as host, routed(settings=models(("a/fp8", host, 8_000))) as running:
        response = await running.chat(stream=stream, **{field: 128_000})
        assert response.status_code == 200
        assert response.headers["x-gateway-max-tokens"] == "8000"
        assert host.requests[0].json()["max_tokens"] == 8_000
        response = await running.chat(stream=stream, **{field: 8_000})
        assert "x-gateway-max-tokens" not in response.headers
        assert host.requests[1].json()["max_tokens"] == 8_000


async def test_who_gives_all_comes_first(routed: Routed) -> None:
    good = answers(200, completion("Hi"))
    async with ScriptedHost(good) as small, ScriptedHost([good, answers(500, {}), *[good] * 9]) as large:
        settings = models(("a/fp8", small, 8_000), ("b/fp8", large, 64_000))
        async with routed(settings=settings) as running:
            served = []
            for most in (64_000, 64_000, 8_000):
                response = await running.chat(max_tokens=most)
                served.append((response.headers["x-gateway-endpoint"], response.headers.get("x-gateway-max-tokens")))
            assert served[0] == ("b/fp8", None)
            assert served[2] == ("a/fp8", None)
            body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 64_000}
            told = (await running.client.post("/v1/explain", json=body)).json()
            assert told["ranked"][1]["behind_because"] == "max_output: 64,000 tokens asked for, gives 8,000"


@pytest.mark.parametrize("most", [0, -1, 2**60, 1.5, "9"])
async def test_what_is_no_number_of_tokens_is_refused_with_the_limit(most: Any, routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(settings=models(("a/fp8", host, 8_000))) as running:
        told = error(await running.chat(max_tokens=most))
        assert told["param"] == "max_tokens"
        assert told["message"].startswith(f"`max_tokens` must be a whole number from 1 to {2**53}")


async def test_where_no_limit_is_known_the_context_is_one(routed: Routed) -> None:
    async with ScriptedHost([]) as host, routed(settings=models(("a/fp8", host, None))) as running:
        told = error(await running.chat(max_tokens=10**9))
        assert (told["code"], told["param"]) == ("context_length_exceeded", "max_tokens")
        assert "163,840" in told["message"]
