"""The transport against a host that follows a script: answers, faults, kept connections, back-pressure, TLS."""

import asyncio
import gc
import re
import socket
import ssl
import subprocess
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from gateway.upstream.transport import Call, Origin, Transport
from tests.support.host import Out, Received, ScriptedHost, answers
from tests.upstream.recorder import Recorder

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
HELLO = answers(200, b"hello")

Send = Callable[..., tuple[Recorder, Call]]


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()
    await asyncio.sleep(0)


@pytest.fixture
def send(transport: Transport) -> Send:
    def send(host: ScriptedHost, body: bytes = b"{}", via: Transport = transport) -> tuple[Recorder, Call]:
        return start(via, Origin.from_url(host.url), Recorder(), body)

    return send


def start(via: Transport, origin: Origin, receiver: Recorder, body: bytes = b"{}") -> tuple[Recorder, Call]:
    head = b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body)
    return receiver, via.send(origin, head, body, receiver, connect_timeout=5.0)


class TestAnswers:
    async def test_the_request_goes_out_whole_and_the_answer_comes_back(self, send: Send) -> None:
        async with ScriptedHost(answers(201, b"hello", {"X-Thing": "One"})) as host:
            answer = await send(host, b"a body")[0].ended()
        assert (answer.status, answer.body, answer.end) == (201, b"hello", "complete")
        assert (b"x-thing", b"One") in answer.headers
        assert [(r.method, r.path, r.body) for r in host.requests] == [("POST", "/v1/x", b"a body")]

    async def test_a_request_without_a_body(self, send: Send) -> None:
        async with ScriptedHost(HELLO) as host:
            assert (await send(host, b"")[0].ended()).body == b"hello"

    async def test_a_large_request(self, send: Send) -> None:
        async with ScriptedHost(HELLO) as host:
            await send(host, b"a" * 5_000_000)[0].ended()
        assert len(host.requests[0].body) == 5_000_000

    async def test_each_piece_arrives_before_the_next_is_sent(self, send: Send) -> None:
        receiver: Recorder

        async def script(_: Received, out: Out) -> None:
            await out.head()
            for index in range(5):
                await out.send(b"%d" % index)
                await host.until(lambda: len(receiver.pieces) > index)  # noqa: B023
            await out.end()

        async with ScriptedHost(script) as host:
            receiver, _ = send(host)
            await receiver.ended()
        assert receiver.pieces == [b"0", b"1", b"2", b"3", b"4"]

    async def test_a_body_without_length_ends_with_the_connection(self, send: Send) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.head(200, chunked=False)
            await out.send(b"until the close")
            await out.end()

        async with ScriptedHost(script) as host:
            for _ in range(2):
                answer = await send(host)[0].ended()
                assert (answer.body, answer.end) == (b"until the close", "complete")
        assert host.accepted == 2

    async def test_interim_answers_are_skipped(self, send: Send) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
            await out.head(200, {"content-length": "2"}, chunked=False)
            await out.send(b"hi")
            await out.end()

        async with ScriptedHost(script) as host:
            answer = await send(host)[0].ended()
        assert (answer.status, answer.headers, answer.body) == (200, [(b"content-length", b"2")], b"hi")

    async def test_redirects_are_not_followed(self, send: Send) -> None:
        async with ScriptedHost(answers(307, b"", {"location": "http://127.0.0.1:1/"})) as host:
            assert (await send(host)[0].ended()).status == 307
        assert len(host.requests) == 1


