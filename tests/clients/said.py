"""All that a gateway says: every route, asked in every way that changes the shape of its answer.

    async with asked() as answers: ...      each answer is one JSON payload, or one event of a stream

Hosts follow the scenario that the last message names.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.gateway import in_process, write_policy
from tests.support.host import Json, Out, Received, Script, ScriptedHost, answers, chunks, completion, streams, usage
from tests.support.valkey import running as valkey_running

KEY = "sk-of-the-specifications"
MODEL = "deepseek/deepseek-v3.2"
TIMEOUTS = {"first_token": "300ms", "first_token_per_10k": "0s", "gap": "300ms", "total": "300ms"}
FUNCTION = {"name": "weather", "description": "The weather", "parameters": {"type": "object", "properties": {}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
SEVERAL = [  # what Responses may have besides functions
    {"type": "function", "name": "weather"},
    {"type": "custom", "name": "say", "format": {"type": "text"}},
    {"type": "namespace", "name": "agents", "description": "Agents.", "tools": [{"type": "function", **FUNCTION}]},
    {"type": "web_search"},
]
CALLS = [
    {**CALL, "id": f"call_{index}", "function": {"name": name, "arguments": '{"input": "x"}'}}
    for index, name in enumerate(("weather", "say", "agents__weather"))
]
LOGPROB = {"token": "Hello", "logprob": -0.1, "bytes": [72], "top_logprobs": []}


@dataclass(frozen=True, slots=True)
class Answer:
    """One payload. `path` is a route's as documents name it, without its base; `base` is `/v1` or `/api/v1`."""

    name: str
    base: str
    path: str
    method: str
    status: int
    event: bool
    payload: Any


def _with(payload: Json, part: str, **said: Any) -> Json:
    """A completion or chunk whose choice says this, too."""
    (choice,) = payload["choices"]
    own = {name: said.pop(name) for name in ("logprobs", "finish_reason") if name in said}
    return {**payload, "choices": [{**choice, **own, part: {**choice[part], **said}}]}


def _several(payload: Json) -> Json:
    """With two choices where there is one."""
    (choice,) = payload["choices"] or [None]
    return payload if choice is None else {**payload, "choices": [choice, {**choice, "index": 1}]}


def _tools_streamed(calls: list[Json]) -> list[Json]:
    begin, *rest = chunks("Look")
    pieces = []
    for index, call in enumerate(calls):
        first = {"index": index, **call, "function": {**call["function"], "arguments": ""}}
        more = {"index": index, "function": {"arguments": call["function"]["arguments"]}}
        pieces += [_with(begin, "delta", tool_calls=[one]) for one in (first, more)]
    return [begin, *rest[:-2], *pieces, _with(rest[-2], "delta", finish_reason="tool_calls"), rest[-1]]


async def _stalls(_: Received, out: Out) -> None:
    await asyncio.sleep(30)


def _breaks(*events: Json) -> Script:
    async def script(_: Received, out: Out) -> None:
        await out.head(200, {"content-type": "text/event-stream"})
        for event in events:
            await out.send(f"data: {json.dumps(event)}\n\n".encode())
        out.cut()

    return script


def _refuses(status: int, message: str = "no", **headers: str) -> tuple[Script, Script]:
    script = answers(status, {"error": {"message": message}}, headers)
    return script, script


