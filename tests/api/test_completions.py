"""`/v1/completions`: a prompt becomes a user message, and the answer a text completion."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.errors import BadRequest
from gateway.surface.openai.completions import REFUSED, chat_request
from tests.proxy.routed import stalls
from tests.support.gateway import Gateway, write_policy
from tests.support.host import Out, Received, ScriptedHost, answers, chunks, completion, streams

PATH = "/v1/completions"
ASKED: dict[str, Any] = {"model": "deepseek-v3.2", "prompt": "Once upon"}


def events(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]


def text(parsed: list[dict[str, Any]]) -> str:
    return "".join(choice["text"] for chunk in parsed for choice in chunk["choices"])


@pytest.mark.parametrize("prompt", ["Hi", ["Hi"]])
def test_the_prompt_is_a_user_message(prompt: Any) -> None:
    made = chat_request({"model": "m", "prompt": prompt, "max_tokens": 5, "stop": ["."]})
    assert made == {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stop": ["."]}


def test_what_asks_for_nothing_is_no_error() -> None:
    nothing = {"best_of": 1, "echo": False, "logprobs": None, "suffix": "", "tools": []}
    assert chat_request(ASKED | nothing) == chat_request(ASKED)


@pytest.mark.parametrize("prompt", [None, 7, [], ["a", "b"], [1, 2, 3], [[1, 2]], {"a": 1}])
def test_other_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(BadRequest, match="a list of one string") as caught:
        chat_request({"prompt": prompt})
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_host_does_is_refused(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat_request(ASKED | {name: 3})
    assert caught.value.param == name
    assert REFUSED[name] in caught.value.message


async def test_a_whole_completion(gateway: Gateway) -> None:
    said = completion("a time", reasoning="I think", finish="length")
    async with ScriptedHost(answers(200, said)) as host, gateway({"a/fp8": host.url}) as running:
        answer = (await running.client.post(PATH, json=ASKED)).json()
        assert host.requests[0].json()["messages"] == [{"role": "user", "content": "Once upon"}]
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [
        {"text": "a time", "index": 0, "logprobs": None, "finish_reason": "length", "reasoning_content": "I think"}
    ]
    assert answer["usage"]["total_tokens"] == 15
    assert answer["usage"]["cost"] > 0


async def test_a_choice_without_an_index_is_the_first(gateway: Gateway) -> None:
    said = completion("a time")
    del said["choices"][0]["index"]
    async with ScriptedHost(answers(200, said)) as host, gateway({"a/fp8": host.url}) as running:
        answer = (await running.client.post(PATH, json=ASKED)).json()
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == [(0, "a time")]


async def test_a_streamed_completion(gateway: Gateway) -> None:
    async with ScriptedHost(streams(chunks("a time ago"))) as host, gateway({"a/fp8": host.url}) as running:
        asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
        *found, last = events(await running.client.post(PATH, json=asked))
    parsed = [json.loads(event) for event in found]
    assert last == "[DONE]"
    assert {chunk["object"] for chunk in parsed} == {"text_completion"}
    assert text(parsed) == "a time ago"
    assert parsed[-2]["choices"][0]["finish_reason"] == "stop"
    assert parsed[-1]["choices"] == []
    assert parsed[-1]["usage"]["total_tokens"] == 15


async def test_a_stream_that_breaks_says_so(gateway: Gateway) -> None:
    cut = streams(chunks("a time ago")[:-2], done=False)
    async with ScriptedHost(cut) as host, gateway({"a/fp8": host.url}) as running:
        found = [json.loads(event) for event in events(await running.client.post(PATH, json={**ASKED, "stream": True}))]
    assert "broke off" in found[-1]["error"]["message"]
    assert found[-1]["choices"][0]["finish_reason"] == "error"


async def test_errors_have_openais_shape(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(400, {"error": {"message": "bad"}})) as host,
        gateway({"a/fp8": host.url}) as running,
    ):
        for fields in ({"suffix": "end"}, {"prompt": None}, {"max_tokens": 0}, {}):
            response = await running.client.post(PATH, json=ASKED | fields)
            assert response.status_code == 400
            assert {"message", "type", "param", "code"} <= response.json()["error"].keys()


def test_the_documentation_names_every_field_that_is_not_taken() -> None:
    chapter = (Path(__file__).parents[2] / "docs" / "api.md").read_text().partition("## Text completions")[2]
    assert [name for name in REFUSED if f"`{name}`" not in chapter.partition("\n## ")[0]] == []


async def test_a_client_that_waits_gets_comments(gateway: Gateway, tmp_path: Path) -> None:
    async def late(request: Received, out: Out) -> None:
        await host.until(lambda: bool(lines))
        await streams(chunks("a time"))(request, out)

    lines: list[str] = []
    write_policy(tmp_path / "policies", "quick", keepalive="10ms")
    async with (
        ScriptedHost(late) as host,
        gateway({"a/fp8": host.url}, default_policy="quick") as running,
        running.client.stream("POST", PATH, json={**ASKED, "stream": True}) as response,
    ):
        async for line in response.aiter_lines():
            lines.append(line)  # noqa: PERF401 (the host waits for the first)
    assert lines[0] == ": keep-alive"
    told = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert text(told) == "a time"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_ends_the_hosts_work(gateway: Gateway, stream: bool) -> None:
    async with ScriptedHost(stalls) as host, gateway({"a/fp8": host.url}) as running:
        asked = asyncio.create_task(running.client.post(PATH, json={**ASKED, "stream": stream}))
        await host.until(lambda: len(host.requests) == 1)
        asked.cancel()
        await host.until(lambda: host.gone == 1)
