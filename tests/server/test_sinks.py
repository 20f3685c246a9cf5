"""One relay, two sinks: whatever happens, clients of both get the same bytes."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.routed import DONE, ROLE, WORD, chunk, data, says, stalls
from tests.support.client import CHAT, connected, question, request
from tests.support.gateway import NO_STORE, SINKS, Running, in_process, write_policy
from tests.support.host import Out, Received, Script, ScriptedHost, answers, chunks, completion, streams

NAMELESS = CHAT.replace(b"host: localhost\r\n", b"")
KEY = "sk-client-0123456789abcdefghij"
CLOSE = b"connection: close\r\n"
OF_THE_MOMENT = re.compile(rb"^date: .*?\r\n|(?:gen|req)-[\w-]+|(?<=\"created\":)\d+", re.MULTILINE)
OVERLOADED = {"error": {"message": "overloaded", "code": 503}}
TOO_LONG = {"error": {"message": "maximum context length is 100 tokens"}}
GOOD = streams(chunks("Hello world"))
LIMITS = {"max": 4, "within": "1s", "retries": 0}
QUICK = {"connect": "300ms", "first_token": "300ms", "first_token_per_10k": "0s", "gap": "300ms", "total": "300ms"}


async def cuts(_: Received, out: Out) -> None:
    out.cut()


ANSWERED: dict[str, tuple[Script, bytes]] = {
    "a whole answer": (answers(200, completion("Hello")), request(question())),
    "a stream": (GOOD, request(question(stream=True))),
    "a stream with usage": (GOOD, request(question(stream=True, stream_options={"include_usage": True}))),
    "a stream that is rewritten": (GOOD, request(question(stream=True, model="deepseek-reasoner"))),
    "a query string": (GOOD, request(question(stream=True), head=CHAT.replace(b"ns ", b"ns?api-version=1 "))),
}
REFUSED: dict[str, bytes] = {
    "no JSON": request(b"{"),
    "a wrong field": request(question(messages="Hi")),
    "an unknown model": request(question(model="gpt-4")),
    "an unknown policy": request(question(model="deepseek-v3.2:nothing")),
    "an unknown cache mode": request(question(), b"x-gateway-cache: maybe"),
    "too deep": request(question()[:-1] + b',"extra":' + b"[" * 900 + b"]" * 900 + b"}"),
    "a wrong method": request(question(), head=CHAT.replace(b"POST", b"PUT")),
    "a wrong path": request(question(), head=CHAT.replace(b"/v1", b"/v2")),
    "no Host": request(question(), head=NAMELESS),
    "two Hosts": request(question(), b"host: localhost"),
    "two Hosts, one with a capital": request(question(), b"Host: other"),
    "a Host that is no name": request(question(), b"host: local host", head=NAMELESS),
    "no Host, on another route": b"GET /v1/models HTTP/1.1\r\naccept: */*\r\n\r\n",
    "a Host with a path, on another route": b"GET /v1/models HTTP/1.1\r\nhost: localhost/v1\r\n\r\n",
}
FAILED: dict[str, Script] = {
    "malformed": answers(422, {"error": {"message": "messages: wrong", "code": "invalid"}}),
    "too long for the model": answers(400, TOO_LONG),
    "a bad key": answers(401, {"error": {"message": "bad key"}}),
    "rate limited": answers(429, {"error": {"message": "slow down"}}, {"retry-after": "7"}),
    "rate limited without a hint": answers(429, {}),
    "overloaded": answers(503, OVERLOADED),
    "an error in a 200": answers(200, OVERLOADED),
    "closed at once": cuts,
    "not HTTP's JSON": answers(200, b"<html>busy</html>"),
}
BROKEN: dict[str, Script] = {
    "a cut": says(ROLE, WORD, then="cut"),
    "a reset": says(ROLE, WORD, then="reset"),
    "silence": says(ROLE, WORD, then="stall"),
    "an error event": says(ROLE, WORD, data(OVERLOADED), DONE),
    "no finish reason": says(ROLE, WORD, DONE),
    "an unclean finish reason": says(ROLE, WORD, chunk({}, "insufficient_system_resource"), DONE),
}


@asynccontextmanager
async def over(sink: str, folder: Path, *hosts: ScriptedHost, **settings: Any) -> AsyncIterator[Running]:
    """A gateway whose endpoints `a/fp8`, `b/fp8` are asked in this order."""
    own = folder / sink
    own.mkdir()
    write_policy(own / "policies", "test", pick={"how": "best", "explore": "0%"}, timeouts=QUICK, attempts=LIMITS)
    urls = {f"{name}/fp8": host.url for name, host in zip("ab", hosts, strict=False)}
    async with in_process(own, sink, urls, **({"default_policy": "test", "store": NO_STORE} | settings)) as running:
        yield running


async def said(running: Running, question: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer, without what is of the moment."""
    async with connected(running) as connection:
        await connection.send(question)
        head = await connection.head()
        return OF_THE_MOMENT.sub(b"", head), OF_THE_MOMENT.sub(b"", await connection.body(head))