HELLO = completion("Hello", used=usage(10, 5, 4, 2))
SCENARIOS: dict[str, tuple[Script, Script]] = {  # what a host says whole, and streamed
    "text": (answers(200, HELLO), streams(chunks("Hello you"))),
    "thoughts": (
        answers(200, completion("Hello", reasoning="Hm well", used=usage(10, 5, 0, 3))),
        streams(chunks("Hello", reasoning="Hm well")),
    ),
    "tools": (
        answers(200, _with(HELLO, "message", content=None, tool_calls=[CALL], finish_reason="tool_calls")),
        streams(_tools_streamed([CALL])),
    ),
    "kinds": (
        answers(200, _with(HELLO, "message", content=None, tool_calls=CALLS, finish_reason="tool_calls")),
        streams(_tools_streamed(CALLS)),
    ),
    "logprobs": (
        answers(200, _with(HELLO, "message", logprobs={"content": [LOGPROB]})),
        streams(
            [_with(one, "delta", logprobs={"content": [LOGPROB]}) if one["choices"] else one for one in chunks("Hi")]
        ),
    ),
    "nulls": (
        answers(200, {**HELLO, "system_fingerprint": None, "service_tier": None, "prompt_logprobs": None}),
        streams([{**one, "system_fingerprint": None, "service_tier": None} for one in chunks("Hello")]),
    ),
    "length": (answers(200, completion("Hel", finish="length")), streams(chunks("Hel", finish="length"))),
    "filtered": (
        answers(200, completion("Hel", finish="content_filter")),
        streams(chunks("Hel", finish="content_filter")),
    ),
    "two": (answers(200, _several(HELLO)), streams([_several(one) for one in chunks("Hello")])),
    "refused": _refuses(400),
    "forbidden": _refuses(403),
    "unprocessable": _refuses(422),
    "limited": _refuses(429, **{"retry-after-ms": "50"}),  # a longer hold would answer what is asked next
    "busy": _refuses(503),
    "failing": _refuses(500),
    "broken": (_breaks(), _breaks(*chunks("Hello you")[:2])),
    "silent": (_stalls, _stalls),
    "stalled": (_stalls, streams(chunks("Hello you"), pause=lambda: asyncio.sleep(30))),
}
WITHOUT_LISTS = {"two": {"n": 2}, "logprobs": {"logprobs": True}}


async def _host(request: Received, out: Out) -> None:
    body = request.json()
    whole, streamed = SCENARIOS.get(_named(body["messages"]), SCENARIOS["text"])  # a probe names none
    await (streamed if body.get("stream") else whole)(request, out)


def _named(messages: list[Json]) -> str:
    last = messages[-1]["content"]
    return last if isinstance(last, str) else last[0]["text"]


def _posts(scenario: str) -> Iterator[tuple[str, str, Json]]:
    """Base, path and body of each request that a scenario can be asked with."""
    says = [{"role": "user", "content": scenario}]
    more = WITHOUT_LISTS.get(scenario, {})
    thinks = {"reasoning": {"enabled": True}} if scenario == "thoughts" else {}
    tools = {"tools": [{"type": "function", "function": FUNCTION}]} if scenario == "tools" else {}
    flat: Json = {"tools": [{"type": "function", **FUNCTION}]} if scenario == "tools" else {}
    if scenario == "kinds":
        flat = {"tools": SEVERAL, "user": "u", "metadata": {"a": "b"}, "reasoning": {"summary": "auto"}}
        yield from ((base, "/responses", {"input": scenario, **flat}) for base in ("/v1", "/api/v1"))
        return
    anthropic = {"tools": [{"name": "weather", "input_schema": FUNCTION["parameters"]}]} if scenario == "tools" else {}
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if thinks else {}
    for base in ("/v1", "/api/v1"):
        for usage_asked in ({}, {"stream_options": {"include_usage": True}}) if base == "/v1" else ({},):
            yield base, "/chat/completions", {"messages": says, **more, **thinks, **tools, **usage_asked}
        yield base, "/responses", {"input": scenario, **thinks, **flat} if not more else {}
        yield (
            base,
            "/completions",
            {"prompt": scenario, **more, **thinks} if scenario not in ("tools", "logprobs") else {},
        )
        yield base, "/messages", {"messages": says, "max_tokens": 100, **thinking, **anthropic} if not more else {}


WRONG: dict[str, tuple[Json, dict[str, str]]] = {
    "no key": ({}, {"authorization": ""}),
    "wrong key": ({}, {"authorization": "Bearer sk-wrong"}),
    "unknown model": ({"model": "gpt-9"}, {}),
    "unknown policy": ({"model": f"{MODEL}:none"}, {}),
    "wrong field": ({"stream": "yes"}, {}),
    "too large": ({"user": "x" * 70_000}, {}),
    "nobody left": ({"provider": {"quantizations": ["bf16"]}}, {}),
    "too long": ({"max_tokens": 9_999_999}, {}),
}
GETS = (
    ("/v1", "/models", "/models"),
    ("/v1", "/models/{model}", f"/models/{MODEL}"),
    ("/api/v1", "/models", "/models"),
    ("/api/v1", "/models/count", "/models/count"),
    ("/api/v1", "/model/{author}/{slug}", f"/model/{MODEL}"),
    ("/api/v1", "/models/{author}/{slug}/endpoints", f"/models/{MODEL}/endpoints"),
    ("/api/v1", "/endpoints/zdr", "/endpoints/zdr"),
    ("/api/v1", "/providers", "/providers"),
    ("/api/v1", "/key", "/key"),
    ("/api/v1", "/credits", "/credits"),
    ("/api/v1", "/activity", "/activity"),
)


