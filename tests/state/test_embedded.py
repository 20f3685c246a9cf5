import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from gateway.config.store_address import StoreAddress
from gateway.errors import ConfigError
from gateway.state.embedded import FIRST_PAUSE, LONGEST_PAUSE, READY_WITHIN, EmbeddedStore
from gateway.state.folder import StateFolder

OWNER = """
import pathlib, signal, sys
from gateway.state.embedded import EmbeddedStore
from gateway.state.folder import StateFolder
folder = StateFolder(pathlib.Path(sys.argv[1]))
folder.open()
print(EmbeddedStore(folder).start(), flush=True)
signal.pause()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[StateFolder]:
    folder = StateFolder(tmp_path)
    folder.open()
    yield folder
    folder.close()


@pytest.fixture
def server(folder: StateFolder) -> Iterator[EmbeddedStore]:
    server = EmbeddedStore(folder)
    yield server
    server.stop()


def process_of(url: str) -> int:
    with redis.Redis.from_url(url) as client:
        return int(client.info("server")["process_id"])


def ended(pid: int) -> bool:
    """Gone, or a zombie that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return path


def test_it_answers_on_a_socket_for_this_user_alone(server: EmbeddedStore, folder: StateFolder) -> None:
    url = server.start()
    assert url == f"unix://{folder.socket}"
    assert folder.socket.stat().st_mode & 0o777 == 0o700
    with redis.Redis.from_url(url) as client:
        assert client.ping()
        assert client.config_get("port")["port"] == "0"


def test_something_else_can_be_done_while_it_starts(server: EmbeddedStore) -> None:
    seen: list[str] = []
    with redis.Redis.from_url(server.start(lambda: seen.append(repr(server)))) as client:
        assert client.ping()
    assert [one.endswith("running)") for one in seen] == [True]


def test_it_may_evict_only_keys_with_a_lifetime(server: EmbeddedStore) -> None:
    with redis.Redis.from_url(server.start()) as client:
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "volatile-lru"
        assert client.config_get("maxmemory")["maxmemory"] == str(256 * 1024 * 1024)


def test_it_remembers_across_a_restart(server: EmbeddedStore) -> None:
    with redis.Redis.from_url(server.start()) as client:
        client.set("name", "value")
    server.stop()
    with redis.Redis.from_url(server.start()) as client:
        assert client.get("name") == b"value"


def test_stop_leaves_no_process_and_no_socket(server: EmbeddedStore, folder: StateFolder) -> None:
    pid = process_of(server.start())
    server.stop()
    assert ended(pid)
    assert not folder.socket.exists()
    server.stop()  # twice is harmless


def test_a_server_that_died_is_stopped_without_complaint(server: EmbeddedStore) -> None:
    os.kill(process_of(server.start()), signal.SIGKILL)
    server.stop()


def test_a_stale_socket_is_replaced(server: EmbeddedStore, folder: StateFolder) -> None:
    pid = process_of(server.start())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: ended(pid))
    assert folder.socket.exists()
    second = EmbeddedStore(folder)
    second.start()
    second.stop()


def test_an_orphan_is_ended_before_another_server_opens_its_file(server: EmbeddedStore, folder: StateFolder) -> None:
    url = server.start()
    orphan = process_of(url)
    with redis.Redis.from_url(url) as client:
        client.set("name", "orphan's")
    second = EmbeddedStore(folder)
    with redis.Redis.from_url(second.start()) as client:
        assert client.get("name") == b"orphan's"
    wait_until(lambda: ended(orphan))
    second.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = process_of(owner.stdout.readline().decode().strip())
        owner.kill()
        owner.wait()
    wait_until(lambda: ended(pid))


def test_ctrl_c_in_the_terminal_does_not_reach_it(server: EmbeddedStore) -> None:
    assert os.getsid(process_of(server.start())) != os.getsid(0)


