"""What is refused before its body is read: on every route, over both sinks, in its clients' words."""

import asyncio
import json
from itertools import product
from typing import Any

import pytest

from tests.support.client import Connection, connected, fields, question, request
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import ScriptedHost, answers, chunks, completion, streams

KEY = "sk-client-0123456789abcdefghij"
WITH_KEY = {"GATEWAY_API_KEYS": f"team:{KEY}"}
POSTED = ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions", "/api/v1/chat/completions"]
POSTED += ["/v1/explain", "/v1/messages/count_tokens", "/chat/completions", "/v1/chat/completions?a=b"]
SHOWN = ["/", "/page/model.json", "/metrics", "/v1/models", "/openapi.json", "/api/v1/activity", "/api/v1/key"]
SHOWN += ["/health/ready", "/api/v1/models", "/nowhere"]
PAGE = b"origin: https://evil.example"
REBOUND = b"host: evil.example"


def head(method: str, path: str, *lines: bytes) -> bytes:
    return b"\r\n".join((f"{method} {path} HTTP/1.1".encode(), *lines, b"", b""))


async def told(connection: Connection, status: int = 403) -> dict[str, Any]:
    """The error of an answer with this status."""
    got, headers, body = await connection.answer()
    assert (got, headers["content-type"]) == (status, "application/json")
    error: dict[str, Any] = json.loads(body)["error"]
    return error


@pytest.mark.parametrize("lines", [(REBOUND,), (b"host: localhost", PAGE)])
async def test_without_keys_no_page_spends_money(lines: tuple[bytes, ...], gateway: Gateway) -> None:
    """The body is announced and never sent."""
    async with ScriptedHost(answers(200, completion("Hi"))) as host, gateway({"a/fp8": host.url}) as running:
        for path in POSTED:
            async with connected(running) as connection:
                await connection.send(head("POST", path, *lines, b"content-type: text/plain", b"content-length: 100"))
                assert "may not" in (await told(connection))["message"]
        assert host.requests == []


@pytest.mark.parametrize("lines", [(REBOUND,), (b"host: localhost", b"sec-fetch-site: cross-site")])
async def test_without_keys_no_page_reads_anything(lines: tuple[bytes, ...], gateway: Gateway) -> None:
    async with gateway({}) as running, connected(running) as connection:
        for path in SHOWN:
            await connection.send(head("GET", path, *lines))
            assert "may not" in (await told(connection))["message"], path


@pytest.mark.parametrize("environ", [{}, WITH_KEY])
@pytest.mark.parametrize("lines", [(), (b"host: localhost", REBOUND), (b"host: a b",)])
async def test_what_rfc_9112_wants_refused(lines: tuple[bytes, ...], environ: dict[str, str], gateway: Gateway) -> None:
    """Before keys are read."""
    async with gateway({}, environ=environ) as running:
        for method, path in (*product(["POST"], POSTED), *product(["GET"], SHOWN), ("OPTIONS", "/v1/models")):
            async with connected(running) as connection:
                await connection.send(head(method, path, *lines, b"content-length: 0"))
                assert "`Host`" in (await told(connection, 400))["message"], path


async def test_a_refusal_is_in_the_words_of_its_clients(gateway: Gateway) -> None:
    async with gateway({}) as running, connected(running) as connection:
        errors = []
        for path in ("/v1/chat/completions", "/v1/messages", "/api/v1/chat/completions"):
            await connection.send(head("POST", path, REBOUND, b"content-length: 2") + b"{}")
            errors.append(await told(connection))
    openai, anthropic, openrouter = errors
    assert (openai["type"], openai["code"]) == ("permission_error", "host_not_allowed")
    assert anthropic["type"] == "permission_error"
    assert openrouter["code"] == 403


async def test_a_page_that_is_listed_may(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hi"))) as host,
        gateway({"a/fp8": host.url}, cors=["https://chat.example"]) as running,
        connected(running) as connection,
    ):
        await connection.send(request(question(), b"origin: https://chat.example", b"sec-fetch-site: cross-site"))
        assert (await connection.answer())[0] == 200
        await connection.send(request(question(), b"origin: https://other.example"))
        await told(connection)


async def test_a_name_that_is_listed_may(gateway: Gateway) -> None:
    async with gateway({}, allowed_hosts=["gateway", "*.lan"]) as running, connected(running) as connection:
        for name in (b"gateway:80", b"a.lan", b"localhost"):
            await connection.send(head("GET", "/v1/models", b"host: " + name))
            assert (await connection.answer())[0] == 200
        await connection.send(head("GET", "/v1/models", REBOUND))
        await told(connection)


async def test_with_keys_the_key_decides(gateway: Gateway) -> None:
    async with (
        ScriptedHost(answers(200, completion("Hi"))) as host,
        gateway({"a/fp8": host.url}, environ=WITH_KEY) as running,
        connected(running) as connection,
    ):
        bearer = f"authorization: Bearer {KEY}".encode()
        await connection.send(request(question(), bearer, PAGE, head=head("POST", POSTED[0], REBOUND)[:-2]))
        assert (await connection.answer())[0] == 200


