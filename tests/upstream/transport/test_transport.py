"""The transport against a host that follows a script: what arrives, what holds it back, how it all ends."""

import asyncio
import gc
import re
import select
import socket
import weakref

from gateway.upstream.transport.transport import Transport
from tests.support.host import Out, Received, ScriptedHost, answers
from tests.upstream.recorder import BOTH_LOOPS, Recorder, Send

LOOPS = BOTH_LOOPS
HELLO = answers(200, b"hello")


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


def blocked(host: ScriptedHost) -> bool:
    """Whether the kernel takes no more from the host. Its transport's own buffer would also be filled for a moment."""
    if not host.connections:
        return False
    poll = select.poll()  # unlike select(), for any number of open files
    poll.register(host.connections[0].transport.get_extra_info("socket"), select.POLLOUT)
    return not poll.poll(0)


class Flood:
    """A host that sends without end until it is told to. `sent` counts the bytes that it was rid of."""

    PIECE = b"a" * 65536

    def __init__(self) -> None:
        self.sent = 0
        self.enough = False

    async def __call__(self, _: Received, out: Out) -> None:
        await out.head()
        while not self.enough:
            await out.send(self.PIECE)
            self.sent += len(self.PIECE)
        await out.end()


class TestBackPressure:
    async def test_the_host_blocks_while_the_receiver_is_paused(self, send: Send) -> None:
        flood = Flood()
        async with ScriptedHost(flood) as host, ScriptedHost(HELLO) as other:
            receiver, call = send(host)
            receiver.when_response = call.pause
            await host.until(lambda: receiver.status != 0 and blocked(host))
            for _ in range(10):  # the loop turns, and would read from the host if it were let
                await send(other)[0].ended()
            await host.until(lambda: blocked(host))  # the kernel may have made room between the two sockets meanwhile
            assert len(receiver.pieces) <= 1  # what came with the head
            assert repr(call) == "<Call sent paused>"
            flood.enough = True
            call.resume()
            await receiver.ended()
        assert len(receiver.body) == flood.sent

    async def test_a_pause_before_the_connection_is_made_holds(self, send: Send) -> None:
        async with ScriptedHost(Flood()) as host:
            receiver, call = send(host)
            call.pause()
            await host.until(lambda: blocked(host))
            assert receiver.status == 0
            call.cancel()
            await host.until(lambda: host.gone == 1)

    async def test_a_paused_call_that_ends_leaves_a_connection_that_reads(self, send: Send) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")  # in one piece: what came later waits
            await out.end()

        async with ScriptedHost(script) as host:
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
