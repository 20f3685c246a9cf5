"""The HTTP client of a stock JDK, which Spring AI and LangChain4j use: it offers HTTP/2 by an upgrade."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.support.client import question
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import ScriptedHost, answers, chunks, completion, streams

PROGRAM = Path(__file__).with_name("Jdk.java")
JAVA = shutil.which("java")


@DIRECT_ONLY  # uvicorn's own connection drops the body behind an offer
@pytest.mark.skipif(JAVA is None, reason="there is no java on this machine")
@pytest.mark.parametrize("stream", [True, False])
async def test_a_jdk_client_is_served(stream: bool, gateway: Gateway) -> None:
    script = streams(chunks("Hello")) if stream else answers(200, completion("Hello"))
    async with ScriptedHost(script) as host, gateway({"a/fp8": host.url}) as running:
        url, body = f"{running.url}/v1/chat/completions", question(stream=stream).decode()
        process = await asyncio.create_subprocess_exec(
            str(JAVA), "-Xshare:auto", str(PROGRAM), url, body, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
        assert said.count(b"200 HTTP_1_1") == 2, said
        assert [one.json()["messages"] for one in host.requests] == [json.loads(body)["messages"]] * 2
