"""The transport over TLS."""

import asyncio
import ssl
from pathlib import Path

import pytest

from gateway.upstream.transport import connection
from gateway.upstream.transport.pool import Origin
from gateway.upstream.transport.tls import Trust
from gateway.upstream.transport.transport import Transport
from tests.support.certificates import self_signed
from tests.support.host import Out, Received, ScriptedHost, answers
from tests.upstream.recorder import BOTH_LOOPS, Recorder, Send, start

LOOPS = BOTH_LOOPS
HELLO = answers(200, b"hello")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for `localhost`, with its key in the same file."""
    return self_signed(tmp_path_factory.mktemp("tls"), "localhost")


class TestTls:
    @pytest.fixture
    def server(self, certificate: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        return context

    async def test_the_host_is_reached_by_name_and_the_connection_is_kept(
        self, send: Send, server: ssl.SSLContext, certificate: Path
    ) -> None:
        names: list[str | None] = []

        def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
            names.append(name)

        server.sni_callback = note
        via = Transport(trust=Trust(certificate))
        async with ScriptedHost(HELLO, tls=server) as host:
            for _ in range(3):
                answer = await send(host, via=via)[0].ended()
                assert (answer.body, answer.end) == (b"hello", "complete")
            assert (names, host.accepted) == (["localhost"], 1)
            via.close()

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_a_later_connection_takes_the_session_up_again(
        self, send: Send, server: ssl.SSLContext, certificate: Path, version: ssl.TLSVersion
    ) -> None:
        server.maximum_version = version
        via = Transport(trust=Trust(certificate))
        async with ScriptedHost(HELLO, tls=server) as host:
            await send(host, via=via)[0].ended()
            for receiver in [send(host, via=via)[0] for _ in range(2)]:  # one is kept, one must be made
                assert (await receiver.ended()).body == b"hello"
            shaken = [one.transport.get_extra_info("ssl_object").session_reused for one in host.connections]
            assert shaken == [False, True]
            via.close()

    async def test_a_host_that_forgot_the_session_shakes_hands_in_full(
        self, send: Send, server: ssl.SSLContext, certificate: Path
    ) -> None:
        trust = Trust(certificate)
        async with ScriptedHost(HELLO, tls=server) as host:
            before = Transport(trust=trust)
            await send(host, via=before)[0].ended()
            before.close()
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        other.load_cert_chain(certificate)
        async with ScriptedHost(HELLO, tls=other) as host:
            after = Transport(trust=trust)
            assert (await send(host, via=after)[0].ended()).body == b"hello"
            assert not host.connections[0].transport.get_extra_info("ssl_object").session_reused
            after.close()

    async def test_the_systems_authorities_are_trusted_by_default(
        self, send: Send, server: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # where OpenSSL looks for them
        via = Transport()
        async with ScriptedHost(HELLO, tls=server) as host:
            assert (await send(host, via=via)[0].ended()).body == b"hello"
            via.close()

    @pytest.mark.parametrize("until_close", [True, False])
    async def test_a_large_answer_comes_whole_before_its_end(
        self, send: Send, server: ssl.SSLContext, certificate: Path, until_close: bool
    ) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.head(200, chunked=not until_close)
            for _ in range(30):
                await out.send(b"a" * 100_000)
            await out.end()

        via = Transport(trust=Trust(certificate))
        async with ScriptedHost(script, tls=server) as host:
            answer = await send(host, via=via)[0].ended()
            assert (len(answer.body), answer.end) == (3_000_000, "complete")
            via.close()

    @pytest.mark.parametrize("soon", [True, False])
    async def test_a_kept_connection_that_is_lost_is_replaced_only_soon_after_the_request(
        self, send: Send, server: ssl.SSLContext, certificate: Path, soon: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "STALE_WINDOW", 60.0 if soon else 0.0)

        async def leaves(_: Received, out: Out) -> None:
            out.cut()

        via = Transport(trust=Trust(certificate))
        async with ScriptedHost([HELLO, leaves, HELLO], tls=server) as host:
            await send(host, via=via)[0].ended()
            answer = await send(host, via=via)[0].ended()
            assert answer.end == "complete" if soon else answer.fault == "cut"
            assert len(host.requests) == (3 if soon else 2)
            via.close()

    async def test_cancel_is_seen_by_the_host(self, send: Send, server: ssl.SSLContext, certificate: Path) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.stall()

        via = Transport(trust=Trust(certificate))
        async with ScriptedHost(script, tls=server) as host:
            receiver, call = send(host, via=via)
            await host.until(lambda: bool(host.requests))
            call.cancel()
            await host.until(lambda: host.gone == 1)
        assert receiver.end is None

    async def test_a_certificate_that_is_not_trusted_is_refused(self, send: Send, server: ssl.SSLContext) -> None:
        async with ScriptedHost(HELLO, tls=server) as host:
            answer = await send(host)[0].ended()
        assert answer.fault == "refused"
        assert (answer.message or "").startswith("TLS handshake failed: self-signed certificate")

    async def test_a_host_that_speaks_no_tls_is_refused(self, transport: Transport) -> None:
        async with ScriptedHost(HELLO) as host:
            answer, _ = start(transport, Origin("https", "127.0.0.1", host.port), Recorder())
            async with asyncio.timeout(60):
                await host.until(lambda: bool(host.connections))
                host.connections[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                assert (await answer.ended()).fault == "refused"
