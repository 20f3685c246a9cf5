"""The tables of OpenRouter's fields in docs/api.md, row by row, against a gateway that runs."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.intake.options import ELSEWHERE, PLUGINS
from gateway.intake.provider import _FIELDS as PROVIDER_FIELDS
from gateway.intake.provider import _WITHOUT_EFFECT
from tests.api.openrouter import CHAT, MODEL, Json, ask, chunks_of, whole
from tests.proxy.routed import Routed, rows
from tests.support.host import ScriptedHost, answers, chunks, completion, streams

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
CHAPTER = PAGE.read_text(encoding="utf-8").partition("\n## OpenRouter's surface\n")[2].partition("\n## ")[0]
WORDS = frozenset({"works", "passed on", "ignored", "refused", "absent"})
TOOL: Json = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
ALL: Json = {"endpoint": {"supports": ["tools", "json_object", "logprobs", "seed", "logit_bias", "tool_choice"]}}


class Field(NamedTuple):
    table: str
    name: str
    word: str


def fields() -> tuple[Field, ...]:
    found = []
    table = ""
    for line in CHAPTER.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.match(r"\| *[`a-z ]+ \| \|", line):
            table = cells[0].strip("`")
        elif line.startswith("| "):
            found += [Field(table, name, cells[1]) for name in re.findall(r"`([^`]+)`", cells[0])]
    return tuple(found)


FIELDS = fields()


def of(*tables: str) -> list[Any]:
    return [pytest.param(one, id=one.name) for one in FIELDS if one.table in tables]


def names(table: str, word: str) -> list[str]:
    return [one.name for one in FIELDS if (one.table, one.word) == (table, word)]


EXAMPLES: Mapping[str, Any] = {  # a value of each request field that the page names
    "model": "deepseek-v3.2",
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hel"}],
    "stream": False,
    "tools": [TOOL],
    "tools: openrouter:web_search": [{"type": "openrouter:web_search"}],
    "response_format": {"type": "json_object"},
    "max_tokens": 9,
    "max_completion_tokens": 9,
    "models": ["openai/gpt-4", MODEL],
    "provider": {"order": ["a/fp8"]},
    "reasoning": {"enabled": True},
    "reasoning.enabled": True,
    "reasoning.effort": "high",
    "reasoning.max_tokens": 1000,
    "reasoning.exclude": True,
    "reasoning.summary": "auto",
    "reasoning.context": "all",
    "reasoning.mode": "fast",
    "reasoning_effort": "low",
    "include_reasoning": True,
    "session_id": "s1",
    "prompt_cache_key": "k1",
    "transforms": ["middle-out"],
    "preset": "test",
    "service_tier": "auto",
    "service_tier: flex": "flex",
    "service_tier: priority": "priority",
    "route": "fallback",
    "usage": {"include": True},
    "stream_options": {"include_usage": False},
    "debug": {"echo_upstream_body": True},
    "trace": {"trace_id": "t"},
    "metadata": {"a": "b"},
    "user": "u1",
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "min_p": 0.1,
    "top_a": 0.1,
    "stop": ["."],
    "seed": 7,
    "n": 1,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "repetition_penalty": 1.1,
    "logit_bias": {"5": 1},
    "logprobs": True,
    "top_logprobs": 2,
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "verbosity": "low",
    "structured_outputs": True,
    "prediction": {"type": "content", "content": "Hi"},
    "cache_control": {"type": "ephemeral"},
    "prompt_cache_options": {"mode": "auto"},
    "web_search_options": {"search_context_size": "low"},
    "modalities": ["text"],
    "image_config": {"size": "1K"},
    "provider.order": ["a/fp8"],
    "provider.only": ["a/fp8"],
    "provider.ignore": ["b/fp8"],
    "provider.allow_fallbacks": False,
    "provider.require_parameters": True,
    "provider.quantizations": ["fp8", "unknown"],
    "provider.sort": "price",
    "provider.max_price": {"prompt": "1"},
    "provider.preferred_min_throughput": 1,
    "provider.preferred_max_latency": {"p50": 9},
    "provider.data_collection": "allow",
    "provider.zdr": False,
    "provider.enforce_distillable_text": True,
    "provider.options": {"a": {}},
    **{f"plugins: {name}": [{"id": name}] for name in (*PLUGINS, *ELSEWHERE)},
}


NEED_TOOLS = frozenset({"tool_choice", "parallel_tool_calls"})  # without tools they are not sent on


def asked(name: str) -> Json:
    """The body's field that the example is: a name may be `group.field` or `field: value`."""
    field = name.partition(": ")[0]
    if field in NEED_TOOLS:
        return {field: EXAMPLES[name], "tools": [TOOL]}
    group, _, inner = field.partition(".")
    return {group: {inner: EXAMPLES[name]}} if inner else {field: EXAMPLES[name]}


def test_every_row_has_a_known_word_and_no_field_is_listed_twice() -> None:
    assert {one.word for one in FIELDS} <= WORDS
    assert len({one[:2] for one in FIELDS}) == len(FIELDS) > 100