class TestKeepAlive:
    async def test_one_connection_serves_one_call_after_the_other(self, send: Send, transport: Transport) -> None:
        async with ScriptedHost(HELLO) as host:
            for _ in range(5):
                await send(host)[0].ended()
            assert host.accepted == 1
            assert "idle=1 busy=0" in repr(transport)

    async def test_a_call_sent_from_on_complete_uses_the_connection_just_freed(self, send: Send) -> None:
        async with ScriptedHost(HELLO) as host:
            second: list[Recorder] = []
            first, _ = send(host)
            first.when_ended = lambda: second.append(send(host)[0])
            await first.ended()
            await second[0].ended()
        assert (host.accepted, len(host.requests)) == (1, 2)

    async def test_calls_at_once_have_a_connection_each_and_all_are_kept(
        self, send: Send, transport: Transport
    ) -> None:
        both = asyncio.Barrier(2)

        async def script(request: Received, out: Out) -> None:
            await both.wait()
            await HELLO(request, out)

        async with ScriptedHost(script) as host:
            calls = [send(host)[0] for _ in range(2)]
            await host.until(lambda: len(host.requests) == 2)
            for call in calls:
                await call.ended()
            assert host.accepted == 2
            assert "idle=2 busy=0" in repr(transport)

    async def test_a_connection_is_busy_until_its_body_is_consumed(self, send: Send, transport: Transport) -> None:
        gate = asyncio.Event()

        async def script(_: Received, out: Out) -> None:
            await out.head()
            await out.send(b"half")
            await gate.wait()
            await out.end()

        async with ScriptedHost([script, HELLO]) as host:
            first, _ = send(host)
            await host.until(lambda: first.body == b"half")
            assert "idle=0 busy=1" in repr(transport)
            await send(host)[0].ended()
            gate.set()
            await first.ended()
        assert host.accepted == 2

    async def test_connection_close_is_honoured(self, send: Send, transport: Transport) -> None:
        async with ScriptedHost(answers(200, b"bye", {"connection": "close"})) as host:
            for _ in range(2):
                assert (await send(host)[0].ended()).end == "complete"
                assert "idle=0 busy=" in repr(transport)
        assert host.accepted == 2

    async def test_a_connection_that_the_host_closes_while_kept_is_forgotten(
        self, send: Send, transport: Transport
    ) -> None:
        async def script(request: Received, out: Out) -> None:
            await HELLO(request, out)
            out.cut()

        async with ScriptedHost([script, HELLO]) as host:
            await send(host)[0].ended()
            await host.until(lambda: "idle=0 busy=0" in repr(transport))
            assert (await send(host)[0].ended()).end == "complete"
        assert host.accepted == 2

    async def test_unused_connections_are_closed_after_idle_seconds(self, send: Send) -> None:
        via = Transport(idle=0.01)
        async with ScriptedHost(HELLO) as host:
            await send(host, via=via)[0].ended()
            await host.until(host.connections[0].closed.is_set)
            await send(host, via=via)[0].ended()
            assert host.accepted == 2
            via.close()

    async def test_a_connection_past_its_lifetime_is_not_kept(self, send: Send) -> None:
        via = Transport(lifetime=0.0)
        async with ScriptedHost(HELLO) as host:
            for _ in range(2):
                await send(host, via=via)[0].ended()
            assert host.accepted == 2

    async def test_no_more_than_max_idle_are_kept(self, send: Send) -> None:
        via = Transport(max_idle=1)
        async with ScriptedHost(HELLO) as host:
            for call in [send(host, via=via)[0] for _ in range(3)]:
                await call.ended()
            assert host.accepted == 3
            await host.until(lambda: sum(each.closed.is_set() for each in host.connections) == 2)
            assert "idle=1 busy=0" in repr(via)
            via.close()

    async def test_pools_that_nobody_uses_make_room(self, send: Send, transport: Transport) -> None:
        for _ in range(3):
            async with ScriptedHost(answers(200, b"", {"connection": "close"})) as host:
                await send(host)[0].ended()
            await host.until(lambda: "busy=0" in repr(transport))
        assert repr(transport).count("<Pool") == 1


