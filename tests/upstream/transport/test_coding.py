"""Compressed bodies: what comes out, when it comes out, and what is refused."""

import asyncio
import gzip
import zlib
from collections.abc import Callable, Iterable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.transport.coding import FREE, RATIO, STEP, Chain, UnreadableBody, unpacker
from gateway.upstream.transport.connection import Call
from tests.support.host import Out, Received, ScriptedHost, answers
from tests.upstream.listener import cut
from tests.upstream.recorder import BOTH_LOOPS, Recorder, Send

gzipped = partial(gzip.compress, mtime=0)  # the same bytes in every process that collects tests
LOOPS = BOTH_LOOPS
TEXT = b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n' * 1_000


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzipped,
    "x-gzip": gzipped,
    "GZIP": gzipped,
    "deflate": zlib.compress,
    " deflate ": raw_deflate,
    "identity": bytes,
    "": bytes,
    "deflate, gzip": lambda data: gzipped(zlib.compress(data)),
    "gzip, identity,gzip": lambda data: gzipped(gzipped(data)),
}


def chain(coding: str) -> Chain:
    found = unpacker([(b"content-type", b"text/plain"), (b"content-encoding", coding.encode())])
    assert found is not None
    return found


def unpacked(coding: str, pieces: Iterable[bytes]) -> tuple[bytes, bool]:
    """All that comes of these pieces, and whether that is a whole body."""
    undo = chain(coding)
    out = b"".join(step for piece in pieces for step in undo.unpack(piece))
    return out, undo.whole


PACKED = [coding for coding in PACK if coding.strip() not in ("", "identity")]


@pytest.mark.parametrize("coding", PACKED)
@settings(max_examples=30)
@given(st.binary(max_size=3_000), st.lists(st.integers(0, 5_000), max_size=8))
def test_any_split_gives_what_was_packed(coding: str, data: bytes, places: list[int]) -> None:
    assert unpacked(coding, cut(PACK[coding](data), places)) == (data, True)


@pytest.mark.parametrize("coding", PACKED)
def test_byte_by_byte(coding: str) -> None:
    packed = PACK[coding](b"Hello")
    assert unpacked(coding, [packed[place : place + 1] for place in range(len(packed))]) == (b"Hello", True)


@pytest.mark.parametrize("coding", PACKED)
def test_a_body_that_ends_within_is_not_whole(coding: str) -> None:
    packed = PACK[coding](TEXT)
    out, whole = unpacked(coding, [packed[: len(packed) // 2]])
    assert TEXT.startswith(out)
    assert not whole


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_of_nothing_is_whole(coding: str) -> None:
    assert unpacked(coding, []) == (b"", True)


def test_several_members_and_padding() -> None:
    assert unpacked("gzip", [gzipped(b"Hel") + gzipped(b"lo") + b"\0" * 100, b"\0"]) == (b"Hello", True)
    assert unpacked("deflate", [zlib.compress(b"Hello") + gzipped(b"no part of it")]) == (b"Hello", True)


@pytest.mark.parametrize("plain", [b'{"error": "busy"}', b"data: {}\n\n", b": wait\n\n", b"<html>"])
def test_a_plain_body_passes_whatever_its_head_says(plain: bytes) -> None:
    assert unpacked("gzip", [plain, plain]) == (plain * 2, True)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "deflate, gzip"])
def test_steps_are_small_and_a_bomb_is_refused(coding: str) -> None:
    bomb = PACK[coding](bytes(40 * FREE))
    steps = chain(coding).unpack(bomb)
    out: list[int] = []
    with pytest.raises(UnreadableBody, match="grows from"):
        out.extend(len(step) for step in steps)
    assert max(out, default=0) <= STEP
    assert sum(out) <= max(FREE, RATIO * len(bomb)) + STEP


@pytest.mark.parametrize("spare", [0, 1])
def test_a_body_may_always_grow_to_a_megabyte(spare: int) -> None:
    steps = chain("gzip").unpack(gzipped(bytes(FREE + spare)))
    if spare:
        with pytest.raises(UnreadableBody, match=f"to over {FREE + 1} bytes"):
            list(steps)
    else:
        assert sum(map(len, steps)) == FREE


def test_a_plain_body_comes_in_steps() -> None:
    plain = b"a" * (2 * STEP + 1)
    assert [len(step) for step in chain("gzip").unpack(plain)] == [STEP, STEP, 1]


def test_repetitive_text_is_no_bomb() -> None:
    much = b"".join(b'data: {"choices": [{"delta": {"content": "%d"}}]}\n\n' % number for number in range(40_000))
    assert len(much) > FREE
    assert unpacked("deflate", [zlib.compress(much)]) == (much, True)


@pytest.mark.parametrize("name", ["br", "zstd", "compress", "utf-8", "gzip, br", "gzip, gzip, gzip, gzip"])
def test_other_codings_are_refused_by_name(name: str) -> None:
    with pytest.raises(UnreadableBody, match="content-encoding"):
        chain(name)


@pytest.mark.parametrize(
    "data", [b"\x1f\x8bnot gzip at all", gzipped(TEXT)[:10] + b"\xff" * 60], ids=["another text", "a broken one"]
)
def test_what_is_not_packed_that_way_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableBody, match="not in its content-encoding gzip"):
        unpacked("gzip", [data])