def test_the_page_has_every_field_that_the_code_knows() -> None:
    told = {one.name.removeprefix("provider.") for one in FIELDS if one.table == "provider"}
    assert told == set(PROVIDER_FIELDS)
    assert {f"provider.{name}" for name in _WITHOUT_EFFECT} == set(names("provider", "ignored"))
    plugins = {one.name.removeprefix("plugins: "): one.word for one in FIELDS if one.name.startswith("plugins: ")}
    assert plugins == dict.fromkeys(PLUGINS, "works") | dict.fromkeys(ELSEWHERE, "refused")


@pytest.mark.parametrize("path", [CHAT, "/v1/chat/completions"])
@pytest.mark.parametrize("field", of("request", "reasoning", "provider"))
@pytest.mark.parametrize("sink", ["direct"])  # what is read of a body does not depend on the sink
async def test_a_field_of_the_request(field: Field, path: str, routed: Routed) -> None:
    body = asked(field.name)
    name = next(iter(body))
    async with (
        ScriptedHost(answers(200, completion("Hello"))) as host,
        ScriptedHost(answers(200, completion("Hello"))) as other,
        routed(host, other, settings=ALL) as running,
    ):
        response = await ask(running, path, **body)
        if field.word == "refused":
            assert (response.status_code, host.requests) == (400, [])
            error = response.json()["error"]
            assert (error["metadata"] if path == CHAT else error)["param"] == name
            return
        assert response.status_code == 200, response.text
        sent = host.requests[0].json()
        if field.word == "passed on":
            assert sent[name] == body[name]
        if field.word == "ignored":
            ours = {"stream_options": {"include_usage": True}}  # where the gateway streams what is long from the host
            assert name not in sent or sent[name] == ours.get(name)
    assert field.word in ("works", "passed on", "ignored")


def inside(payload: Json, path: str) -> bool:
    """Whether a field, as the page names it, is there and says something."""
    first, *inner = path.split(".")
    if first == "choices[]":
        return inside(payload["choices"][0], ".".join(inner))
    if first == "message" and inner:
        return inside(payload["choices"][0]["message"], ".".join(inner))
    value = payload.get(first)
    return inside(value, ".".join(inner)) if inner and isinstance(value, dict) else first in payload and not inner


async def test_the_fields_of_an_answer(routed: Routed) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    said = completion("Hello", reasoning="Hm")
    said["choices"][0]["message"] |= {"tool_calls": calls, "audio": None, "annotations": []}
    said["service_tier"] = "default"
    async with (
        ScriptedHost([answers(200, said), streams(chunks("Hello"))]) as host,
        routed(host, settings=ALL) as running,
    ):
        metadata = {"x-openrouter-metadata": "enabled"}
        found = whole(await ask(running, tools=[TOOL], headers=metadata))
        last = chunks_of(await ask(running, stream=True, headers=metadata))[-1]
    assert [name for name in names("answer", "works") if not inside(found, name)] == []
    assert [name for name in names("answer", "absent") if inside(found, name)] == []
    assert last["openrouter_metadata"]["summary"] == "available=1, selected=vLLM"
    (one,) = found["openrouter_metadata"]["endpoints"]["available"]
    assert one == {"provider": "vLLM", "model": MODEL, "endpoint": "a/fp8", "selected": True}


async def test_the_fields_of_an_error(routed: Routed) -> None:
    limited = answers(429, {"error": {"message": "slow down"}}, {"retry-after": "3"})
    async with (
        ScriptedHost(limited) as first,
        ScriptedHost(limited) as second,
        ScriptedHost([]) as third,
        routed(
            first, second, third, require={"quantization": ["fp8"]}, settings={"endpoint": {"quantization": "fp8"}}
        ) as running,
    ):
        failed = (await ask(running, provider={"ignore": ["c/fp8"]})).json()["error"]
        nobody = (await ask(running, provider={"ignore": ["vllm"]})).json()["error"]
        narrowed = (await ask(running, provider={"quantizations": ["bf16"]})).json()["error"]
        wrong = (await ask(running, n=0)).json()["error"]
    told = (failed, nobody, narrowed, wrong)
    assert [name for name in names("error", "works") if not any(inside(one, name) for one in told)] == []
    assert [name for name in names("error", "absent") if any(inside(one, name) for one in told)] == []


HEADERS = {
    "HTTP-Referer": "https://app.example",
    "X-OpenRouter-Title": "App",
    "X-Title": "Old",
    "x-session-id": "s1",
    "X-OpenRouter-Metadata": "enabled",
    "X-OpenRouter-Cache": "false",
    "X-OpenRouter-Cache-TTL": "60",
    "X-OpenRouter-Cache-Clear": "true",
    "X-OpenRouter-Categories": "cli-agent",
    "x-anthropic-beta": "a",
}


async def test_headers_are_taken(routed: Routed) -> None:
    assert set(HEADERS) == {one.name for one in FIELDS if one.table == "header in"}
    async with ScriptedHost(answers(200, completion("Hello"))) as host, routed(host) as running:
        for name, value in HEADERS.items():
            found = whole(await ask(running, headers={name: value}))
            assert ("openrouter_metadata" in found) == (name == "X-OpenRouter-Metadata")
        response = await ask(running, headers=HEADERS)
        apps = [row.app for row in rows(running)]
        assert (apps[0], apps[1], apps[2], apps[-1]) == ("https://app.example", "App", "Old", "App")
        assert not any(name.lower() in response.headers for name in names("header out", "absent"))