async def all_answers(folder: Path) -> list[Answer]:
    """What a gateway in `folder` says to all of these. Takes seconds."""
    found: list[Answer] = []
    async with _gateway(folder) as client:
        for scenario in SCENARIOS:
            asked = [
                _post(client, scenario, base, path, {"model": MODEL, "stream": stream, **body})
                for base, path, body in _posts(scenario)
                for stream in (False, True)
                if body
            ]
            together = scenario in ("silent", "stalled")  # each takes the time of its clock
            said = await asyncio.gather(*asked) if together else [await one for one in asked]
            found += [one for answer in said for one in answer]
        for wrong, (fields, headers) in WRONG.items():
            for base, path, body in _posts("text"):
                found += await _post(client, wrong, base, path, {"model": MODEL, **body, **fields}, headers)
        for base, path, place in GETS:
            found += await _get(client, base, path, place)
        found += await _kept(client)
        name = (await client.post("/api/v1/chat/completions", json=_question("text"))).headers["x-generation-id"]
        found += await _get(client, "/api/v1", "/generation", f"/generation?id={name}")
        found += await _get(client, "/api/v1", "/generation", "/generation?id=gen-1-unknown")
    return found


async def _kept(client: httpx.AsyncClient) -> list[Answer]:
    """A response that is kept, and a model by a name that only Anthropic's clients use."""
    found: list[Answer] = []
    for base in ("/v1", "/api/v1"):
        told = (await client.post(f"{base}/responses", json={"model": MODEL, "input": "thoughts"})).json()
        for more in ("", "/input_items"):
            found += await _get(client, base, f"/responses/{{response_id}}{more}", f"/responses/{told['id']}{more}")
    headers = {"anthropic-version": "2023-06-01"}
    model = await client.get("/v1/models/claude-opus-5", headers=headers)
    return [*found, Answer("get", "/v1", "/models/{claude}", "get", model.status_code, False, model.json())]


def _question(scenario: str) -> Json:
    return {"model": MODEL, "messages": [{"role": "user", "content": scenario}]}


@asynccontextmanager
async def _gateway(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Over one host; streams tell their routing, so that the answers are as long as they may be."""
    write_policy(folder / "policies", "specs", timeouts=TIMEOUTS, attempts={"max": 1, "within": "2s"})
    more = {"default_policy": "specs", "max_body": "64KiB", "cors": ["*"]}
    endpoint = {"supports": ["tools", "logprobs", "json_object"], "name": "Novita", "data": {"zdr": "yes"}}
    with valkey_running(folder / "valkey") as store:
        async with (
            ScriptedHost(_host) as host,
            in_process(
                folder,
                "direct",
                {"own/fp8": host.url},
                store=store,
                environ={"GATEWAY_API_KEYS": f"app:{KEY}"},
                endpoint=endpoint,
                **more,
            ) as running,
        ):
            running.client.headers["authorization"] = f"Bearer {KEY}"
            yield running.client


async def _get(client: httpx.AsyncClient, base: str, path: str, place: str) -> list[Answer]:
    answer = await client.get(base + place)
    return [Answer("get", base, path, "get", answer.status_code, False, answer.json())]


async def _post(
    client: httpx.AsyncClient, name: str, base: str, path: str, body: Json, headers: dict[str, str] | None = None
) -> list[Answer]:
    answer = await client.post(base + path, json=body, headers=headers or {})
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return [Answer(name, base, path, "post", answer.status_code, False, answer.json())]
    return [Answer(name, base, path, "post", 200, True, one) for one in _events(answer.text)]


def _events(text: str) -> Iterator[Any]:
    """The payloads of a stream's events."""
    for line in text.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])