class TestAnswers:
    """Over a connection: every reader behind it gets plain bytes."""

    @pytest.mark.parametrize("status", [200, 400])
    @pytest.mark.parametrize("coding", PACK)
    async def test_whole_answers_and_errors(self, send: Send, coding: str, status: int) -> None:
        body = PACK[coding](b'{"a": 1}' * 5_000)
        async with ScriptedHost(answers(status, body, {"content-encoding": coding})) as host:
            for _ in range(2):
                answer = await send(host)[0].ended()
                assert (answer.status, answer.end) == (status, "complete")
                assert answer.body == b'{"a": 1}' * 5_000
                assert b"content-encoding" not in dict(answer.headers), "whoever reads on would unpack again"
            assert host.accepted == 1

    async def test_each_flushed_event_arrives_before_the_next_is_sent(self, send: Send) -> None:
        receiver: Recorder
        packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)

        async def script(_: Received, out: Out) -> None:
            await out.head(200, {"content-encoding": "gzip"})
            for index in range(5):
                await out.send(packer.compress(b"%d" % index) + packer.flush(zlib.Z_SYNC_FLUSH))
                await host.until(lambda: len(receiver.body) > index)  # noqa: B023
            await out.send(packer.flush())
            await out.end()

        async with ScriptedHost(script) as host:
            receiver, _ = send(host)
            await receiver.ended()
        assert (receiver.pieces, receiver.end) == ([b"0", b"1", b"2", b"3", b"4"], "complete")

    async def test_a_body_until_the_close(self, send: Send) -> None:
        async def script(_: Received, out: Out) -> None:
            await out.head(200, {"content-encoding": "gzip"}, chunked=False)
            await out.send(gzipped(TEXT * 10, 1))
            await out.end()

        async with ScriptedHost(script) as host:
            answer = await send(host)[0].ended()
        assert (answer.body, answer.end) == (TEXT * 10, "complete")

    async def test_an_answer_that_ends_within_is_cut(self, send: Send) -> None:
        packed = gzipped(TEXT)[:-9]
        async with ScriptedHost(answers(200, packed, {"content-encoding": "gzip"})) as host:
            answer = await send(host)[0].ended()
        assert answer.end == ("cut", "the host's compressed answer ends within")

    @pytest.mark.parametrize(
        ("coding", "body", "message"),
        [
            ("br", b"\x0b\x02\x80Hello\x03", "the host sent content-encoding br, which the gateway does not read"),
            ("gzip", gzipped(bytes(300 * FREE)), "the host's answer grows from"),
            ("deflate", b"Hello, world", "the host's answer is not in its content-encoding deflate"),
        ],
    )
    async def test_what_cannot_be_unpacked_is_garbage_or_an_error_without_its_words(
        self, send: Send, coding: str, body: bytes, message: str
    ) -> None:
        script = [answers(status, body, {"content-encoding": coding}) for status in (200, 400)]
        async with ScriptedHost(script) as host:
            answer = await send(host)[0].ended()
            assert answer.fault == "garbage"
            assert (answer.message or "").startswith(message)
            error = await send(host)[0].ended()
            assert (error.status, error.end) == (400, "complete")
            assert error.body.startswith(message.encode()) or not any(error.body)

    async def test_a_paused_call_unpacks_no_further(self, send: Send) -> None:
        async with ScriptedHost(answers(200, gzipped(TEXT * 4), {"content-encoding": "gzip"})) as host:
            receiver, call = send(host)
            receiver.when_data = call.pause
            await host.until(lambda: bool(receiver.pieces))
            so_far = await self._turns(receiver)
            assert len(so_far) < len(TEXT)
            receiver.when_data = lambda: None
            call.resume()
            await receiver.ended()
        assert (receiver.body, receiver.end) == (TEXT * 4, "complete")

    async def _turns(self, receiver: Recorder) -> bytes:
        for _ in range(20):
            await asyncio.sleep(0)
        return receiver.body

    @pytest.mark.parametrize("moment", ["when_response", "when_data"])
    async def test_a_cancel_within(self, send: Send, moment: str) -> None:
        call: Call
        async with ScriptedHost(answers(200, gzipped(TEXT * 4), {"content-encoding": "gzip"})) as host:
            receiver, call = send(host)
            setattr(receiver, moment, call.cancel)
            await host.until(lambda: repr(call) == "<Call ended>" and host.connections[0].closed.is_set())
        assert receiver.end is None
        assert len(receiver.pieces) == (moment == "when_data")
