"""The JDK's own HTTP client, which Spring AI and LangChain4j use: over http it offers an upgrade to HTTP/2."""

from pathlib import Path

import pytest

from tests.clients.app import KEY, told
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams
from tests.support.programs import needs

SCRIPT = Path(__file__).parent / "HttpClientJava.java"
PIECES = chunks("Hello you")


async def host(request: Received, out: Out) -> None:
    script = streams(PIECES) if request.json().get("stream") else answers(200, completion("Hello you"))
    await script(request, out)


@DIRECT_ONLY  # the connection that `gateway serve` uses; uvicorn's own refuses what it cannot upgrade
@pytest.mark.parametrize("base", ["/v1", "/api/v1"])
async def test_it_works_as_it_comes(gateway: Gateway, base: str) -> None:
    needs("javac")  # a runtime alone does not compile the script
    environ = {"GATEWAY_API_KEYS": f"app:{KEY}"}
    async with ScriptedHost(host) as one, gateway({"own/fp8": one.url}, environ=environ) as running:
        seen = await told(needs("java"), str(SCRIPT), f"{running.url}{base}", KEY)
    status, version, answer = seen["whole"]
    assert (status, version, answer["choices"][0]["message"]["content"]) == (200, "HTTP_1_1", "Hello you")
    assert (seen["again"], seen["models"], seen["refused"]) == (200, 200, 401)
    status, lines, done = seen["streamed"]
    assert (status, done) == (200, True)
    assert lines > 3
