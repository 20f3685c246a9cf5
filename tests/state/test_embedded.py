import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from gateway.config.address import Address
from gateway.errors import ConfigError
from gateway.state.embedded import EmbeddedStore
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


def test_a_damaged_file_is_reported_in_the_servers_own_words(server: EmbeddedStore, folder: StateFolder) -> None:
    with redis.Redis.from_url(server.start()) as client:
        client.set("name", "value" * 100)
    server.stop()
    for log in (folder.store / "appendonlydir").glob("*.incr.aof"):
        log.write_bytes(b"nonsense" + log.read_bytes())
    with pytest.raises(ConfigError, match="Bad file format reading the append only file"):
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
        assert Address.parse(server.start()) == Address("unix", path=str(folder.socket))
    finally:
        server.stop()
        folder.close()
