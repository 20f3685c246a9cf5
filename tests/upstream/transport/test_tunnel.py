"""Requests through an HTTP proxy, by a real one, on both event loops."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.types import Endpoint
from gateway.types.egress import ProxyAddress
from gateway.upstream.litellm_adapter import Adapted
from gateway.upstream.litellm_call import Send
from gateway.upstream.litellm_request import HostRequest
from gateway.upstream.transport import tunnel
from gateway.upstream.transport.pool import Egress, Origin
from gateway.upstream.transport.tls import Trust
from gateway.upstream.transport.transport import Transport
from tests.support.certificates import self_signed
from tests.support.connect_proxy import ConnectProxy
from tests.support.host import Out, Received, ScriptedHost, answers
from tests.upstream.recorder import BOTH_LOOPS, Recorder

LOOPS = BOTH_LOOPS
HELLO = answers(200, b"hello")
HEAD = b"POST /v1/x HTTP/1.1\r\nhost: h\r\nauthorization: Bearer host-key\r\ncontent-length: 2\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "localhost", "novita.example")


@pytest.fixture(scope="module")
def server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def through(proxy: ConnectProxy, user: str = "", password: str = "", **trust: Any) -> Egress:
    scheme, _, rest = proxy.url.partition("://")
    return Egress(ProxyAddress(scheme, rest.partition(":")[0], proxy.port, user, password), **trust)


async def asked(
    transport: Transport, egress: Egress, scheme: str = "http", port: int = 80, within: float = 30.0
) -> Recorder:
    receiver = Recorder()
    transport.send(Origin(scheme, "novita.example", port, egress), HEAD, b"{}", receiver, within)
    return await receiver.ended()


async def test_a_kept_tunnel_serves_request_after_request(transport: Transport) -> None:
    async with ScriptedHost(HELLO) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        for _ in range(3):
            answer = await asked(transport, through(proxy))
            assert (answer.body, answer.end) == (b"hello", "complete")
        assert (proxy.connects, host.accepted) == (["novita.example:80"], 1)
        assert "through http://127.0.0.1" in repr(transport)
        transport.close()


async def test_the_host_is_verified_through_the_tunnel_and_the_proxy_sees_no_key(
    transport: Transport, server: ssl.SSLContext, certificate: Path
) -> None:
    async with (
        ScriptedHost(HELLO, tls=server) as host,
        ConnectProxy({"novita.example": host.port}, login="Basic bWU6c2VjcmV0") as proxy,
    ):
        trusted = through(proxy, "me", "secret", trust=Trust(certificate))
        for _ in range(2):
            assert (await asked(transport, trusted, "https", 443)).body == b"hello"
        assert host.requests[0].headers["authorization"] == "Bearer host-key"
        assert proxy.connects == ["novita.example:443"]
        assert b"host-key" not in proxy.sent
        assert "host-key" not in proxy.heads[0]
        assert not any("proxy-authorization" in request.headers for request in host.requests)
        refused = await asked(transport, through(proxy, "me", "secret"), "https", 443)
        assert refused.fault == "refused"
        assert refused.message == (
            f"TLS handshake failed: self-signed certificate (through the proxy http://127.0.0.1:{proxy.port})"
        )
        transport.close()


async def test_a_certificate_for_another_name_is_refused_in_the_tunnel(
    transport: Transport, server: ssl.SSLContext, certificate: Path
) -> None:
    async with ScriptedHost(HELLO, tls=server) as host, ConnectProxy({"other.example": host.port}) as proxy:
        receiver = Recorder()
        egress = through(proxy, trust=Trust(certificate))
        transport.send(Origin("https", "other.example", 443, egress), HEAD, b"{}", receiver, 30.0)
        assert "Hostname mismatch" in ((await receiver.ended()).message or "")
        transport.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_with_tls(transport: Transport, server: ssl.SSLContext, certificate: Path, scheme: str) -> None:
    tls = server if scheme == "https" else None
    async with (
        ScriptedHost(HELLO, tls=tls) as host,
        ConnectProxy({"novita.example": host.port}, tls=server) as proxy,
    ):
        trusted = through(proxy, trust=Trust(certificate), proxy_trust=Trust(certificate))
        assert (await asked(transport, trusted, scheme)).body == b"hello"
        untrusted = await asked(transport, through(proxy, trust=Trust(certificate)), scheme)
        assert untrusted.fault == "proxy"
        assert untrusted.message == (
            f"the proxy https://localhost:{proxy.port}: TLS handshake failed: self-signed certificate"
        )
        transport.close()


@pytest.mark.parametrize(
    ("status", "fault", "words"),
    [
        (403, "proxy", "answered CONNECT with 403"),
        (407, "proxy", "requires a user and a password (407)"),
        (302, "proxy", "answered CONNECT with 302"),
        (429, "proxy", "answered CONNECT with 429"),
        (500, "proxy", "answered CONNECT with 500"),
        (502, "refused", "could not reach the host: it answered CONNECT with 502"),
        (503, "refused", "could not reach the host: it answered CONNECT with 503"),
        (504, "refused", "could not reach the host: it answered CONNECT with 504"),
    ],
)
async def test_a_refused_tunnel(transport: Transport, status: int, fault: str, words: str) -> None:
    async with ScriptedHost(HELLO) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        proxy.status = status
        answer = await asked(transport, through(proxy))
        assert (answer.fault, answer.message) == (fault, f"the proxy {proxy.url} {words}")
        assert host.accepted == 0
        proxy.status = 200
        assert (await asked(transport, through(proxy))).body == b"hello"
        transport.close()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("closes", "closed the connection before it answered CONNECT"),
        ("garbage", "answered CONNECT with bytes that are not HTTP"),
        ("no status", "answered CONNECT with bytes that are not HTTP"),
        ("endless head", "answered CONNECT with bytes that are not HTTP"),
        ("says more", "sent more than its answer to CONNECT"),
    ],
)
async def test_a_proxy_that_fails(transport: Transport, fault: Any, words: str) -> None:
    async with ScriptedHost(HELLO) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        proxy.fault = fault
        answer = await asked(transport, through(proxy))
        assert (answer.fault, answer.message) == ("proxy", f"the proxy {proxy.url} {words}")
        transport.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_tunnel_that_closes_at_once_ends_the_call(transport: Transport, scheme: str) -> None:
    async with ScriptedHost(HELLO) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        proxy.fault = "closes after"
        assert (await asked(transport, through(proxy), scheme)).fault in ("proxy", "refused", "cut")
        transport.close()


async def test_a_proxy_that_stalls_is_waited_for_no_longer_than_a_host(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach = tunnel._to_proxy

    async def reached(proxy: ProxyAddress, trust: ssl.SSLContext, deadline: float, seconds: float) -> Any:
        return await reach(proxy, trust, deadline + 60, seconds)  # however busy the machine is

    monkeypatch.setattr(tunnel, "_to_proxy", reached)
    async with ScriptedHost(HELLO) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        proxy.fault = "stalls"
        answer = await asked(transport, through(proxy), within=0.05)
        words = f"the proxy {proxy.url} did not reach the host within 0.05 s"
        assert (answer.fault, answer.message) == ("refused", words)
        transport.close()


async def test_a_proxy_that_is_not_reached_in_time_is_named(transport: Transport) -> None:
    async with ConnectProxy({}) as proxy:
        answer = await asked(transport, through(proxy), within=-1.0)
        assert (answer.fault, answer.message) == ("proxy", f"the proxy {proxy.url} cannot be reached within -1 s")


async def test_a_proxy_that_is_gone_is_named(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answer = await asked(transport, Egress(ProxyAddress("http", "127.0.0.1", port, "me", "secret")))
    words = f"the proxy http://127.0.0.1:{port}: connection refused"
    assert (answer.fault, answer.message) == ("proxy", words)


async def test_a_proxy_whose_name_does_not_resolve_is_named(transport: Transport) -> None:
    answer = await asked(transport, Egress(ProxyAddress("http", "a..b", 3128)))
    assert (answer.fault, (answer.message or "").startswith("the proxy http://a..b:3128: ")) == ("proxy", True)


async def test_an_answer_cut_in_the_tunnel(transport: Transport) -> None:
    async def half(_: Received, out: Out) -> None:
        await out.head(200)
        await out.send(b"half")
        await out.stall()

    async with ScriptedHost(half) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        proxy.fault = "cuts"
        answer = await asked(transport, through(proxy))
        assert answer.fault == "cut"
        transport.close()


async def test_a_kept_tunnel_that_was_closed_is_replaced_once(transport: Transport) -> None:
    async with ScriptedHost(HELLO) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        await asked(transport, through(proxy))
        proxy.cut()
        assert (await asked(transport, through(proxy))).body == b"hello"
        assert len(proxy.connects) == 2
        transport.close()


async def test_interim_answers_and_headers_of_a_200_are_skipped(transport: Transport) -> None:
    async with ScriptedHost(HELLO) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        proxy.reply = b"HTTP/1.1 103 Early\r\n\r\n" * 1_500  # deeper than Python's stack
        proxy.reply += b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nVia: 1.1 squid\r\n\r\n"
        assert (await asked(transport, through(proxy))).body == b"hello"
        transport.close()


async def test_a_cancelled_call_closes_its_tunnel(transport: Transport) -> None:
    async with ConnectProxy({}) as proxy:
        proxy.fault = "stalls"
        receiver = Recorder()
        call = transport.send(Origin("http", "novita.example", 80, through(proxy)), HEAD, b"{}", receiver, 30.0)
        async with asyncio.timeout(60):
            while not proxy.connects:
                await asyncio.sleep(0.001)
            call.cancel()
            while "opening=0" not in repr(transport):
                await asyncio.sleep(0.001)
        assert receiver.end is None


async def test_an_ipv6_host_is_named_in_brackets(transport: Transport) -> None:
    async with ScriptedHost(HELLO) as host, ConnectProxy({"2001:db8::7": host.port}) as proxy:
        receiver = Recorder()
        transport.send(Origin("http", "2001:db8::7", 8000, through(proxy)), HEAD, b"{}", receiver, 30.0)
        assert (await receiver.ended()).body == b"hello"
        assert proxy.heads[0].startswith("CONNECT [2001:db8::7]:8000 HTTP/1.1\r\nHost: [2001:db8::7]:8000\r\n")
        transport.close()


async def test_ways_out_share_no_connection(transport: Transport) -> None:
    """Two providers behind one gateway, with different proxies or logins, and one that goes directly."""
    async with (
        ScriptedHost(HELLO) as host,
        ConnectProxy({"novita.example": host.port}) as one,
        ConnectProxy({"novita.example": host.port}) as other,
    ):
        for egress in (through(one), through(other), through(one, "me", "x"), through(one)):
            assert (await asked(transport, egress)).body == b"hello"
        assert (len(one.connects), len(other.connects)) == (2, 1)
        transport.close()


async def test_a_client_certificate(transport: Transport, certificate: Path) -> None:
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strict.load_cert_chain(certificate)
    strict.load_verify_locations(certificate)
    strict.verify_mode = ssl.CERT_REQUIRED
    async with ScriptedHost(HELLO, tls=strict) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        known = through(proxy, trust=Trust(certificate, certificate))
        assert (await asked(transport, known, "https", 443)).body == b"hello"
        unknown = await asked(transport, through(proxy, trust=Trust(certificate)), "https", 443)
        assert unknown.fault in ("refused", "cut")
        transport.close()


async def test_a_host_behind_an_adapter_is_reached_through_its_proxy(transport: Transport) -> None:
    async def translate(request: Mapping[str, Any], send: Send) -> AsyncIterator[dict[str, Any]]:
        answered = await send(HostRequest("POST", "http://novita.example/x", [], b"{}"))
        yield {"id": (b"".join([data async for data in answered.body])).decode()}

    async with ScriptedHost(answers(200, b"hello")) as host, ConnectProxy({"novita.example": host.port}) as proxy:
        endpoint = Endpoint("a", "p", "http://novita.example", "m", adapter="litellm")
        receiver = Recorder()
        Adapted(endpoint, None, lambda *_: translate, transport, through(proxy)).send(b"{}", receiver, 30.0)
        assert b"hello" in (await receiver.ended()).body
        assert proxy.connects == ["novita.example:80"]
        transport.close()
