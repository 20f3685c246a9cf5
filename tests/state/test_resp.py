"""A connection, told byte by byte what to say: every kind of reply, cut anywhere, and everything that is no reply."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
import redis
from hiredis import ReplyError
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.store_address import StoreAddress
from gateway.state.resp import MAX_REPLY, READ_BYTES, RespConnection, StoreError
from tests.support.closing import accepting
from tests.support.wire import talker

REPLIES: list[tuple[bytes, object]] = [
    (b"+OK\r\n", b"OK"),
    (b":0\r\n", 0),
    (b":-9223372036854775808\r\n", -(2**63)),
    (b"$-1\r\n", None),
    (b"$0\r\n\r\n", b""),
    (b"$6\r\n\x00\r\n\xff+:\r\n", b"\x00\r\n\xff+:"),
    (b"-ERR no such thing\r\n", "ERR no such thing"),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*4\r\n:1\r\n$1\r\na\r\n*1\r\n$-1\r\n-NO\r\n", [1, b"a", [None], "NO"]),
]
NOWHERE: Any = None  # receiving writes nothing


class Said(asyncio.StreamReader):
    """What a peer says: one piece for each read, then the end."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__()
        self._pieces = iter(pieces)

    async def read(self, n: int = -1) -> bytes:
        return next(self._pieces, b"")


async def receive(pieces: Sequence[bytes], count: int) -> list[object]:
    connection = RespConnection(Said(pieces), NOWHERE)
    return [plain(await connection.receive()) for _ in range(count)]


def plain(reply: object) -> object:
    """Errors as their text, so that replies can be compared."""
    if isinstance(reply, list):
        return [plain(one) for one in reply]
    return str(reply) if isinstance(reply, ReplyError) else reply