async def alike(
    folder: Path, question: bytes, *scripts: Script, ends: bool = False, **settings: Any
) -> tuple[bytes, bytes]:
    """What both sinks answer, when hosts follow these scripts. With `ends` it ends the connection if that is ours."""
    heard = []
    for sink in SINKS:
        async with (
            ScriptedHost(scripts[0]) as first,
            ScriptedHost(scripts[-1]) as second,
            over(sink, folder, first, second, **settings) as running,
        ):
            heard.append(await said(running, question))
    head, body = heard[0]
    assert (head.replace(CLOSE, b"") if ends else head, body) == heard[1]
    assert (CLOSE in head) is ends
    return head, body


@pytest.mark.parametrize("case", ANSWERED)
async def test_answers(case: str, tmp_path: Path) -> None:
    script, question = ANSWERED[case]
    head, body = await alike(tmp_path, question, script)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Hello" in body


@pytest.mark.parametrize("head", [NAMELESS, b"GET /v1/models HTTP/1.1\r\n", CHAT + b"host: localhost\r\n"])
async def test_a_wrong_host_counts_with_keys_too(head: bytes, tmp_path: Path) -> None:
    body = b"" if head.startswith(b"GET") else question()
    asked = request(body, b"authorization: Bearer " + KEY.encode(), head=head)
    head, body = await alike(tmp_path, asked, GOOD, ends=True, environ={"GATEWAY_API_KEYS": f"team:{KEY}"})
    assert head.startswith(b"HTTP/1.1 400")
    assert b'"code":"invalid_http"' in body


@pytest.mark.parametrize("case", REFUSED)
async def test_refusals(case: str, tmp_path: Path) -> None:
    head, body = await alike(tmp_path, REFUSED[case], GOOD, ends="Host" in case)
    assert head.startswith(b"HTTP/1.1 4")
    assert body.startswith(b'{"error":{"message":"')


async def test_a_request_that_no_endpoint_can_serve(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    head, _ = await alike(tmp_path, request(question(tools=tools)), GOOD, endpoint={"supports": []})
    assert head.startswith(b"HTTP/1.1 4")
    assert b"x-gateway-attempts: 0\r\n" in head


@pytest.mark.parametrize("header", [(), (b"authorization: Bearer wrong",)])
async def test_a_missing_or_a_wrong_key(header: tuple[bytes, ...], tmp_path: Path) -> None:
    environ = {"GATEWAY_API_KEYS": f"team:{KEY}"}
    head, _ = await alike(tmp_path, request(question(), *header), GOOD, environ=environ)
    assert head.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("length", [b"content-length: 3000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\nbb8\r\n"])
async def test_a_body_that_is_too_large(length: bytes, tmp_path: Path) -> None:
    """The head says, too, whether the connection goes on after it. That is up to whoever owns the connection."""
    heard = []
    for sink in SINKS:
        async with over(sink, tmp_path, max_body="1KiB") as running:
            heard.append(await said(running, CHAT + length + b"x" * 3000))
    (direct, same), (asgi, body) = heard
    assert direct.startswith(b"HTTP/1.1 413 ")
    assert (direct.replace(b"connection: close\r\n", b""), same) == (asgi, body)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("case", FAILED)
async def test_hosts_that_fail(case: str, stream: bool, tmp_path: Path) -> None:
    head, _ = await alike(tmp_path, request(question(stream=stream)), FAILED[case])
    assert not head.startswith(b"HTTP/1.1 200 ")


async def test_hosts_that_are_silent(tmp_path: Path) -> None:
    """A whole answer's time is fixed; a stream's second attempt has what the first has left, to the millisecond."""
    head, _ = await alike(tmp_path, request(question()), stalls)
    assert head.startswith(b"HTTP/1.1 504 ")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failover(stream: bool, tmp_path: Path) -> None:
    good = GOOD if stream else answers(200, completion("Hello"))
    head, _ = await alike(tmp_path, request(question(stream=stream)), answers(500, {}), good)
    assert b"x-gateway-attempts: 2\r\n" in head


@pytest.mark.parametrize("case", BROKEN)
async def test_streams_that_break_off(case: str, tmp_path: Path) -> None:
    head, body = await alike(tmp_path, request(question(stream=True)), BROKEN[case])
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b'"finish_reason":"error"' in body


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_is_given_again(stream: bool, valkey: str, tmp_path: Path) -> None:
    """What was kept through one sink is given through the other."""
    text = f"Hello, {stream}"  # an entry of its own in the store, which is shared
    asked = request(question(stream=stream, seed=int(stream)), b"x-gateway-cache: on")
    async with (
        ScriptedHost(answers(200, completion(text)) if not stream else streams(chunks(text))) as host,
        over("direct", tmp_path, host, store=valkey) as direct,
        over("asgi", tmp_path, host, store=valkey) as asgi,
    ):
        async with asyncio.timeout(60):
            for running in (direct, asgi):
                while b"x-gateway-cache: hit" not in (await said(running, asked))[0]:
                    pass
        heard = [await said(running, asked) for running in (direct, asgi)]
    assert heard[0] == heard[1]
    assert b"x-gateway-cache: hit" in heard[0][0]