def test_a_server_that_does_not_start_is_quoted(folder: StateFolder, tmp_path: Path) -> None:
    server = EmbeddedStore(folder, script(tmp_path / "broken", "echo disk on fire >&2; exit 1"))
    with pytest.raises(ConfigError, match="did not start: disk on fire"):
        server.start()


def damage(folder: StateFolder, what: str) -> None:
    """What a full disk, a crash or an operator leaves of the append-only file."""
    data = folder.store / "appendonlydir"
    (log,) = data.glob("*.incr.aof")
    match what:
        case "nonsense in front":
            log.write_bytes(b"nonsense" + log.read_bytes())
        case "nonsense in the middle":
            log.write_bytes(log.read_bytes().replace(b"$4\r\nname", b"$9\r\nna"))
        case "no manifest to read":
            next(data.glob("*.manifest")).write_text("nonsense\n")
        case "no base to read":
            next(data.glob("*.base.*")).write_bytes(b"REDIS0011\xfa")


DAMAGES = ("nonsense in front", "nonsense in the middle", "no manifest to read", "no base to read")


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_file_is_moved_aside(
    server: EmbeddedStore, folder: StateFolder, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):  # what an earlier time left is in no one's way
        with redis.Redis.from_url(server.start()) as client:
            client.set("name", "value" * 100)
        server.stop()
        damage(folder, what)
        with redis.Redis.from_url(server.start()) as client:
            assert client.dbsize() == 0
        server.stop()
        assert list((folder.store / "unreadable").iterdir())
    assert "starts empty" in caplog.text


