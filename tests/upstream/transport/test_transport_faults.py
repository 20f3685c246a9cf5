"""The transport against a host that misbehaves, and under a caller that walks away."""

import asyncio
import socket

import pytest

from gateway.upstream.transport import connection
from gateway.upstream.transport.pool import Origin
from gateway.upstream.transport.transport import Transport
from tests.support.host import Out, Received, ScriptedHost, answers
from tests.upstream.recorder import BOTH_LOOPS, Recorder, Send, start

LOOPS = BOTH_LOOPS
HELLO = answers(200, b"hello")


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

    async def test_unsolicited_bytes_close_a_kept_connection(self, send: Send) -> None:
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


class TestErrors:
    """What a host says of an error comes at once or not at all."""

    @pytest.mark.parametrize("chunked", [True, False])
    async def test_a_body_that_never_ends_is_taken_as_far_as_it_came(
        self, send: Send, chunked: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "ERROR_BODY_TIMEOUT", 0.05)

        async def script(_: Received, out: Out) -> None:
            await out.head(503, {} if chunked else {"content-length": "1000"}, chunked=chunked)
            await out.send(b'{"error": "busy"}')
            await out.stall()

        async with ScriptedHost(script) as host:
            answer = await send(host)[0].ended()
            assert (answer.status, answer.body, answer.end) == (503, b'{"error": "busy"}', "complete")
            await host.until(lambda: host.gone == 1)

    async def test_a_body_that_drips_has_no_longer(self, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "ERROR_BODY_TIMEOUT", 0.05)

        async def script(_: Received, out: Out) -> None:
            await out.head(500)
            while True:
                await out.send(b" ")
                await asyncio.sleep(0.001)

        async with ScriptedHost(script) as host:
            assert (await send(host)[0].ended()).end == "complete"
            await host.until(lambda: host.gone == 1)

    async def test_a_body_without_end_is_bounded(self, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "ERROR_BODY_TIMEOUT", 3600.0)

        async def script(_: Received, out: Out) -> None:
            await out.head(502)
            while True:
                await out.send(b"a" * 4096)

        async with ScriptedHost(script) as host:
            answer = await send(host)[0].ended()
            assert (answer.end, answer.body) == ("complete", b"a" * len(answer.body))
            assert connection.LARGEST_ERROR_BODY <= len(answer.body) < 2 * connection.LARGEST_ERROR_BODY
            await host.until(lambda: host.gone == 1)

    @pytest.mark.parametrize("death", ["cut", "reset"])
    async def test_a_body_that_is_cut_is_an_error_all_the_same(self, send: Send, death: str) -> None:
        receiver: Recorder

        async def script(_: Received, out: Out) -> None:
            await out.head(429, {"content-length": "100"}, chunked=False)
            await out.send(b"slow down")
            await host.until(lambda: receiver.body == b"slow down")
            getattr(out, death)()

        async with ScriptedHost(script) as host:
            receiver, _ = send(host)
            await receiver.ended()
        assert (receiver.status, receiver.body, receiver.end) == (429, b"slow down", "complete")

    async def test_without_a_body_the_reason_stands_for_it(self, send: Send) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.head(500)
            await out.raw(b"not a size\r\n")
            await out.closed()

        async with ScriptedHost(script) as host:
            answer = await send(host)[0].ended()
        assert (answer.status, answer.end) == (500, "complete")
        assert answer.body.startswith(b"the host sent bytes that are not HTTP")

    async def test_a_whole_error_leaves_a_connection_that_is_kept(self, send: Send) -> None:
        async with ScriptedHost(answers(503, b"busy")) as host:
            for _ in range(3):
                assert (await send(host)[0].ended()).body == b"busy"
            assert host.accepted == 1


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