class TestStaleConnections:
    async def cut(self, _: Received, out: Out) -> None:
        out.cut()

    async def reset(self, _: Received, out: Out) -> None:
        out.reset()

    @pytest.mark.parametrize("death", ["cut", "reset"])
    async def test_a_kept_connection_that_dies_before_an_answer_is_replaced_unseen(
        self, send: Send, death: str
    ) -> None:
        async with ScriptedHost([HELLO, getattr(self, death), HELLO]) as host:
            await send(host)[0].ended()
            answer = await send(host, b"again")[0].ended()
            assert (answer.end, answer.body) == ("complete", b"hello")
        assert (host.accepted, [r.body for r in host.requests]) == (2, [b"{}", b"again", b"again"])

    async def test_it_is_replaced_only_once(self, send: Send) -> None:
        async with ScriptedHost([HELLO, self.cut, self.cut]) as host:
            await send(host)[0].ended()
            assert (await send(host)[0].ended()).fault == "cut"
        assert len(host.requests) == 3

    async def test_a_fresh_connection_that_dies_is_not_replaced(self, send: Send) -> None:
        async with ScriptedHost([self.cut]) as host:
            assert (await send(host)[0].ended()).fault == "cut"

    async def test_nothing_is_repeated_after_the_first_byte(self, send: Send) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.raw(b"H")
            out.cut()

        async with ScriptedHost([HELLO, script]) as host:
            await send(host)[0].ended()
            assert (await send(host)[0].ended()).fault == "cut"
        assert len(host.requests) == 2