class TestReplies:
    @pytest.mark.parametrize(("said", "meant"), REPLIES)
    async def test_each_kind_split_at_any_byte(self, said: bytes, meant: object) -> None:
        for cut in range(1, len(said)):
            assert await receive([said[:cut], said[cut:]], 1) == [meant]

    async def test_byte_by_byte(self) -> None:
        said = b"".join(said for said, _ in REPLIES)
        assert await receive([bytes([byte]) for byte in said], len(REPLIES)) == [meant for _, meant in REPLIES]

    @given(st.lists(st.sampled_from(REPLIES), min_size=1), st.data())
    def test_any_replies_in_any_pieces_keep_their_order(
        self, replies: list[tuple[bytes, object]], data: st.DataObject
    ) -> None:
        said = b"".join(said for said, _ in replies)
        cuts = sorted(data.draw(st.sets(st.integers(1, len(said) - 1))))
        pieces = [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True)]
        assert asyncio.run(receive(pieces, len(replies))) == [meant for _, meant in replies]

    @given(st.binary() | st.text("+-:$*%#_,(=~>\r\n019tf", max_size=12).map(str.encode))
    def test_anything_else_is_a_store_error(self, said: bytes) -> None:
        with pytest.raises(StoreError):
            asyncio.run(receive([said], len(said) + 1))  # no reply is shorter than a byte

    @pytest.mark.parametrize("said", [b"HTTP/1.1 400\r\n", b"*4294967295\r\n", b"%1\r\n*0\r\n+a\r\n", b"$5\r\nab"])
    async def test_no_reply_is_a_store_error(self, said: bytes) -> None:
        with pytest.raises(StoreError):
            await receive([said], 1)

    async def test_a_reply_without_end_is_a_store_error(self) -> None:
        said = iter([b"$500000000\r\n", *[bytes(READ_BYTES)] * (2 * MAX_REPLY // READ_BYTES)])
        with pytest.raises(StoreError, match="longer than"):
            await receive(said, 1)  # type: ignore[arg-type]
        assert next(said, None), "it was not read to its end"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RespConnection]:
    async with asyncio.timeout(60):
        with closing(await RespConnection.open(StoreAddress.parse(url))) as connection:
            yield connection


@pytest.fixture
def client(engine: str) -> Iterator[redis.Redis]:
    """Another client of the same server, to see what is really there."""
    with redis.Redis.from_url(engine) as client:
        client.flushall()
        yield client


class TestAgainstRealStores:
    async def test_many_commands_and_as_many_replies(self, engine: str, client: redis.Redis) -> None:
        value = bytes(range(256)) * 1000
        async with opened(engine) as connection:
            await connection.send([("SET", b"\xff", value), ("GET", b"\xff"), ("LPOP", b"\xff"), ("INCRBY", "n", 7)])
            replies = [plain(await connection.receive()) for _ in range(4)]
        assert replies[:2] == [b"OK", value]
        assert str(replies[2]).startswith("WRONGTYPE")
        assert replies[3] == 7
        assert client.get(b"\xff") == value

    async def test_the_database_of_the_address(self, engine: str, client: redis.Redis) -> None:
        async with opened(f"{engine}?db=3") as connection:
            await connection.send([("SET", "name", "three")])
            assert await connection.receive() == b"OK"
        assert client.get("name") is None
        client.select(3)
        assert client.get("name") == b"three"

    async def test_a_database_that_is_not_there(self, engine: str) -> None:
        with pytest.raises(StoreError, match="rejected SELECT: ERR DB index is out of range"):
            async with opened(f"{engine}?db=99"):
                pass

    async def test_a_user_with_a_password_of_any_letters(self, engine: str, client: redis.Redis) -> None:
        place = engine.removeprefix("unix://")
        client.acl_setuser("ann", enabled=True, passwords=["+p@ss/wörd %"], commands=["+@all"], keys=["*"])
        async with opened(f"unix://ann:p%40ss%2Fw%C3%B6rd%20%25@{place}") as connection:
            await connection.send([("ACL", "WHOAMI")])
            assert await connection.receive() == b"ann"
        with pytest.raises(StoreError, match=r"^the store rejected AUTH: WRONGPASS$"):
            async with opened(f"unix://ann:other@{place}"):
                pass

    async def test_a_closed_connection_sends_nothing(self, engine: str) -> None:
        async with opened(engine) as connection:
            connection.close()
            with pytest.raises(StoreError, match="closed the connection"):
                await connection.send([("PING",)])


class TestOpening:
    async def test_a_refusal_that_repeats_the_password_is_not_repeated(self) -> None:
        def speak(said: bytes) -> bytes:
            return b"-ERR unknown command 'AUTH', with args beginning with: 's3cr3t'\r\n+PONG\r\n"

        async with talker(speak) as url:
            with pytest.raises(StoreError, match=r"^the store rejected AUTH: ERR$"):
                async with opened(url.replace("redis://", "redis://:s3cr3t@")):
                    pass

    @pytest.mark.parametrize("answer", [b"HTTP/1.1 400\r\n", b":1\r\n", b"$-1\r\n", b"*1\r\n+PONG\r\n", b"+OK\r\n"])
    async def test_a_peer_that_is_no_store(self, answer: bytes) -> None:
        async with talker(lambda said: answer) as url:
            with pytest.raises(StoreError, match="Redis"):
                async with opened(url):
                    pass

    async def test_an_echo_is_no_store_and_shows_no_password(self) -> None:
        async with talker(lambda said: said) as url:
            with pytest.raises(StoreError, match=r"^the reply to AUTH is not one of Redis$"):
                async with opened(url.replace("redis://", "redis://:s3cr3t@")):
                    pass

    async def test_a_store_that_is_still_loading(self) -> None:
        async with talker(lambda said: b"-LOADING the dataset\r\n") as url:
            with pytest.raises(StoreError, match="rejected PING: LOADING"):
                async with opened(url):
                    pass

    async def test_a_silent_peer_is_left_at_the_callers_deadline(self) -> None:
        left = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(100):
                pass
            left.set()
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        async with accepting(server):
            address = StoreAddress("redis", "127.0.0.1", server.sockets[0].getsockname()[1])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await RespConnection.open(address)
            async with asyncio.timeout(60):
                await left.wait()

    async def test_a_peer_without_tls(self) -> None:
        async with talker(lambda said: b"+PONG\r\n") as url:
            with pytest.raises(ssl.SSLError):
                async with opened(url.replace("redis://", "rediss://")):
                    pass

    @pytest.mark.parametrize("url", ["unix:///nonexistent/s.sock", "unix:///" + 200 * "a", "redis://127.0.0.1:1"])
    async def test_nobody_there_is_an_os_error(self, url: str) -> None:
        with pytest.raises(OSError):
            async with opened(url):
                pass

    async def test_certificates_that_cannot_be_read(self) -> None:
        with pytest.raises(FileNotFoundError):
            async with opened("rediss://127.0.0.1:1?ssl_ca_certs=/nonexistent.pem"):
                pass