@pytest.mark.parametrize("length", [b"content-length: 15900000", b"transfer-encoding: chunked", b"content-length: 5"])
async def test_a_body_without_a_key_is_not_waited_for(length: bytes, gateway: Gateway) -> None:
    wrong = [b"x-a: b", b"authorization: Bearer wrong", b"authorization: Basic a", b"x-api-key: b"]
    async with gateway({}, environ=WITH_KEY) as running:
        for path, line in product(POSTED, wrong):
            async with connected(running) as connection:
                await connection.send(head("POST", path, b"host: gateway", line, length))
                status, _, body = await connection.answer()
                assert status == 401
                assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize("expect", [b"expect: 100-continue", b"x-a: b"])
async def test_a_client_without_a_key_gets_no_continue(expect: bytes, gateway: Gateway) -> None:
    async with gateway({}, environ=WITH_KEY) as running, connected(running) as connection:
        await connection.send(head("POST", POSTED[0], b"host: gateway", expect, b"content-length: 100"))
        assert (await connection.head()).startswith(b"HTTP/1.1 401 ")


@DIRECT_ONLY  # uvicorn's own connection goes on reading
async def test_what_comes_of_a_refused_body_is_not_kept(gateway: Gateway) -> None:
    async with gateway({}, environ=WITH_KEY) as running, connected(running) as connection:
        await connection.send(head("POST", POSTED[0], b"host: gateway", b"content-length: 15900000"))
        status, headers, _ = await connection.answer()
        assert (status, headers["connection"]) == (401, "close")
        await connection.send(b"x" * 1_000_000)
        assert running.server is not None
        (protocol,) = running.server.server_state.connections
        assert protocol.cycle.body == []


@DIRECT_ONLY
async def test_a_small_body_that_is_refused_leaves_its_connection_open(gateway: Gateway) -> None:
    async with gateway({}, environ=WITH_KEY) as running, connected(running) as connection:
        for _ in range(3):
            await connection.send(head("POST", POSTED[0], b"host: gateway", b"content-length: 500"))
            status, headers, _ = await connection.answer()
            assert (status, headers.get("connection")) == (401, None)
            await connection.send(b"x" * 500)


CHUNKED = b"transfer-encoding: chunked"
CHUNKS = b"%x\r\n%b\r\n" % (len(question()), question())
TRAILERS = [b"authorization: Bearer " + KEY.encode(), b"x-api-key: " + KEY.encode(), b"Authorization: bearer wrong"]


@DIRECT_ONLY  # uvicorn's own connection adds trailers that come at once to the headers
@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("own", [b"x-a: b", b"authorization: Bearer " + KEY.encode()])
@pytest.mark.parametrize("more", [b"x-c: d", b"expect: 100-continue"])
@pytest.mark.parametrize("split", [True, False])
async def test_a_key_behind_the_body_is_none(
    trailer: bytes, own: bytes, more: bytes, split: bool, gateway: Gateway
) -> None:
    """Both ways: on to a hot route, and through uvicorn."""
    sent = head("POST", POSTED[0], b"host: gateway", own, more, CHUNKED)
    end = b"0\r\n" + trailer + b"\r\n\r\n"
    pieces = (sent, CHUNKS, end) if split else (sent + CHUNKS + end,)
    async with (
        ScriptedHost(answers(200, completion("Hi"))) as host,
        gateway({"a/fp8": host.url}, environ=WITH_KEY) as running,
        connected(running) as connection,
    ):
        await connection.send(*pieces)
        answer = await connection.head()
        if answer.startswith(b"HTTP/1.1 100 "):
            answer = await connection.head()
        assert answer.startswith(b"HTTP/1.1 200 " if KEY.encode() in own else b"HTTP/1.1 401 ")


@DIRECT_ONLY
@pytest.mark.parametrize("trailer", [b"x-gateway-policy: nothing", b"x-gateway-explain: perhaps", b"origin: null"])
@pytest.mark.parametrize("path", [*POSTED[:2], "/v1/chat/completions?a=b"])
async def test_no_header_behind_the_body_counts(trailer: bytes, path: str, gateway: Gateway) -> None:
    body = json.dumps({**json.loads(question()), "max_tokens": 5}).encode()
    sent = head("POST", path, b"host: localhost", CHUNKED) + b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(body), body, trailer)
    async with (
        ScriptedHost(answers(200, completion("Hi"))) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as connection,
    ):
        await connection.send(sent)
        assert (await connection.answer())[0] == 200


@pytest.mark.parametrize("split", [True, False])
async def test_a_key_that_comes_late_is_none_over_any_server(split: bool, gateway: Gateway) -> None:
    """Where it comes by itself even a server that adds it to the headers is too late."""
    async with gateway({}, environ=WITH_KEY) as running, connected(running) as connection:
        await connection.send(head("POST", POSTED[0], b"host: gateway", CHUNKED))
        assert (await connection.answer())[0] == 401
        if split:
            await connection.send(CHUNKS, b"0\r\n" + TRAILERS[0] + b"\r\n\r\n")


