"""Which connections are kept, for how long, and what happens when a kept one has died."""

import asyncio
import socket
from typing import Any

import pytest

from gateway.types import Fault
from gateway.upstream.transport import connection
from gateway.upstream.transport.connection import Connection
from gateway.upstream.transport.dial_error import why
from gateway.upstream.transport.pool import Origin, Pool
from gateway.upstream.transport.transport import Transport
from tests.support.host import Out, Received, ScriptedHost, answers
from tests.upstream.recorder import BOTH_LOOPS, Recorder, Send, start

LOOPS = BOTH_LOOPS
HELLO = answers(200, b"hello")


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

    async def test_64_are_kept_unless_it_is_given(self, send: Send, transport: Transport) -> None:
        async with ScriptedHost(HELLO) as host:
            for call in [send(host)[0] for _ in range(65)]:
                await call.ended()
            assert host.accepted == 65
            assert "idle=64 busy=0" in repr(transport)

    async def test_none_is_kept_where_none_may_be(self, send: Send) -> None:
        via = Transport(max_idle=0)
        async with ScriptedHost(HELLO) as host:
            for _ in range(2):
                await send(host, via=via)[0].ended()
            assert host.accepted == 2

    async def two(self, send: Send, host: ScriptedHost, via: Transport) -> Pool:
        """A pool with two kept connections."""
        for call in [send(host, via=via)[0] for _ in range(2)]:
            await call.ended()
        await host.until(lambda: "idle=2" in repr(via))
        (pool,) = via._pools.values()
        return pool

    async def test_the_connection_that_was_used_last_is_used_next(self, send: Send, transport: Transport) -> None:
        async with ScriptedHost(HELLO) as host:
            last = (await self.two(send, host, transport))._idle[-1]
            receiver, call = send(host)
            assert call.connection is last
            await receiver.ended()

    async def test_the_sweep_closes_what_expired_and_comes_back_for_the_rest(self, send: Send) -> None:
        via = Transport(idle=3600.0)
        async with ScriptedHost(HELLO) as host:
            pool = await self.two(send, host, via)
            first = pool._timer
            assert first is not None
            pool._idle[0].expires -= 3600.0
            first.cancel()
            pool._sweep()
            await host.until(lambda: sum(each.closed.is_set() for each in host.connections) == 1)
            assert "idle=1" in repr(via)
            assert pool._timer is not None
            assert pool._timer.when() == pytest.approx(pool._idle[0].expires, abs=1e-6)  # uvloop rounds
            pool._timer.cancel()
            pool._idle[0].expires -= 3600.0
            pool._sweep()
            assert pool._timer is None
            via.close()

    async def test_one_timer_serves_all_and_goes_with_the_pool(self, send: Send) -> None:
        via = Transport(idle=3600.0)
        async with ScriptedHost(HELLO) as host:
            await send(host, via=via)[0].ended()
            (pool,) = via._pools.values()
            timer = pool._timer
            await send(host, via=via)[0].ended()
            assert timer is not None
            assert pool._timer is timer
            via.close()
            assert timer.cancelled()

    async def test_a_connection_as_old_as_it_may_get_is_not_kept(self, send: Send) -> None:
        via = Transport(lifetime=3600.0)
        async with ScriptedHost(HELLO) as host:
            receiver, call = send(host, via=via)

            def ages() -> None:
                assert call.connection is not None
                call.connection.born -= 3600.0

            receiver.when_response = ages
            await receiver.ended()
            assert "idle=0" in repr(via)

    async def test_unused_pools_make_room(self, send: Send, transport: Transport) -> None:
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

    @pytest.mark.parametrize("death", ["cut", "reset"])
    async def test_a_host_that_got_the_request_and_leaves_later_is_not_tried_again(
        self, send: Send, death: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "STALE_WINDOW", 0.0)  # every loss comes later
        async with ScriptedHost([HELLO, getattr(self, death)]) as host:
            await send(host)[0].ended()
            answer, call = send(host)
            assert (await answer.ended()).fault == "cut"
            assert call.written, "the host may bill it"
        assert len(host.requests) == 2

    async def test_a_lost_connection_is_tried_again_only_soon_after_the_request(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time()
        gate = asyncio.Event()

        async def leaves(_: Received, out: Out) -> None:
            await gate.wait()
            out.cut()

        async with ScriptedHost([HELLO, leaves]) as host:
            await send(host)[0].ended()
            answer, call = send(host)
            assert call.connection is not None
            call.connection._sent_at = clock - connection.STALE_WINDOW
            await host.until(lambda: len(host.requests) == 2)
            gate.set()
            assert (await answer.ended()).message == "the host closed the connection before the answer"

    async def test_a_host_that_leaves_while_a_large_request_is_written_did_not_get_it(
        self, send: Send, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "STALE_WINDOW", 0.0)
        async with ScriptedHost(HELLO) as host:
            await send(host)[0].ended()
            host.connections[0].transport.pause_reading()
            answer, call = send(host, b"a" * 50_000_000)
            await asyncio.sleep(0)  # uvloop writes, and says that it is full, at the end of a turn
            await host.until(lambda: call.connection is not None and call.connection.writing)
            assert not call.written
            host.connections[0].transport.abort()
            assert (await answer.ended()).fault == "cut"
            assert not call.written

    async def test_a_connection_that_expired_behind_the_sweep_is_closed_in_place_of_used(self, send: Send) -> None:
        via = Transport(idle=3600.0, lifetime=3600.0)
        async with ScriptedHost(HELLO) as host:
            _, call = send(host, via=via)
            kept = call.connection
            while kept is None:
                await asyncio.sleep(0)
                kept = call.connection
            await host.until(lambda: "idle=1" in repr(via))
            kept.expires -= 3600.0  # no timer sees its age: the sweep is about unused ones
            answer = await send(host, via=via)[0].ended()
            assert (answer.body, host.accepted) == (b"hello", 2)
            await host.until(host.connections[0].closed.is_set)
            via.close()


async def test_a_connection_that_is_lost_before_it_is_used(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def connect_and_lose(*args: Any, **options: Any) -> tuple[asyncio.Transport, Connection]:
        made, connection = await connect(*args, **options)
        while not connection.lost:
            await asyncio.sleep(0)
        return made, connection

    monkeypatch.setattr(loop, "create_connection", connect_and_lose)
    server = await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", 0)
    origin = Origin("http", *server.sockets[0].getsockname())
    async with server:
        answer = await start(transport, origin, Recorder())[0].ended()
    assert answer.end == (Fault.CUT, "the host closed the connection as soon as it was made")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(-2, "Name or service not known"), "the host name does not resolve"),
        (ConnectionRefusedError(111, "Connect call failed"), "connection refused"),
        (OSError(101, "Network is unreachable"), "could not connect: [Errno 101] Network is unreachable"),
    ],
)
def test_why_there_is_no_connection(error: Exception, reason: str) -> None:
    assert why(error) == reason


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