class TestFaults:
    async def test_refused(self, transport: Transport) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))  # bound, but it does not listen
            answer, _ = start(transport, Origin("http", "127.0.0.1", free.getsockname()[1]), Recorder())
            await answer.ended()
        assert answer.end == ("refused", "connection refused")

    async def test_a_name_that_cannot_be_resolved(self, transport: Transport) -> None:
        answer, _ = start(transport, Origin("http", "a..b", 80), Recorder())
        assert (await answer.ended()).fault == "refused"

    async def test_the_connect_timeout_covers_the_tls_handshake(self, transport: Transport) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            receiver = Recorder()
            transport.send(Origin("https", "127.0.0.1", silent.getsockname()[1]), b"", b"", receiver, 0.05)
            await receiver.ended()
        assert receiver.end == ("refused", "connect timed out after 0.05 s")

    @pytest.mark.parametrize("death", ["cut", "reset"])
    @pytest.mark.parametrize("phase", ["asked", "head", "body", "chunk"])
    async def test_an_end_before_the_end_is_a_cut(self, send: Send, death: str, phase: str) -> None:
        receiver: Recorder

        async def script(_: Received, out: Out) -> None:
            if phase == "head":
                await out.raw(b"HTTP/1.1 200 OK\r\ncontent-")
            elif phase == "body":
                await out.head(200, {"content-length": "10"}, chunked=False)
                await out.send(b"12345")
                await host.until(lambda: receiver.body == b"12345")
            elif phase == "chunk":
                await out.head()
                await out.send(b"12345")
                await host.until(lambda: receiver.body == b"12345")
            getattr(out, death)()

        async with ScriptedHost(script) as host:
            receiver, _ = send(host)
            await receiver.ended()
        assert receiver.fault == "cut"
        assert "the host" in (receiver.message or "")

    async def test_a_reset_does_not_complete_a_body_that_lasts_until_the_close(self, send: Send) -> None:
        receiver: Recorder

        async def script(_: Received, out: Out) -> None:
            await out.head(200, chunked=False)
            await out.send(b"part")
            await host.until(lambda: receiver.body == b"part")
            out.reset()

        async with ScriptedHost(script) as host:
            receiver, _ = send(host)
            assert (await receiver.ended()).fault == "cut"

    @pytest.mark.parametrize(
        "raw",
        [
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: nine\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000,
        ],
    )
    async def test_what_is_not_an_answer_is_garbage(self, send: Send, raw: bytes) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.raw(raw)
            await out.closed()

        async with ScriptedHost(script) as host:
            answer = await send(host)[0].ended()
            assert (answer.fault, answer.status) == ("garbage", 0)
            await host.until(lambda: host.gone == 1)

    async def test_broken_chunks_are_garbage_after_what_was_good(self, send: Send) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.head()
            await out.send(b"good")
            await out.raw(b"not a size\r\n")
            await out.closed()

        async with ScriptedHost(script) as host:
            answer = await send(host)[0].ended()
        assert (answer.status, answer.body, answer.fault) == (200, b"good", "garbage")

    async def test_a_second_answer_does_not_reach_the_next_call(self, send: Send) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst" * 2)
            await out.closed()

        async with ScriptedHost([script, HELLO]) as host:
            assert (await send(host)[0].ended()).body == b"first"
            assert (await send(host)[0].ended()).body == b"hello"
        assert host.accepted == 2

    async def test_bytes_that_nobody_asked_for_close_a_kept_connection(self, send: Send) -> None:
        gate = asyncio.Event()

        async def script(request: Received, out: Out) -> None:
            await HELLO(request, out)
            await gate.wait()
            await out.raw(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
            await out.closed()

        async with ScriptedHost([script, HELLO]) as host:
            await send(host)[0].ended()
            gate.set()
            await host.until(lambda: host.gone == 1)
            assert (await send(host)[0].ended()).status == 200


def reached(host: ScriptedHost, receiver: Recorder) -> set[str]:
    """How far a call has come."""
    marks = {"asked": bool(host.requests), "head": bool(receiver.status), "body": bool(receiver.body)}
    return {name for name, there in marks.items() if there}


class TestCancel:
    @pytest.mark.parametrize("phase", ["asked", "head", "body"])
    async def test_the_host_sees_it_and_the_receiver_hears_no_more(self, send: Send, phase: str) -> None:
        async def script(_: Received, out: Out) -> None:
            if phase != "asked":
                await out.head()
            if phase == "body":
                await out.send(b"some")
            await out.stall()

        async with ScriptedHost(script) as host:
            receiver, call = send(host)
            await host.until(lambda: phase in reached(host, receiver))
            call.cancel()
            call.cancel()
            await host.until(lambda: host.gone == 1)
        assert receiver.end is None
        assert repr(call) == "<Call ended>"

    async def test_while_connecting(self, transport: Transport) -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.setblocking(False)
            receiver, call = start(transport, Origin("https", "127.0.0.1", silent.getsockname()[1]), Recorder())
            accepted, _ = await loop.sock_accept(silent)
            with accepted:
                accepted.setblocking(False)
                call.cancel()
                while await loop.sock_recv(accepted, 65536):  # the handshake's hello, then the end
                    pass
        assert receiver.end is None
        assert "opening=0" in repr(transport)

    async def test_before_anything_has_happened(self, send: Send, transport: Transport) -> None:
        async with ScriptedHost(HELLO) as host:
            receiver, call = send(host)
            call.cancel()
            await host.until(lambda: "busy=0 opening=0" in repr(transport))
        assert receiver.end is None
        assert host.requests == []

    @pytest.mark.parametrize("moment", ["when_response", "when_data"])
    async def test_from_within_a_callback(self, send: Send, moment: str) -> None:
        async with ScriptedHost(HELLO) as host:
            receiver, call = send(host)
            setattr(receiver, moment, call.cancel)
            await host.until(lambda: repr(call) == "<Call ended>" and host.connections[0].closed.is_set())
        assert receiver.end is None


class TestBackPressure:
    PIECE = b"a" * 65536
    PIECES = 512  # 32 MB: far more than the kernel holds between two sockets

    async def script(self, _: Received, out: Out) -> None:
        await out.head()
        for _piece in range(self.PIECES):
            await out.send(self.PIECE)
        await out.end()

    async def test_the_host_blocks_while_the_receiver_is_paused(self, send: Send) -> None:
        async with ScriptedHost(self.script) as host:
            receiver, call = send(host)
            receiver.when_response = call.pause
            await host.until(lambda: bool(host.connections and host.connections[0].transport.get_write_buffer_size()))
            assert repr(call) == "<Call asked paused>"
            assert len(receiver.body) <= 1 << 20
            call.resume()
            await receiver.ended()
        assert len(receiver.body) == self.PIECES * len(self.PIECE)

    async def test_a_pause_before_the_connection_is_made_holds(self, send: Send) -> None:
        async with ScriptedHost(self.script) as host:
            receiver, call = send(host)
            call.pause()
            await host.until(lambda: bool(host.connections and host.connections[0].transport.get_write_buffer_size()))
            assert receiver.status == 0
            call.cancel()
            await host.until(lambda: host.gone == 1)

    async def test_a_paused_call_that_ends_leaves_a_connection_that_reads(self, send: Send) -> None:
        async with ScriptedHost(HELLO) as host:
            receiver, call = send(host)
            receiver.when_response = call.pause
            await receiver.ended()
            await send(host)[0].ended()
        assert host.accepted == 1


class TestWholeLife:
    async def test_small_writes_are_not_delayed(self, send: Send) -> None:
        async with ScriptedHost(HELLO) as host:
            receiver, call = send(host)
            options: list[int] = []

            def note() -> None:
                assert call.connection is not None
                sock = call.connection.transport.get_extra_info("socket")
                options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

            receiver.when_response = note
            await receiver.ended()
        assert options
        assert all(options)

    async def test_close_ends_every_call_and_refuses_later_ones(self, send: Send, transport: Transport) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.stall()

        async with ScriptedHost([HELLO, script]) as host:
            await send(host)[0].ended()
            asked, _ = send(host)
            await host.until(lambda: len(host.requests) == 2)
            opening, _ = send(host)
            transport.close()
            later, _ = send(host)
            assert later.end is None
            assert [(await each.ended()).fault for each in (asked, opening, later)] == ["cut", "refused", "refused"]
            await host.until(lambda: host.gone == 1)
            assert re.search("idle=0 busy=0 opening=0 closed", repr(transport))

    async def test_nothing_keeps_an_ended_call(self, send: Send) -> None:
        async with ScriptedHost([answers(200, b"hello"), answers(200, b"", {"connection": "close"})]) as host:
            for _ in range(2):
                receiver, call = send(host)
                await receiver.ended()
                await asyncio.sleep(0)
                left = weakref.ref(receiver)
                del receiver
                gc.collect()
                assert left() is None
                assert (call.head, call.body) == (b"", b"")


class TestOrigin:
    @pytest.mark.parametrize(
        ("url", "text"),
        [
            ("https://api.example.com/openai/v1", "https://api.example.com:443"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://LOCAL", "http://local:80"),
        ],
    )
    def test_from_url(self, url: str, text: str) -> None:
        assert str(Origin.from_url(url)) == text

    @pytest.mark.parametrize("url", ["api.example.com", "ftp://a", "https://", "http://a:b"])
    def test_what_is_no_origin(self, url: str) -> None:
        with pytest.raises(ValueError):
            Origin.from_url(url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for `localhost`, with its key in the same file."""
    pem = tmp_path_factory.mktemp("tls") / "host.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    extension = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(pem), "-out", str(pem) + ".crt"]
    try:
        subprocess.run([*command.split(), *extension], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate with")
    pem.write_bytes(pem.read_bytes() + Path(str(pem) + ".crt").read_bytes())
    return pem


class TestTls:
    @pytest.fixture
    def server(self, certificate: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        return context

    async def test_the_host_is_asked_by_name_and_the_connection_is_kept(
        self, send: Send, server: ssl.SSLContext, certificate: Path
    ) -> None:
        names: list[str | None] = []

        def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
            names.append(name)

        server.sni_callback = note
        via = Transport(ssl_context=ssl.create_default_context(cafile=certificate))
        async with ScriptedHost(HELLO, tls=server) as host:
            for _ in range(3):
                answer = await send(host, via=via)[0].ended()
                assert (answer.body, answer.end) == (b"hello", "complete")
            assert (names, host.accepted) == (["localhost"], 1)
            via.close()

    async def test_cancel_is_seen_by_the_host(self, send: Send, server: ssl.SSLContext, certificate: Path) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.stall()

        via = Transport(ssl_context=ssl.create_default_context(cafile=certificate))
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
        assert (answer.message or "").startswith("TLS failed: self-signed certificate")

    async def test_a_host_that_speaks_no_tls_is_refused(self, transport: Transport) -> None:
        async with ScriptedHost(HELLO) as host:
            answer, _ = start(transport, Origin("https", "127.0.0.1", host.port), Recorder())
            async with asyncio.timeout(10):
                await host.until(lambda: bool(host.connections))
                host.connections[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                assert (await answer.ended()).fault == "refused"