UPGRADES = {
    "a stock Java client": (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAEAAEAA"),
    "websocket": (b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-key: x", b"sec-websocket-version: 13"),
    "anything": (b"connection: keep-alive, Upgrade", b"upgrade: tls/1.0, foo/2"),
    "one that waits": (b"connection: Upgrade", b"upgrade: h2c", b"expect: 100-continue"),
    "two lines": (b"connection: keep-alive", b"connection: upgrade", b"upgrade: h2c"),
}


@DIRECT_ONLY  # uvicorn's own connection drops the body
@pytest.mark.parametrize("lines", UPGRADES.values(), ids=list(UPGRADES))
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/chat/completions?a=b"])
async def test_an_offer_of_another_protocol_is_not_taken(lines: tuple[bytes, ...], path: str, gateway: Gateway) -> None:
    """The request is served as HTTP/1.1, and so are all that follow on the same connection, however they are cut."""
    body = question()
    start = head("POST", path, b"host: localhost", *lines)[:-2]
    whole = start + b"content-length: %d\r\n\r\n" % len(body) + body
    chunked = start + CHUNKED + b"\r\n\r\n" + CHUNKS + b"0\r\n\r\n"
    cuts = [(sent, cut) for sent in (whole, chunked) for cut in (0, 1, 40, -3, -len(body) - 2, len(sent))]
    async with (
        ScriptedHost(answers(200, completion("Hi"))) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as connection,
    ):
        for sent, cut in cuts:
            await connection.send(sent[:cut], sent[cut:])
            answer = await connection.head()
            if answer.startswith(b"HTTP/1.1 100 "):
                answer = await connection.head()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert "upgrade" not in fields(answer)
            await connection.body(answer)
        assert [one.json()["messages"] for one in host.requests] == [json.loads(body)["messages"]] * len(cuts)


@DIRECT_ONLY
@pytest.mark.parametrize("lines", UPGRADES.values(), ids=list(UPGRADES))
async def test_an_offer_with_a_get(lines: tuple[bytes, ...], gateway: Gateway) -> None:
    async with gateway({}) as running, connected(running) as connection:
        sent = head("GET", "/v1/models", b"host: localhost", *lines)
        await connection.send(sent + sent)
        for _ in range(2):
            assert json.loads((await connection.answer())[2])["object"] == "list"


@DIRECT_ONLY
async def test_an_offer_between_pipelined_requests(gateway: Gateway) -> None:
    plain = request(question())
    offering = request(question(), b"connection: upgrade", b"upgrade: h2c")
    async with (
        ScriptedHost(answers(200, completion("Hi"))) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as connection,
    ):
        await connection.send(plain + offering + plain + offering)
        for _ in range(4):
            assert (await connection.answer())[0] == 200
        assert len(host.requests) == 4


@DIRECT_ONLY
@pytest.mark.parametrize("target", ["localhost:443", "/v1/models"])
async def test_no_tunnel_is_made(target: str, gateway: Gateway) -> None:
    async with gateway({}) as running, connected(running) as connection:
        await connection.send(head("CONNECT", target, b"host: localhost") + head("GET", "/", b"host: localhost"))
        assert (await connection.answer())[0] in (400, 404, 405)


@DIRECT_ONLY  # uvicorn's own connection sends chunks to everyone
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("stream", [True, False])
async def test_chunks_are_for_those_who_know_them(version: str, stream: bool, gateway: Gateway) -> None:
    script = streams(chunks("Hello")) if stream else answers(200, completion("Hello"))
    async with (
        ScriptedHost(script) as host,
        gateway({"a/fp8": host.url}) as running,
        connected(running) as connection,
    ):
        sent = request(question(stream=stream), b"connection: keep-alive")
        await connection.send(sent.replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
        answer = fields(await connection.head())
        assert ("transfer-encoding" in answer) == (stream and version == "1.1")
        if version == "1.0":
            assert answer["connection"] == "close"
            body = await asyncio.wait_for(connection.reader.read(), 60)
            assert body.endswith(b"data: [DONE]\n\n" if stream else b"}")


@DIRECT_ONLY
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_lists_for_http_1_0(method: str, gateway: Gateway) -> None:
    async with gateway({}) as running, connected(running) as connection:
        await connection.send(f"{method} /v1/models HTTP/1.0\r\n\r\n".encode())
        answer = fields(await connection.head())
        body = await asyncio.wait_for(connection.reader.read(), 60)
        assert len(body) == (int(answer["content-length"]) if method == "GET" else 0)


@pytest.mark.parametrize("path", POSTED[:4])
async def test_a_body_of_too_many_values_is_a_400(path: str, gateway: Gateway) -> None:
    async with gateway({}) as running:
        body = b'{"model":"deepseek-v3.2","messages":[{"role":"user","content":"Hi"}],"a":[' + b"[]," * 200_000 + b"1]}"
        answer = await running.client.post(path, content=body)
    assert answer.status_code == 400
    assert "too many lists" in answer.json()["error"]["message"]