def test_a_file_that_was_cut_short_is_read_as_far_as_it_goes(server: EmbeddedStore, folder: StateFolder) -> None:
    with redis.Redis.from_url(server.start()) as client:
        client.mset({"first": "1"})
        client.set("name", "value" * 100)
    server.stop()
    (log,) = (folder.store / "appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 50)
    with redis.Redis.from_url(server.start()) as client:
        assert client.keys() == [b"first"]


class TestTending:
    """Time is an argument: nothing here waits for a pause."""

    def killed(self, server: EmbeddedStore, url: str) -> None:
        os.kill(process_of(url), signal.SIGKILL)
        wait_until(server.ended)  # a process whose threads still end is a zombie that cannot be waited for yet

    def answers(self, url: str) -> bool:
        try:
            return process_of(url) > 0
        except redis.RedisError:
            return False

    def test_a_server_that_was_killed_is_started_again(
        self, server: EmbeddedStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = server.start()
        self.killed(server, url)
        now = time.monotonic()
        server.tend(now)
        assert "ended (signal 9), it is restarted in 1 s" in caplog.text
        server.tend(now + FIRST_PAUSE)
        wait_until(lambda: self.answers(url))

    def test_a_server_that_runs_is_left_alone(self, server: EmbeddedStore) -> None:
        url = server.start()
        pid = process_of(url)
        for seconds in range(100):
            server.tend(time.monotonic() + seconds)
        assert process_of(url) == pid

    def test_what_keeps_ending_is_started_less_and_less_often(
        self, folder: StateFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = EmbeddedStore(folder, script(tmp_path / "broken", "echo No space left on device; exit 1"))
        server.start()  # a full disk is no reason not to serve
        now, pauses = time.monotonic(), []
        for _ in range(8):
            wait_until(server.ended)
            caplog.clear()
            server.tend(now)
            pauses.append(float(caplog.text.split(" in ")[1].split()[0]))
            server.tend(now + pauses[-1] - 0.01)
            assert server.ended()
            now += pauses[-1]
            server.tend(now)
        assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
        assert pauses[-1] == LONGEST_PAUSE
        assert "exit code 1: No space left on device" in caplog.text
        server.stop()

    def test_what_ran_for_long_is_started_again_as_soon_as_the_first_time(
        self, server: EmbeddedStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = server.start()
        for _ in range(2):
            self.killed(server, url)
            caplog.clear()
            now = time.monotonic()
            server.tend(now)
            assert "it is restarted in 1 s" in caplog.text
            server.tend(now + FIRST_PAUSE)
            wait_until(lambda: self.answers(url))
            server.tend(time.monotonic() + LONGEST_PAUSE + 1)

    def test_a_damaged_file_does_not_keep_it_from_coming_back(self, server: EmbeddedStore, folder: StateFolder) -> None:
        url = server.start()
        with redis.Redis.from_url(url) as client:
            client.set("name", "value")
        self.killed(server, url)
        damage(folder, "nonsense in front")
        now = time.monotonic()
        for _ in range(2):  # it ends once more, for what it finds
            wait_until(server.ended)
            server.tend(now)
            now += LONGEST_PAUSE
            server.tend(now)
        wait_until(lambda: self.answers(url))

    def test_what_runs_well_is_left_alone(self, server: EmbeddedStore, caplog: pytest.LogCaptureFixture) -> None:
        url = server.start()
        server.tend(time.monotonic() + READY_WITHIN + 1)
        assert not server.ended()
        assert self.answers(url)
        assert caplog.text == ""

    @pytest.mark.parametrize("what", ["its socket", "the state folder"])
    def test_what_was_deleted_is_made_again(
        self, server: EmbeddedStore, folder: StateFolder, what: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = server.start()
        if what == "its socket":
            folder.socket.unlink()
        else:
            shutil.rmtree(folder.path)
        server.tend(time.monotonic())  # within the time that a start takes: nothing is missed
        assert "socket was deleted" not in caplog.text
        server.tend(time.monotonic() + READY_WITHIN + 1)
        assert "socket was deleted" in caplog.text
        wait_until(server.ended)
        now = time.monotonic() + READY_WITHIN + 2
        server.tend(now)
        server.tend(now + FIRST_PAUSE)
        wait_until(lambda: self.answers(url))

    def test_a_start_that_fails_is_tried_again(
        self, server: EmbeddedStore, folder: StateFolder, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = server.start()
        self.killed(server, url)
        shutil.rmtree(folder.store)
        folder.store.touch()  # no folder can be made here
        now = time.monotonic()
        server.tend(now)
        server.tend(now + FIRST_PAUSE)
        assert "cannot be started, trying again in 30 s" in caplog.text
        folder.store.unlink()
        server.tend(now + FIRST_PAUSE + LONGEST_PAUSE)
        wait_until(lambda: self.answers(url))

    def test_one_that_was_stopped_stays_so(self, server: EmbeddedStore, folder: StateFolder) -> None:
        server.start()
        server.stop()
        for seconds in range(3):
            server.tend(time.monotonic() + 100 * seconds)
        assert not folder.socket.exists()


def test_a_fifo_for_a_log_holds_up_nothing(server: EmbeddedStore, folder: StateFolder) -> None:
    os.mkfifo(folder.store / "valkey.log")
    with redis.Redis.from_url(server.start()) as client:
        assert client.ping()


def test_a_folder_in_place_of_the_socket_is_reported(server: EmbeddedStore, folder: StateFolder) -> None:
    folder.socket.mkdir()
    with pytest.raises(ConfigError, match="the embedded store cannot be started"):
        server.start()


def test_only_the_main_thread_may_start_it(server: EmbeddedStore) -> None:
    caught: list[RuntimeError] = []

    def start() -> None:
        try:
            server.start()
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])


def test_repr_says_whether_it_runs(server: EmbeddedStore, folder: StateFolder) -> None:
    assert repr(server) == f"EmbeddedStore({str(folder.socket)!r}, stopped)"


def test_its_url_leads_to_it_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "a b%20#?@é")
    folder.open()
    server = EmbeddedStore(folder)
    try:
        assert StoreAddress.parse(server.start()) == StoreAddress("unix", path=str(folder.socket))
    finally:
        server.stop()
        folder.close()
